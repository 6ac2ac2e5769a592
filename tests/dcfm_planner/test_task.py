"""What training holds."""

import pytest
import torch

from dcfm_planner.domains.maze import PointMaze
from dcfm_planner.layout import COLUMNS, STATE_COLUMNS
from dcfm_planner.task import HoldRates, PlannerTask


def test_hold_rates_and_shapes() -> None:
    task = PlannerTask(hold=HoldRates(start=0.6, goal=0.5, history=0.4, actions=0.5))
    x = torch.zeros(4000, *task.shape)
    held = task.draw_held(x, torch.Generator().manual_seed(0))
    start = held[:, 0, :STATE_COLUMNS].all(1)
    assert abs(float(start.float().mean()) - 0.6) < 0.03
    goal = held[:, -1, COLUMNS["cube_position"].slice].all(1)
    assert abs(float(goal.float().mean()) - 0.5) < 0.03
    length = held[..., :STATE_COLUMNS].all(-1).sum(1)
    assert abs(float((length > 1).float().mean()) - 0.6 * 0.4) < 0.03
    assert int(length.max()) < task.horizon
    actions = held[..., COLUMNS["action"].slice].all(-1)
    assert (actions.sum(1) <= (length - 1).clamp(min=0)).all()
    assert abs(float((actions.sum(1) > 0).float().mean()) - 0.6 * 0.4 * 0.5) < 0.03
    assert abs(float((start & goal).float().mean()) - 0.6 * 0.5) < 0.03  # drawn apart
    assert len(length[length > 1].unique()) > task.horizon - 12  # of any length but the last eight rows'
    # a held history is a prefix
    inside = torch.arange(task.horizon)[None] < length[:, None]
    assert (held[..., 0] == inside).all()


def test_network_takes_the_tasks_shape() -> None:
    task = PlannerTask(horizon=32, fold=4, channels=(8, 16), condition=8)
    network = task.network()
    x = torch.randn(2, *task.shape)
    assert network(x, torch.rand(2), torch.zeros(2, 2, dtype=torch.long)).shape == x.shape


@pytest.mark.parametrize("horizon", [2, 4, 8, 9])
def test_short_plans_are_held_as_often_as_long_ones(horizon: int) -> None:
    hold = HoldRates(start=1.0, goal=0.0, history=1.0, actions=0.0)
    task = PlannerTask(horizon=horizon, fold=1, channels=(8,), hold=hold, domain=PointMaze())
    held = task.draw_held(torch.zeros(100, *task.shape), torch.Generator().manual_seed(0))
    assert held[:, 0].all()
    assert not held[:, 1:].any()
