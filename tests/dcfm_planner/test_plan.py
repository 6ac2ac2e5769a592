"""Plans under names: sub-goals are the plan's own states at their times."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_planner.layout import COLUMNS, TRANSITION
from dcfm_planner.plan import Plan


@pytest.fixture
def plan(generator: torch.Generator) -> Plan:
    return Plan.from_normalised(torch.randn(2, 11, TRANSITION, generator=generator))


def test_time_is_in_seconds(plan: Plan) -> None:
    np.testing.assert_allclose(plan.time, 0.05 * np.arange(11))


def test_one_plan_of_a_batch(plan: Plan) -> None:
    for row in (1, -1, np.int64(1), np.argmax([0, 1]), np.array(1)):
        assert len(plan[row]) == 1
        np.testing.assert_array_equal(plan[row].start[0], plan.start[1])
    np.testing.assert_array_equal(plan[np.array([False, True])].start, plan.start[1:])
    assert [len(each) for each in plan] == [1, 1]
    with pytest.raises(IndexError):
        plan[2]


@pytest.mark.parametrize(("every", "steps"), [(1, list(range(1, 11))), (4, [4, 8, 10]), (5, [5, 10]), (99, [10])])
def test_sub_goals_are_states_of_the_plan(plan: Plan, every: int, steps: list[int]) -> None:
    goals = plan.subgoals(every)
    np.testing.assert_allclose(goals["time"], plan.time[steps])
    for name in (
        "effector_position",
        "effector_yaw",
        "gripper_opening",
        "gripper_contact",
        "cube_position",
        "cube_yaw",
    ):
        np.testing.assert_array_equal(goals[name], getattr(plan, name)[:, steps])
    np.testing.assert_array_equal(goals["cube_position"][:, -1], plan.goal)
    assert set(goals) == {"time"} | set(COLUMNS) - {"action"}


def test_a_still_plan_has_equal_sub_goals(still: Tensor, plan_of: Callable[[Tensor], Plan]) -> None:
    goals = plan_of(still.repeat(1, 6, 1)).subgoals(2)
    np.testing.assert_allclose(goals["cube_position"], np.broadcast_to([0.5, 0.2, 0.02], (1, 3, 3)))
    np.testing.assert_allclose(goals["gripper_opening"], 0, atol=1e-12)


def test_no_steps_are_refused(plan: Plan) -> None:
    with pytest.raises(ValueError, match="a sub-goal every 0 steps; give at least 1"):
        plan.subgoals(0)
