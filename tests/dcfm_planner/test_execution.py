"""Receding horizon: what is held, when a plan is made anew, and that the query's labels stay the trial's own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_planner.controllers import PlannedActions
from dcfm_planner.execution import Execution, ExecutionOptions
from dcfm_planner.layout import COLUMNS, STATE_COLUMNS, TRANSITION, denormalise
from dcfm_planner.plan import Plan
from dcfm_planner.planner import HeldEntries, Planner

HORIZON = 8
CUBE = COLUMNS["cube_position"]
LABELS = np.array([[0, 3], [1, 2]])


@pytest.fixture
def at_rest(still: Tensor) -> Tensor:
    return still.repeat(HORIZON, 1)


def begun(planner: Planner, goal: np.ndarray, **options: Any) -> Execution:
    """Two trials of the same goal."""
    execution = Execution(planner, PlannedActions(), 2, ExecutionOptions(**options))
    execution.begin(np.arange(2), LABELS, np.stack([goal, goal]), [1, 2])
    return execution


def cube(state: Tensor) -> np.ndarray:
    return state[CUBE.slice].numpy()


def test_finishes_with_the_horizon_where_the_cube_rests_at_the_goal(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable
) -> None:
    execution = begun(perfect_planner(at_rest)[0], cube(at_rest[0]))
    observation = observe(at_rest[:2].numpy())
    for step in range(HORIZON):
        execution.act(observation)
        assert execution.finished.all() == (step == HORIZON - 1)
    assert execution.plans.tolist() == [1, 1]
    assert execution.replans.tolist() == [0, 0]


def test_is_not_finished_while_the_cube_moves_or_once_it_left(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable
) -> None:
    execution = begun(perfect_planner(at_rest)[0], cube(at_rest[0]))
    states = at_rest[:2].clone()
    for _ in range(HORIZON - 1):
        execution.act(observe(states.numpy()))
    states[1, CUBE.start] += 0.001  # m, within the goal's tolerance, but faster than a cube at rest
    execution.act(observe(states.numpy()))
    assert execution.finished.tolist() == [True, False]
    execution.act(observe(states.numpy()))
    assert execution.finished.tolist() == [True, True]
    states[0, CUBE.start] += 0.1
    execution.act(observe(states.numpy()))
    assert execution.finished.tolist() == [False, True]
    assert execution.plans.tolist() == [2, 1]


def test_plans_anew_when_the_horizon_is_over_elsewhere(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable
) -> None:
    execution = begun(perfect_planner(at_rest)[0], cube(at_rest[0]) + np.array([0.0, 0.1, 0.0]))
    for _ in range(2 * HORIZON):
        execution.act(observe(at_rest[:2].numpy()))
    assert not execution.finished.any()
    assert execution.plans.tolist() == [3, 3]  # at steps 0, 7 and 14


def test_start_and_goal_are_held_exactly(at_rest: Tensor, perfect_planner: Callable, observe: Callable) -> None:
    goal = np.array([0.35, -0.1, 0.02])
    execution = begun(perfect_planner(at_rest)[0], goal)
    observed = at_rest[:2].clone()
    observed[:, 0] += 0.05
    execution.act(observe(observed.numpy()))
    found = denormalise(execution.plan.normalised.double()).numpy()
    np.testing.assert_allclose(found[:, 0, :STATE_COLUMNS], observed[:, :STATE_COLUMNS], atol=1e-6)
    np.testing.assert_allclose(execution.plan.goal, np.stack([goal, goal]), atol=1e-6)


def test_labels_stay_the_trials_own_through_every_replan(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable
) -> None:
    planner, field = perfect_planner(at_rest)
    execution = begun(planner, cube(at_rest[0]) + np.array([0.0, 0.1, 0.0]), replan_every=2)
    for _ in range(3 * HORIZON):
        execution.act(observe(at_rest[:2].numpy()))
    assert execution.replans.min() >= 4
    assert all(torch.equal(y, torch.from_numpy(LABELS)) for y in field.labels)


@pytest.mark.parametrize("hold_actions", [False, True])
def test_replanning_holds_the_executed_history(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable, hold_actions: bool
) -> None:
    planned = torch.arange(HORIZON)[:, None] * torch.tensor([0.1, 0.2, -0.1, -0.2, 0.0])
    at_rest[:, COLUMNS["action"].slice] = 10 * planned
    planner, field = perfect_planner(at_rest)
    execution = begun(planner, cube(at_rest[0]), replan_every=3, hold_actions=hold_actions)
    for step in range(4):
        state = at_rest[:2].clone()
        state[:, 0] += 0.01 * step
        execution.act(observe(state.numpy()))
    held = field.held[-1]
    assert held is not None
    assert held[:, :4, :STATE_COLUMNS].all()
    assert held[:, -1, CUBE.slice].all()
    assert int(held.sum()) == 2 * (4 * STATE_COLUMNS + 3 + 3 * 5 * hold_actions)
    effector = execution.plan.effector_position[:, :4, 0]
    np.testing.assert_allclose(effector, [0.45 + 0.01 * np.arange(4)] * 2, atol=1e-6)
    taken = (10 * planned[:3]).clamp(-1, 1) if hold_actions else 10 * planned[:3]  # those taken were clipped
    np.testing.assert_allclose(execution.plan.action[:, :3], [taken.numpy()] * 2, atol=1e-5)
    assert execution.replans.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("options", "steps"),
    [({}, 2), ({"warm_start": 0.75}, 1), ({"warm_start": 0.0}, 4), ({"replan_steps": 3}, 3)],
)
def test_a_warm_start_takes_the_rest_of_the_solver_s_steps_or_as_many_as_asked_for(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable, options: dict[str, Any], steps: int
) -> None:
    planner, field = perfect_planner(at_rest)
    execution = begun(planner, cube(at_rest[0]), replan_every=3, **options)
    for _ in range(3):
        execution.act(observe(at_rest[:2].numpy()))
    assert len(field.labels) == planner.steps == 4
    execution.act(observe(at_rest[:2].numpy()))
    assert len(field.labels) == 4 + steps


def test_a_warm_start_is_from_the_time_asked_for(noise_planner: Planner, observe: Callable, still: Tensor) -> None:
    """With a field at rest, it is that share of the proposal, the rest noise."""
    proposal = Plan.from_normalised(torch.full((1, noise_planner.horizon, TRANSITION), 100.0))
    execution = Execution(noise_planner, PlannedActions(), 1, ExecutionOptions(warm_start=0.8))
    execution.begin(np.array([0]), LABELS[:1], np.array([[0.35, -0.1, 0.02]]), [0], proposal)
    execution.act(observe(still.numpy()))
    assert float(execution.plan.normalised[0, 1:-1].mean()) == pytest.approx(80, abs=1)


def test_a_proposal_is_of_the_first_plan_alone(noise_planner: Planner, observe: Callable, still: Tensor) -> None:
    """What is planned anew, and what begins anew without one, is planned from noise, whose mean is 0."""
    proposal = Plan.from_normalised(torch.full((1, noise_planner.horizon, TRANSITION), 100.0))
    execution = Execution(noise_planner, PlannedActions(), 1)
    begin = (np.array([0]), LABELS[:1], np.array([[0.35, -0.1, 0.02]]), [0])
    execution.begin(*begin, proposal)
    while execution.plans[0] < 2:
        execution.act(observe(still.numpy()))
    assert float(execution.plan.normalised[0, 1:-1].mean()) == pytest.approx(0, abs=1)
    execution.begin(*begin, proposal)
    execution.begin(*begin)
    execution.act(observe(still.numpy()))
    assert float(execution.plan.normalised[0, 1:-1].mean()) == pytest.approx(0, abs=1)


@pytest.mark.parametrize(("every", "replans"), [(2, 2), (3, 1), (HORIZON - 1, 0)])
def test_a_plan_that_is_all_but_over_is_not_made_again(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable, every: int, replans: int
) -> None:
    """Every two steps: at steps 2 and 4; every three: at step 3. At a later one there would be little left to plan."""
    execution = begun(perfect_planner(at_rest)[0], cube(at_rest[0]), replan_every=every)
    for _ in range(2 * HORIZON):
        execution.act(observe(at_rest[:2].numpy()))
    assert execution.replans.tolist() == [replans] * 2
    assert execution.plans.tolist() == [1, 1]


@pytest.mark.parametrize(("off", "plans"), [(0.029, 1), (0.031, 2)])
def test_a_cube_counts_as_at_the_goal_within_3_cm_of_it(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable, off: float, plans: int
) -> None:
    execution = begun(perfect_planner(at_rest)[0], cube(at_rest[0]) + np.array([0.0, off, 0.0]))
    for _ in range(HORIZON):
        execution.act(observe(at_rest[:2].numpy()))
    assert execution.finished.tolist() == [plans == 1] * 2
    assert execution.plans.tolist() == [plans] * 2


def test_a_cube_that_moves_as_planned_does_not_stray(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable
) -> None:
    """It moves farther in a step than it may stray."""
    at_rest[:, CUBE.start + 1] -= 0.05 * torch.arange(HORIZON)
    execution = begun(perfect_planner(at_rest)[0], cube(at_rest[-1]), stray_distance=0.02)
    for state in at_rest:
        execution.act(observe(state.repeat(2, 1).numpy()))
    assert execution.plans.tolist() == [1, 1]


def test_a_stray_cube_starts_a_new_plan(at_rest: Tensor, perfect_planner: Callable, observe: Callable) -> None:
    execution = begun(perfect_planner(at_rest)[0], cube(at_rest[0]), stray_distance=0.05)
    moved = at_rest[:2].clone()
    moved[1, CUBE.start] -= 0.1
    execution.act(observe(at_rest[:2].numpy()))
    execution.act(observe(moved.numpy()))
    assert execution.plans.tolist() == [1, 2]
    assert execution.step.tolist() == [2, 1]


def test_a_cube_at_the_goal_does_not_stray_once_the_plan_is_over(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable
) -> None:
    """Farther from the plan's last point than ``stray_distance``, within ``goal_tolerance``: it stays where it is."""
    planner, _ = perfect_planner(at_rest)
    execution = begun(planner, cube(at_rest[0]), stray_distance=0.005)
    near = at_rest[:2].clone()
    near[:, CUBE.start] += 0.01
    execution.act(observe(at_rest[:2].numpy()))
    execution.step[:] = planner.horizon - 1
    for _ in range(3):
        execution.act(observe(near.numpy()))
    assert execution.finished.all()
    assert execution.plans.tolist() == [1, 1]


