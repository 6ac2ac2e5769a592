"""Controllers read the plan's arrays: planned actions come back as they are, tracking closes the gap to the plan."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_envs.scene import ACTION_SCALE
from dcfm_planner.controllers import Controller, PlannedActions, TrackEffector, shortest_turn
from dcfm_planner.layout import COLUMNS

EFFECTOR, YAW, GRIPPER, ACTION = (
    COLUMNS[name].start for name in ("effector_position", "effector_yaw", "gripper_opening", "action")
)
HORIZON = 6


@pytest.fixture
def moving(still: Tensor) -> Tensor:
    """The effector moves 1 cm a step along y, the gripper closes, actions count the steps."""
    steps = still.repeat(HORIZON, 1)
    steps[:, EFFECTOR + 1] += 0.01 * torch.arange(HORIZON)
    steps[:, GRIPPER] = 0.1 * torch.arange(HORIZON)
    steps[:, ACTION:] = torch.arange(HORIZON)[:, None] / 10.0
    return steps


def test_planned_actions_are_the_plans(moving: Tensor, plan_of: Callable, observe: Callable) -> None:
    plan = plan_of(moving.repeat(3, 1, 1))
    actions = PlannedActions()(plan, np.array([0, 2, 99]), observe(moving[:3].numpy()))
    np.testing.assert_allclose(actions, np.array([0.0, 0.2, 0.5])[:, None].repeat(5, 1), atol=1e-6)


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_tracking_asks_for_the_way_to_the_planned_pose(
    moving: Tensor, plan_of: Callable, observe: Callable, lookahead: int
) -> None:
    actions = TrackEffector(lookahead)(plan_of(moving[None]), np.array([1]), observe(moving[1].numpy()))
    expected = (
        np.array([0, 0.01 * lookahead, 0, 0, 0.1]) / ACTION_SCALE
    )  # the gripper: planned opening + planned action
    np.testing.assert_allclose(actions[0], expected, atol=1e-6)


def test_tracking_a_plan_at_rest_asks_for_nothing(still: Tensor, plan_of: Callable, observe: Callable) -> None:
    plan = plan_of(still.repeat(1, HORIZON, 1))
    np.testing.assert_allclose(TrackEffector()(plan, np.array([3]), observe(still.numpy())), 0, atol=1e-6)


def test_tracking_past_the_end_stays_at_the_end(moving: Tensor, plan_of: Callable, observe: Callable) -> None:
    plan, observation = plan_of(moving[None]), observe(moving[-1].numpy())
    end, past = (TrackEffector()(plan, np.array([step]), observation) for step in (HORIZON - 1, 1000))
    np.testing.assert_array_equal(end, past)
    np.testing.assert_allclose(end[0, :4], 0, atol=1e-6)


def test_yaw_takes_the_shorter_way_between_equal_grasps(still: Tensor, plan_of: Callable, observe: Callable) -> None:
    """Planned at 0.7 rad, observed at -0.7: up to quarter turns that is -0.17 rad, not 1.4."""
    planned, observed = still.clone(), still.clone()
    for state, yaw in ((planned, 0.7), (observed, -0.7)):
        state[YAW], state[YAW + 1] = np.cos(4 * yaw), np.sin(4 * yaw)
    actions = TrackEffector()(plan_of(planned.repeat(1, HORIZON, 1)), np.array([0]), observe(observed.numpy()))
    assert actions[0, 3] * ACTION_SCALE[3] == pytest.approx(1.4 - np.pi / 2, abs=1e-6)


def test_shortest_turn_is_congruent_and_short() -> None:
    angles = np.linspace(-10, 10, 1001)
    turned = shortest_turn(angles)
    assert (np.abs(turned) <= np.pi / 4 + 1e-12).all()
    quarters = (angles - turned) / (np.pi / 2)
    np.testing.assert_allclose(quarters, quarters.round(), atol=1e-9)


def test_both_are_controllers_and_bad_lookahead_is_refused() -> None:
    assert isinstance(PlannedActions(), Controller)
    assert isinstance(TrackEffector(), Controller)
    with pytest.raises(ValueError, match="lookahead=-1: give 0 or more"):
        TrackEffector(-1)
