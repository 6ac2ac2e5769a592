"""An evaluation's settings are checked before any work, and its results do not depend on how work is shared."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dcfm_envs.scene import SUCCESS_RADIUS
from dcfm_planner.controllers import PlannedActions, TrackEffector
from dcfm_planner.domains.cube import CubeEvaluation, CubeSingle
from dcfm_planner.evaluation import run
from dcfm_planner.evaluation.problems import Problems
from dcfm_planner.evaluation.report import trials_csv
from dcfm_planner.evaluation.run import EvaluationError, EvaluationSettings, Results, evaluate
from dcfm_planner.evaluation.trials import Timing, Trial
from dcfm_planner.models import ModelError, Sampling

WEIGHTS = "cube-single/noniid/dcfm_b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"controls": ("oracles",)}, "unknown controls 'oracles'; there are oracle, random, null, wrong, actions"),
        ({"controller": "pid"}, "unknown controller 'pid'; there are track, planned"),
        ({"workers": -1}, "workers=-1"),
        ({"max_steps": 201}, "max_steps=201: give 1 to 200"),
        ({"protocol": "p"}, "unknown protocol"),
        ({"trials": 0}, "trials=0"),
        ({"lookahead": -2}, "lookahead=-2"),
        ({"lookahead": -2, "controller": "planned"}, "lookahead=-2"),
        ({"controls": ("null", "wrong", "null")}, "controls null, wrong, null: give each one once"),
    ],
)
def test_settings_that_cannot_be(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationSettings(WEIGHTS, **change)


def test_the_controller_asked_for_is_made() -> None:
    assert EvaluationSettings(WEIGHTS).make_controller() == TrackEffector(2)
    assert EvaluationSettings(WEIGHTS, lookahead=5).make_controller() == TrackEffector(5)
    assert EvaluationSettings(WEIGHTS, controller="planned").make_controller() == PlannedActions()


def test_plans_are_sampled_as_asked_for() -> None:
    joint = Sampling(rule="joint", guidance=(1.0, 1.0))
    assert run.load(EvaluationSettings(WEIGHTS, device="cpu", sampling=joint)).sampling == joint


def test_unknown_weights_are_an_error_before_any_work() -> None:
    with pytest.raises(ModelError, match="neither a folder nor a shipped planner"):
        evaluate(EvaluationSettings("cube-single/noniid/dcfm_z"))
    assert issubclass(EvaluationError, ValueError)


class Bench:
    """Trials that take no time."""

    def run(self, problems: Problems, arms: tuple[str, ...]) -> tuple[list[Trial], Timing]:
        trials = [
            Trial(arm, problems.cell, int(i), "TL", "TL", "same", int(seed), feasible=True, reasons=())
            for arm in arms
            for i, seed in zip(problems.index, problems.noise_seed, strict=True)
        ]
        return trials, Timing(planning=1.0, plans=len(problems))


def test_chunks_come_back_whole_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "make_workbench", lambda settings: Bench())
    seen: list[tuple[int, int]] = []
    settings = EvaluationSettings(WEIGHTS, trials=25, workers=0, controls=("null",), device="cpu")
    results = evaluate(settings, lambda done, total: seen.append((done, total)))
    assert seen == [(0, 50), (20, 50), (25, 50), (45, 50), (50, 50)]
    order = [(trial.cell, trial.arm, trial.index) for trial in results.trials]
    assert order == [(c, a, i) for c in ("known", "novel") for a in ("planner", "null") for i in range(25)]
    np.testing.assert_array_equal(
        [t.noise_seed for t in results.trials[:25]], settings.make_problems()["known"].noise_seed
    )
    assert results.timing.plans == 50
    assert (results.method, results.partition) == ("dcfm_b", "noniid")


@dataclass(frozen=True)
class OwnControls(CubeEvaluation):
    """A domain with a control that the cube does not know."""

    @property
    def controls(self) -> tuple[str, ...]:
        return ("straight", "null")


@dataclass(frozen=True)
class OwnDomain(CubeSingle):
    def evaluation(self) -> CubeEvaluation:
        return OwnControls()


def test_a_domain_s_own_controls_come_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "make_workbench", lambda settings: Bench())
    settings = EvaluationSettings(
        WEIGHTS, trials=1, workers=0, controls=("null", "straight"), device="cpu", domain=OwnDomain()
    )
    results = evaluate(settings)
    assert [t.arm for t in results.trials if t.cell == "novel"] == ["planner", "straight", "null"]
    described = {"steps": 5, "solver": "midpoint", "horizon": 96, "rule": "composed", "guidance": [1.5, 1.5]}
    assert results.planner == described


def test_this_process_gets_its_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Counting(Bench):
        def run(self, problems: Problems, arms: tuple[str, ...]) -> tuple[list[Trial], Timing]:
            seen.append(torch.get_num_threads())
            return super().run(problems, arms)

    monkeypatch.setattr(run, "make_workbench", lambda settings: Counting())
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        evaluate(EvaluationSettings(WEIGHTS, trials=1, workers=0, device="cpu"))
        assert (seen, torch.get_num_threads()) == ([1, 1], 2)
    finally:
        torch.set_num_threads(before)


def test_a_device_that_is_not_there_is_an_error_before_any_work() -> None:
    with pytest.raises(ModelError, match="use auto or cpu"):
        evaluate(EvaluationSettings(WEIGHTS, device="tpu"))


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    """Each worker would run it again."""
    script = tmp_path / "mine.py"
    script.write_text(
        "from dcfm_planner.evaluation.run import EvaluationSettings, evaluate\n"
        f"evaluate(EvaluationSettings({WEIGHTS!r}, trials=1, workers=1, device='cpu'))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=280)
    assert done.returncode == 1
    assert 'or the calling script lacks `if __name__ == "__main__":`' in done.stderr


@pytest.fixture(scope="module")
def shipped() -> Results:
    """A short evaluation of the shipped planner, in MuJoCo."""
    settings = EvaluationSettings(WEIGHTS, "given", trials=2, device="cpu", workers=0, controls=("oracle",))
    return evaluate(settings)


def test_the_oracle_succeeds_where_the_shipped_planner_is_judged(shipped: Results) -> None:
    assert [t.success for t in shipped.trials if t.arm == "oracle"] == [True] * 4


def test_what_is_said_of_a_trial_agrees_with_its_paths(shipped: Results) -> None:
    own = [t for t in shipped.trials if t.arm == "planner"]
    assert len(own) == 4
    for t in own:
        assert t.feasible == (not t.reasons)
        assert not t.at_start
        assert t.planned[0] == pytest.approx(t.start, abs=2e-3)  # start and goal were held
        assert t.planned[-1] == pytest.approx(t.goal, abs=1e-5)
        assert len(t.executed) == t.steps + 1
        assert np.linalg.norm(t.executed[-1] - t.goal) <= t.distance + 1e-6
        assert t.reached == (t.distance <= SUCCESS_RADIUS)
        assert t.success == (t.feasible and t.reached)
        assert t.success >= t.success_strict
    assert shipped.timing.steps == sum(t.steps for t in own)


def test_processes_change_nothing_but_the_time(shipped: Results) -> None:
    settings = replace(shipped.settings, protocol="paper", controls=(), max_steps=6)
    alone, shared = evaluate(settings), evaluate(replace(settings, workers=2))
    assert shared.workers == 2
    assert trials_csv(alone.trials) == trials_csv(shared.trials)
    for a, b in zip(alone.trials, shared.trials, strict=True):
        np.testing.assert_array_equal(a.planned, b.planned)
        np.testing.assert_array_equal(a.executed, b.executed)