def test_inactive_rows_keep_their_place_and_get_zeros(
    at_rest: Tensor, perfect_planner: Callable, observe: Callable
) -> None:
    at_rest[:, COLUMNS["action"].slice] = 0.5
    execution = begun(perfect_planner(at_rest)[0], cube(at_rest[0]))
    actions = execution.act(observe(at_rest[:2].numpy()), np.array([True, False]))
    np.testing.assert_allclose(actions, [[0.5] * 5, [0.0] * 5], atol=1e-5)
    assert execution.step.tolist() == [1, 0]
    assert execution.plans.tolist() == [1, 0]


def test_actions_are_clipped(at_rest: Tensor, perfect_planner: Callable, observe: Callable) -> None:
    at_rest[:, COLUMNS["action"].slice] = torch.tensor([-3.0, 3.0, 0.0, 1.5, -1.5], dtype=at_rest.dtype)
    execution = begun(perfect_planner(at_rest)[0], cube(at_rest[0]))
    np.testing.assert_allclose(execution.act(observe(at_rest[:2].numpy()))[0], [-1, 1, 0, 1, -1], atol=1e-5)


def test_a_trial_does_not_depend_on_its_companions(noise_planner: Planner, observe: Callable, still: Tensor) -> None:
    observation, goal = observe(still.numpy()), np.array([[0.35, -0.1, 0.02]])
    alone = Execution(noise_planner, PlannedActions(), 1)
    alone.begin(np.array([0]), LABELS[1:], goal, [7])
    alone.act(observation)
    together = Execution(noise_planner, PlannedActions(), 2)
    together.begin(np.arange(2), LABELS, goal.repeat(2, 0), [3, 7])
    together.act(observation.repeat(2, 0))
    assert torch.equal(together.plan.normalised[1], alone.plan.normalised[0])


