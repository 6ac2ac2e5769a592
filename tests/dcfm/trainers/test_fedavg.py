"""Federated averaging: the schedule, and what one silo alone makes of it."""

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from dcfm.artefacts import plain_settings
from dcfm.attributes import MaskRates
from dcfm.trainers import fedavg
from dcfm.trainers.fedavg import FedAvgConfig, proximal_loss, train_round
from dcfm.trainers.loop import ResumeError
from dcfm.trainers.objective import ObjectiveConfig
from dcfm.trainers.server import ServerConfig
from tests.dcfm.trainers.toy import ToyTask, silo_data

CONFIG = FedAvgConfig(rounds=10, steps=3, batch=8, warmup=1, objective=ObjectiveConfig(MaskRates(0.8, 0.1, 0.1)))


def test_the_rate_falls_over_rounds_not_within() -> None:
    rates = [CONFIG.loop(number).rate(2) for number in range(CONFIG.rounds)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == CONFIG.learning_rate
    assert all(CONFIG.loop(4).rate(s) == CONFIG.loop(4).rate(2) for s in (1, 2))


def test_a_continuous_rate_falls_within_rounds_too() -> None:
    """It follows from one round to the next without a jump, and ends at the floor, also where there is one round."""
    for rounds in (1, 4):
        config = replace(CONFIG, rounds=rounds, steps=50, warmup=0, floor=0.1, continuous=True)
        loops = [config.loop(number) for number in range(rounds)]
        rates = [loop.rate(step) for loop in loops for step in range(50)]
        assert rates == sorted(rates, reverse=True)
        assert rates[0] == config.learning_rate
        assert all(a.rate(50) == pytest.approx(b.rate(0)) for a, b in pairwise(loops))
        assert loops[-1].rate(50) == pytest.approx(0.1 * config.learning_rate)


def test_the_moving_average_begins_with_the_first_round() -> None:
    """However few rounds: nothing of the random start is left, and of many its decay is reached."""
    decays = [CONFIG.decay(number) for number in range(200)]
    assert decays[0] == 0
    assert decays == sorted(decays)
    assert decays[-1] == CONFIG.ema
    assert replace(CONFIG, ema=0.0).decay(7) == 0


def test_a_round_repeats_itself() -> None:
    """The same round of the same silo gives the same weights; another round others."""
    task = ToyTask(8)
    data, labels = silo_data([[0, 0], [0, 1]], 20, seed=0)
    torch.manual_seed(0)
    network = task.network()
    first, again, other = (deepcopy(network) for _ in range(3))
    for moved, number in ((first, 2), (again, 2), (other, 3)):
        train_round(task, data, labels, moved, CONFIG, number, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), network.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_the_proximal_term_pulls_back_to_where_the_round_began() -> None:
    """Its value is mu / 2 times the squared distance, its gradient mu times the way gone (FedProx, Eq. 2)."""
    task, mu = ToyTask(8), 3.0
    torch.manual_seed(0)
    network = task.network()
    start = [p.detach().clone() for p in network.parameters()]

    def plain(network: nn.Module, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"loss": 0 * next(network.parameters()).sum()}

    tied = proximal_loss(plain, network, mu)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    terms = tied(network, 0, torch.Generator())
    moved = [now.detach() - then for now, then in zip(network.parameters(), start, strict=True)]
    expected = mu / 2 * sum(float(way.square().sum()) for way in moved)
    assert float(terms["loss"].detach()) == pytest.approx(expected) == pytest.approx(float(terms["proximal"]))
    terms["loss"].backward()
    for parameter, way in zip(network.parameters(), moved, strict=True):
        torch.testing.assert_close(parameter.grad, mu * way)


def test_a_stronger_proximal_term_leaves_a_silo_nearer_to_its_start() -> None:
    task = ToyTask(8)
    data, labels = silo_data([[0, 0], [0, 1]], 20, seed=0)
    torch.manual_seed(0)
    start = task.network()
    ways = []
    for mu in (None, 0.1, 10.0):
        moved = deepcopy(start)
        train_round(task, data, labels, moved, replace(CONFIG, steps=40, proximal=mu), 0, seed=1)
        pairs = zip(moved.parameters(), start.parameters(), strict=True)
        ways.append(sum(float((a - b).detach().square().sum()) for a, b in pairs))
    assert ways == sorted(ways, reverse=True)
    assert ways[2] < 0.5 * ways[0]


def test_settings() -> None:
    with pytest.raises(ValueError, match=r"proximal=0\.0 must be positive"):
        FedAvgConfig(proximal=0.0)
    assert not {"proximal", "server"} & set(plain_settings(FedAvgConfig()))  # what was trained before these counts on

    with pytest.raises(ValueError, match="rounds and checkpoint_every"):
        FedAvgConfig(rounds=0)
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        unnamed, named = (
            compose("train_planner", overrides=[f"fedavg.server={{{kind}rule: adam, learning_rate: 0.01}}"]).fedavg
            for kind in ("", "_target_: dcfm.trainers.server.ServerConfig, ")
        )
    with pytest.raises(InstantiationException, match="server"):  # in tests the types' own check
        instantiate(unnamed)
    assert instantiate(named).server == ServerConfig("adam", 0.01)
    with pytest.raises(ValueError, match="learning_rate"):
        FedAvgConfig(learning_rate=-1.0)


def test_a_long_round_goes_on_where_it_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the same weights, digit for digit; from another silo's data or other weights it does not."""
    monkeypatch.setattr(fedavg, "LONG_ROUND", 3)
    config, task = replace(CONFIG, steps=8), ToyTask(8)
    data, labels = silo_data([[0, 0], [0, 1]], 20, seed=0)
    network = task.network()
    whole, cut = deepcopy(network), deepcopy(network)
    path = tmp_path / "round.safetensors"
    seen: list[int] = []

    def stop(done: int, total: int, terms: dict[str, float]) -> None:
        seen.append(done)
        if len(seen) == 5:
            raise KeyboardInterrupt

    train_round(task, data, labels, whole, config, 1, seed=1)
    with pytest.raises(KeyboardInterrupt):
        train_round(task, data, labels, cut, config, 1, seed=1, progress=stop, checkpoint=path)
    for other, start, number in ((data + 1, network, 1), (data, whole, 1), (data, network, 2)):
        with pytest.raises(ResumeError, match="delete"):
            train_round(task, other, labels, deepcopy(start), config, number, seed=1, checkpoint=path)
    again = deepcopy(network)
    train_round(task, data, labels, again, config, 1, seed=1, progress=stop, checkpoint=path)
    assert seen == [1, 2, 3, 4, 5, 4, 5, 6, 7, 8]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
