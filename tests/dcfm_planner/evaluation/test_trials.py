"""Trials in MuJoCo, end to end: plans that are a recorded demonstration must succeed, by every arm that should."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_envs.scene import CUBE_REST_HEIGHT
from dcfm_planner.controllers import TrackEffector
from dcfm_planner.evaluation.controls import control_labels
from dcfm_planner.evaluation.problems import Problems
from dcfm_planner.evaluation.simulation import Simulations, Starts
from dcfm_planner.evaluation.trials import Trial, Workbench
from dcfm_planner.execution import Execution, ExecutionOptions
from dcfm_planner.layout import COLUMNS, TRANSITION, normalise
from dcfm_planner.plan import Plan
from dcfm_planner.planner import Planner
from dcfm_planner.quadrants import QUADRANTS


@pytest.fixture
def bench(
    demonstration: Tensor, perfect_planner: Callable, simulations: Simulations, monkeypatch: pytest.MonkeyPatch
) -> Workbench:
    """A workbench whose planner knows one plan, the demonstration."""
    planner, _ = perfect_planner(demonstration)
    monkeypatch.setattr("dcfm_planner.evaluation.trials.Simulations", lambda batch: simulations)
    return Workbench(planner, TrackEffector(), ExecutionOptions(), batch=2)


@pytest.fixture
def given(demonstration: Tensor) -> Starts:
    """Where the demonstration starts and ends."""
    return Starts.proposed_by(Plan.from_normalised(normalise(demonstration[None])))


def problems(labels: np.ndarray, starts: Starts | None = None) -> Problems:
    return Problems("known", np.arange(1), labels[None], np.array([2]), starts)


def test_a_demonstration_as_the_plan_succeeds(bench: Workbench, demonstrated_labels: np.ndarray) -> None:
    (trial,), timing = bench.run(problems(demonstrated_labels))
    assert trial.feasible, trial.reasons
    assert trial.success
    assert trial.success_strict
    assert not trial.at_start
    assert 0 < trial.first_touch < trial.steps <= 200
    assert trial.distance < 0.03
    assert trial.effector_gap < 0.02
    assert trial.start_jump < 0.005
    assert trial.goal_jump < 0.005
    assert trial.planned.shape == (96, 2)
    assert len(trial.executed) == trial.steps + 1
    assert timing.plans == 1
    assert timing.steps == trial.steps
    again = bench.run(problems(demonstrated_labels))[0][0]
    np.testing.assert_array_equal(again.executed, trial.executed)


def test_controls_on_the_same_problem(bench: Workbench, demonstrated_labels: np.ndarray) -> None:
    """This planner knows no labels, so null and wrong ones change nothing; random ones ask for the same plan."""
    arms = ("oracle", "random", "null", "wrong")
    found = {trial.arm: trial for trial in bench.run(problems(demonstrated_labels), arms)[0]}
    assert tuple(found) == arms
    assert all(found[arm].success for arm in ("oracle", "null", "wrong"))
    assert all((trial.source, trial.target) == _names(demonstrated_labels) for trial in found.values())
    start = {(round(trial.start[0], 6), round(trial.goal[0], 6)) for trial in found.values()}
    assert len(start) == 1


def test_an_infeasible_plan_is_a_failure_and_is_not_executed(bench: Workbench, demonstrated_labels: np.ndarray) -> None:
    other = (demonstrated_labels + 1) % len(QUADRANTS)
    (trial,), timing = bench.run(problems(other))
    assert not trial.feasible
    assert len(trial.reasons) == 2
    assert not trial.success
    assert trial.steps == timing.steps == 0
    assert trial.executed.shape == (0, 2)


def test_given_starts_are_held(bench: Workbench, given: Starts, demonstrated_labels: np.ndarray) -> None:
    (trial,), timing = bench.run(problems(demonstrated_labels, given))
    assert trial.feasible
    assert trial.success
    np.testing.assert_allclose(trial.executed[0], given.cube_position[0, :2], atol=1e-3)
    np.testing.assert_allclose(trial.planned[-1], given.goal_position[0, :2], atol=1e-6)
    assert timing.plans == 1


def test_a_start_out_of_reach_is_a_reason(bench: Workbench, demonstrated_labels: np.ndarray) -> None:
    far = Starts(
        cube_position=np.array([[0.5, 0.2, CUBE_REST_HEIGHT]]),
        cube_yaw=np.zeros(1),
        effector_position=np.array([[0.9, 0.0, 0.3]]),
        effector_yaw=np.zeros(1),
        goal_position=np.array([[0.35, -0.2, CUBE_REST_HEIGHT]]),
    )
    trials: list[Trial] = bench.run(problems(demonstrated_labels, far))[0]
    assert not trials[0].feasible
    assert "effector_position" in trials[0].reasons[0]


def test_short_limits_end_early(demonstration: Tensor, demonstrated_labels: np.ndarray, bench: Workbench) -> None:
    bench.max_steps = 5
    (trial,), _ = bench.run(problems(demonstrated_labels))
    assert trial.steps == 5
    assert not trial.success
    assert torch.isfinite(torch.tensor(trial.distance))


@pytest.mark.parametrize("arm", ["random", "null", "wrong"])
def test_a_control_asks_for_its_own_labels_and_is_judged_by_the_query(
    bench: Workbench, given: Starts, demonstrated_labels: np.ndarray, arm: str
) -> None:
    asked = problems(demonstrated_labels, None if arm == "random" else given)
    instead = torch.from_numpy(control_labels(arm, asked.labels, asked.noise_seed))
    assert instead.tolist() != asked.labels.tolist()  # or this test could not fail
    bench.max_steps = 1
    (trial,), _ = bench.run(asked, (arm,))
    assert trial.feasible, trial.reasons
    seen = bench.planner.field.labels  # type: ignore[attr-defined]
    proposals = bench.planner.steps if arm == "random" else 0  # the query's own, of which nothing comes
    assert all(torch.equal(labels, instead) for labels in seen[proposals:])


def test_a_plan_that_is_infeasible_with_its_ends_held_is_a_failure_though_the_cube_arrives(
    bench: Workbench, given: Starts, demonstrated_labels: np.ndarray
) -> None:
    (trial,), _ = bench.run(problems((demonstrated_labels + 1) % len(QUADRANTS), given))
    assert trial.reached
    assert trial.released
    assert (trial.feasible, trial.success, trial.success_strict) == (False, False, False)


def test_the_execution_s_noise_is_of_the_seed_after_the_plan_s(
    bench: Workbench, noise_planner: Planner, given: Starts, demonstrated_labels: np.ndarray
) -> None:
    """With a field at rest, what is not held is the noise itself."""
    seen: list[Execution] = []
    bench.planner, bench.watch, bench.max_steps = noise_planner, seen.append, 1
    asked = problems(demonstrated_labels, given)
    bench.run(asked)
    noise = torch.Generator().manual_seed(int(asked.noise_seed[0]) + 1)
    expected = torch.randn(noise_planner.horizon, TRANSITION, generator=noise)
    torch.testing.assert_close(seen[0].plan.normalised[0, 1:-1], expected[1:-1])


@pytest.mark.parametrize(("arm", "warm"), [("planner", True), ("actions", True), ("null", False)])
def test_the_first_plan_goes_on_from_the_proposal_where_labels_are_the_query_s(
    bench: Workbench, demonstrated_labels: np.ndarray, arm: str, warm: bool
) -> None:
    """From a proposal a plan takes half of the solver's steps."""
    bench.max_steps = 1
    bench.run(problems(demonstrated_labels), (arm,))
    steps = bench.planner.steps
    assert len(bench.planner.field.labels) == steps + (steps // 2 if warm else steps)  # type: ignore[attr-defined]


def test_actions_are_executed_as_they_are_planned(
    bench: Workbench, demonstration: Tensor, perfect_planner: Callable, demonstrated_labels: np.ndarray
) -> None:
    """A plan whose actions ask for nothing, while its effector moves."""
    idle = demonstration.clone()
    idle[:, COLUMNS["action"].slice] = 0
    bench.planner, bench.max_steps = perfect_planner(idle)[0], 40
    tracked, played = bench.run(problems(demonstrated_labels), ("planner", "actions"))[0]
    assert tracked.effector_gap < 0.02
    assert played.effector_gap > 0.05


def test_options_of_execution_are_followed(bench: Workbench, given: Starts, demonstrated_labels: np.ndarray) -> None:
    bench.options, bench.max_steps = ExecutionOptions(replan_every=4), 10
    (trial,), _ = bench.run(problems(demonstrated_labels, given))
    assert (trial.plans, trial.replans) == (1, 2)  # again at steps 4 and 8


def _names(labels: np.ndarray) -> tuple[str, str]:
    return QUADRANTS[labels[0]], QUADRANTS[labels[1]]
