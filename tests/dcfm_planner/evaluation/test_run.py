"""Short evaluations in MuJoCo with the shipped weights; settings that cannot be are refused before any work."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dcfm_planner.evaluation import run as run_module
from dcfm_planner.evaluation.run import EvaluationError, EvaluationSettings, Results, evaluate
from dcfm_planner.evaluation.success import NEVER
from dcfm_planner.evaluation.trials import Trial
from dcfm_planner.models import ModelError
from dcfm_planner.quadrants import KNOWN_PAIRS, NOVEL_PAIRS

WEIGHTS = "cube-single/noniid/dcfm_b"
SETTINGS = EvaluationSettings(WEIGHTS, protocol="given", trials=2, device="cpu", workers=0, controls=("oracle",))


@pytest.fixture(scope="module")
def notes() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def results(notes: list[tuple[int, int]]) -> Results:
    """The one evaluation at full length."""
    return evaluate(SETTINGS, lambda done, total: notes.append((done, total)))


def same(a: Trial, b: Trial) -> bool:
    return all(np.array_equal(getattr(a, n), getattr(b, n), equal_nan=n not in _TEXT) for n in a.__dataclass_fields__)


_TEXT = ("arm", "cell", "source", "target", "kind", "reasons")


def test_all_problems_by_all_arms_in_order(results: Results, notes: list[tuple[int, int]]) -> None:
    assert [(t.cell, t.arm, t.index) for t in results.trials] == [
        (cell, arm, i) for cell in ("known", "novel") for arm in ("planner", "oracle") for i in (0, 1)
    ]
    assert notes == [(0, 4), (2, 4), (4, 4)]
    assert (results.method, results.partition, results.workers) == ("dcfm_b", "noniid", 0)
    assert len(results.weights_hash) == 64
    for t in results.trials:
        assert (t.source, t.target) in (KNOWN_PAIRS if t.cell == "known" else NOVEL_PAIRS)


def test_trials_agree_with_themselves(results: Results) -> None:
    own = [t for t in results.trials if t.arm == "planner"]
    for t in own:
        assert t.feasible == (not t.reasons)
        assert not t.at_start  # given starts and goals lie farther apart
        if not t.steps:
            continue
        assert len(t.executed) == t.steps + 1
        assert t.executed[0] == pytest.approx(t.start, abs=2e-3)
        away = float(np.linalg.norm(t.executed[-1] - t.goal))
        assert away <= t.distance + 1e-6
        assert t.reached == (t.distance <= 0.04)
        assert t.success == (t.feasible and t.reached)
        assert t.success or not t.success_strict
        assert t.first_touch != NEVER or not t.reached
        assert t.planned[0] == pytest.approx(t.start, abs=2e-3)  # start and goal were held
        assert t.planned[-1] == pytest.approx(t.goal, abs=1e-5)
    assert results.timing.steps == sum(t.steps for t in own)


def test_the_oracle_succeeds(results: Results) -> None:
    oracle = [t for t in results.trials if t.arm == "oracle"]
    assert len(oracle) == 4
    assert all(t.success for t in oracle)


@pytest.fixture(scope="module")
def short() -> EvaluationSettings:
    return replace(SETTINGS, protocol="paper", controls=(), max_steps=6)


def test_the_plan_proposes_start_and_goal_and_workers_change_nothing(short: EvaluationSettings) -> None:
    alone = evaluate(short)
    for t in alone.trials:
        assert t.planned[0] == pytest.approx(t.start, abs=1e-6)
        assert t.planned[-1] == pytest.approx(t.goal, abs=1e-6)
        assert t.steps == (6 if t.feasible else 0)
    shared = evaluate(replace(short, workers=2))
    assert shared.workers == 2
    assert len(shared.trials) == 4
    assert all(same(a, b) for a, b in zip(alone.trials, shared.trials, strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"controls": ("oracle", "luck")}, "unknown controls 'luck'; there are oracle, random"),
        ({"controller": "magic"}, "unknown controller 'magic'; there are track, planned"),
        ({"workers": -1}, "workers=-1"),
        ({"max_steps": 0}, "max_steps=0: give 1 to 200"),
        ({"max_steps": 201}, "max_steps=201"),
        ({"lookahead": -1}, "lookahead=-1"),
        ({"protocol": "foo"}, "unknown protocol 'foo'"),
        ({"trials": 0}, "trials=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_bad_settings_are_refused_before_any_work(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationSettings(WEIGHTS, **given)


@pytest.mark.parametrize("given", [{"weights": "/nowhere"}, {"device": "tpu"}])
def test_bad_weights_and_devices_are_refused_before_any_simulation(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "make_workbench", lambda settings: pytest.fail("work began"))
    with pytest.raises(ModelError, match=r"neither a folder nor a shipped planner|use auto or cpu"):
        evaluate(replace(SETTINGS, **given))


def test_errors_are_value_errors() -> None:
    assert issubclass(EvaluationError, ValueError)
