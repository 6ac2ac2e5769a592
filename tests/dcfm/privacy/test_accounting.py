"""Epsilon against what is known in closed form, and where it is written down."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from dcfm.artefacts import load
from dcfm.decentralized import Federation
from dcfm.methods import registry
from dcfm.methods.method import Recipe
from dcfm.privacy.accounting import check_sizes, epsilon, sampling_rate, spent
from dcfm.privacy.settings import PrivacyConfig
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.loop import LoopConfig
from tests.dcfm.federation import federation
from tests.dcfm.privacy.test_gradients import OBJECTIVE


def test_without_sampling_it_is_below_the_bound_for_gaussians() -> None:
    """``T`` Gaussian mechanisms: ``epsilon <= T / (2 sigma^2) + sqrt(2 T ln(1 / delta)) / sigma`` (Mironov 2017)."""
    for sigma, steps in ((2.0, 4), (5.0, 100), (50.0, 1)):
        bound = steps / (2 * sigma**2) + math.sqrt(2 * steps * math.log(1e5)) / sigma
        found = epsilon([(sigma, 1.0, steps)], 1e-5)
        assert 0.7 * bound < found <= bound


def test_more_noise_costs_less_and_more_steps_cost_more() -> None:
    base = spent(PrivacyConfig(1.0), 1000, 20, 100)
    assert (base.rate, base.steps) == (0.02, 100)
    assert spent(PrivacyConfig(2.0), 1000, 20, 100).epsilon < base.epsilon
    assert spent(PrivacyConfig(1.0), 1000, 20, 200).epsilon > base.epsilon
    assert spent(PrivacyConfig(1.0), 5000, 20, 100).epsilon < base.epsilon
    halves = [(1.0, 0.02, 50)] * 2
    assert epsilon(halves, 1e-5) == pytest.approx(base.epsilon)


def test_it_is_of_the_delta_that_is_asked_for() -> None:
    found = spent(PrivacyConfig(1.0, delta=1e-3), 1000, 20, 100)
    assert found.delta == 1e-3
    assert found.epsilon == epsilon([(1.0, 0.02, 100)], 1e-3) < spent(PrivacyConfig(1.0), 1000, 20, 100).epsilon


@pytest.mark.parametrize("secret", [True, False])
def test_what_was_spent_says_whether_it_protects(secret: bool) -> None:
    assert spent(PrivacyConfig(1.0, secret=secret), 1000, 20, 100).secret is secret


def test_a_batch_is_at_most_all_samples() -> None:
    assert sampling_rate(8, 8) == 1
    for batch in (0, 9):
        with pytest.raises(ValueError, match="batch <= samples"):
            sampling_rate(batch, 8)


def test_a_delta_that_protects_nobody_is_refused() -> None:
    """One sample in n could be published whole with a delta of 1/n."""
    check_sizes(PrivacyConfig(1.0, delta=1e-4), 20, {"a": 1000})
    with pytest.raises(
        ValueError, match=r"silo 'b': delta=0\.001 is no protection of 1000 samples; give one well below"
    ):
        check_sizes(PrivacyConfig(1.0, delta=1e-3), 20, {"a": 900, "b": 1000})
    for limits in ({"noise_multiplier": float("inf")}, {"noise_multiplier": 1.0, "max_grad_norm": float("inf")}):
        with pytest.raises(ValueError, match="must be positive numbers"):
            PrivacyConfig(**limits)


def test_it_is_not_negative() -> None:
    assert epsilon([(10.0, 64 / 6000, 100)], 0.02) == 0


def test_artefacts_say_what_was_spent(tmp_path: Path) -> None:
    run: Federation = federation(tmp_path)
    privacy = PrivacyConfig(1.0)
    local = LocalConfig(LoopConfig(steps=2, batch=8, warmup=1), OBJECTIVE, privacy)
    run.stage_one(local)
    rounds = FedAvgConfig(rounds=2, steps=2, batch=8, objective=OBJECTIVE, privacy=privacy)
    run.fedavg("fedflow_l", rounds, run.exchange())
    alone = load(tmp_path / "stage1" / "silo0").metadata["metrics"]["privacy"]
    assert alone["epsilon"] == pytest.approx(spent(privacy, 80, 8, 2).epsilon)
    both = load(tmp_path / "fedflow_l").metadata["metrics"]["privacy"]
    assert both["silo1"]["epsilon"] == pytest.approx(spent(privacy, 80, 8, 4).epsilon)
    assert json.loads(json.dumps(both)) == both


def test_experts_that_go_on_after_stage_one_spent_both(tmp_path: Path) -> None:
    run, other = federation(tmp_path), PrivacyConfig(2.0)
    first = LocalConfig(LoopConfig(steps=2, batch=8, warmup=1), OBJECTIVE, PrivacyConfig(1.0))
    second = LocalConfig(LoopConfig(steps=3, batch=16, warmup=1), OBJECTIVE, other)
    method = registry.make("ddm_l")
    method.train(run, Recipe(stage_one=first, further=second), method.exchange(run))
    found = load(tmp_path / "further" / "silo1").metadata["metrics"]["privacy"]
    assert found["epsilon"] == pytest.approx(epsilon([(1.0, 0.1, 2), (2.0, 0.2, 3)], 1e-5))
    assert found["epsilon"] > spent(other, 80, 16, 3).epsilon
    assert (found["steps"], found["secret"]) == (3, True)


def test_dcfm_a_refuses_what_would_protect_nothing(tmp_path: Path) -> None:
    run = federation(tmp_path)
    recipe = Recipe(stage_one=replace(LocalConfig(), privacy=PrivacyConfig(1.0)))
    with pytest.raises(ValueError, match="use dcfm_b"):
        registry.make("dcfm_a").train(run, recipe, run.exchange())
    assert not list(tmp_path.iterdir())