def test_a_proposal_is_where_the_first_plan_comes_from(
    noise_planner: Planner, observe: Callable, still: Tensor
) -> None:
    """With a field at rest, a warm start is half the proposal and half noise."""
    proposal = Plan.from_normalised(torch.full((1, noise_planner.horizon, TRANSITION), 100.0))
    execution = Execution(noise_planner, PlannedActions(), 1)
    execution.begin(np.array([0]), LABELS[:1], np.array([[0.35, -0.1, 0.02]]), [0], proposal)
    execution.act(observe(still.numpy()))
    free = execution.plan.normalised[0, 1:-1]
    assert float(free.mean()) == pytest.approx(50, abs=1)
    assert execution.plans.tolist() == [1]


def test_histories_of_several_lengths_are_held() -> None:
    rng = np.random.default_rng(0)
    states, actions = rng.normal(size=(2, HORIZON, STATE_COLUMNS)), rng.normal(size=(2, HORIZON, 5))
    goal = rng.normal(size=(2, 3))
    held = HeldEntries.none(2, HORIZON).with_history(states, actions[:, :-1], np.array([1, 5])).with_goal(goal)
    assert held.mask[:, :-1, :STATE_COLUMNS].any(-1).sum(1).tolist() == [1, 5]
    assert held.mask[..., COLUMNS["action"].slice].any(-1).sum(1).tolist() == [0, 4]
    back = denormalise(held.values.double()).numpy()
    np.testing.assert_allclose(back[1, :5, :STATE_COLUMNS], states[1, :5], atol=1e-6)
    np.testing.assert_allclose(back[1, :4, STATE_COLUMNS:], actions[1, :4], atol=1e-6)
    np.testing.assert_allclose(back[:, -1, CUBE.slice], goal, atol=1e-6)


def test_what_cannot_be_is_refused(noise_planner: Planner, observe: Callable, still: Tensor) -> None:
    execution = Execution(noise_planner, PlannedActions(), 1)
    with pytest.raises(ValueError, match=r"rows \[0\] did not begin"):
        execution.act(observe(still.numpy()))
    with pytest.raises(ValueError, match="give as many of each"):
        execution.begin(np.array([0]), LABELS[:1], np.zeros((1, 3)), [0, 1])
    for options, message in (
        ({"replan_every": -1}, "replan_every=-1"),
        ({"warm_start": 1.0}, "warm_start=1.0"),
        ({"replan_steps": 0}, "replan_steps=0"),
        ({"goal_tolerance": 0.0}, "goal_tolerance=0.0"),
        ({"stray_distance": -1.0}, "stray_distance=-1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            ExecutionOptions(**options)
