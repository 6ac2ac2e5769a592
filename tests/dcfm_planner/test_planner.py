"""Sampling plans: held entries come back exactly, whatever the field; warm starts; plans in SI units."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_planner.layout import COLUMNS, STATE_COLUMNS, TRANSITION, denormalise, normalise
from dcfm_planner.plan import Plan
from dcfm_planner.planner import HeldEntries, Planner

HORIZON = 12
LABELS = torch.tensor([[0, 1], [2, 3], [4, 4]])


def to_point(target: Tensor):
    """The field whose every path ends in ``target``: ``(target - x) / (1 - t)``."""

    def field(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        velocity = (target - x) / (1 - t)[:, None, None].clamp(min=1e-3)
        return velocity if held is None else velocity.masked_fill(held, 0.0)

    return field


def planner(target: Tensor) -> Planner:
    return Planner(to_point(target), HORIZON, steps=8, method="euler")


def test_held_entries_come_back_exactly(generator: torch.Generator) -> None:
    rng = np.random.default_rng(0)
    states, actions = rng.normal(size=(3, 4, STATE_COLUMNS)), rng.normal(size=(3, 3, 5))
    goal = rng.normal(size=(3, 3))
    held = HeldEntries.none(3, HORIZON).with_history(states, actions).with_goal(goal)
    assert int(held.mask.sum()) == 3 * (4 * STATE_COLUMNS + 3 * 5 + 3)
    plan = planner(torch.zeros(3, HORIZON, TRANSITION)).sample(LABELS, generator, held)
    back = denormalise(plan.normalised).numpy()
    np.testing.assert_allclose(back[:, :4, :STATE_COLUMNS], states, atol=1e-6)
    np.testing.assert_allclose(back[:, :3, STATE_COLUMNS:], actions, atol=1e-6)
    np.testing.assert_allclose(plan.goal, goal, atol=1e-6)
    # what is not held went where the field goes
    torch.testing.assert_close(plan.normalised[~held.mask], torch.zeros(int((~held.mask).sum())), atol=1e-4, rtol=0)


def test_nothing_held_reaches_the_target(generator: torch.Generator) -> None:
    target = torch.randn(3, HORIZON, TRANSITION, generator=generator)
    plan = planner(target).sample(LABELS, generator)
    torch.testing.assert_close(plan.normalised, target, atol=1e-4, rtol=0)


def test_a_generator_a_plan_makes_plans_independent_of_their_companions() -> None:
    identity = Planner(lambda x, t, y, held=None: torch.zeros_like(x), HORIZON, steps=1, method="euler")
    many = identity.sample(LABELS, [torch.Generator().manual_seed(s) for s in (1, 2, 3)])
    one = identity.sample(LABELS[1:2], [torch.Generator().manual_seed(2)])
    assert torch.equal(many.normalised[1:2], one.normalised)


def test_warm_start_keeps_what_the_plan_was(generator: torch.Generator) -> None:
    """With a field at rest, a plan carried back to time s is s times itself plus (1 - s) times noise."""
    rest = Planner(lambda x, t, y, held=None: torch.zeros_like(x), HORIZON, steps=4)
    old = Plan.from_normalised(torch.full((3, HORIZON, TRANSITION), 10.0))
    warm = rest.sample(LABELS, generator, warm=old, start=0.8).normalised
    assert float(warm.mean()) == pytest.approx(8.0, abs=0.05)
    assert float(warm.std()) == pytest.approx(0.2, abs=0.02)


def test_history_must_fit() -> None:
    with pytest.raises(ValueError, match="history of 13 steps; it must have 1 to 12"):
        HeldEntries.none(1, HORIZON).with_history(np.zeros((1, 13, STATE_COLUMNS)))


def test_plan_names_units_and_parts() -> None:
    values = torch.zeros(2, HORIZON, TRANSITION, dtype=torch.float64)
    values[..., COLUMNS["cube_position"].slice] = torch.tensor([0.5, -0.1, 0.02])
    values[..., COLUMNS["cube_yaw"].slice] = torch.tensor([np.cos(4 * 0.3), np.sin(4 * 0.3)])
    values[:, :, COLUMNS["gripper_opening"].start] = 0.4
    plan = Plan.from_normalised(normalise(values))
    assert len(plan) == 2
    assert plan.horizon == HORIZON
    np.testing.assert_allclose(plan.start, [[0.5, -0.1, 0.02]] * 2, atol=1e-9)
    np.testing.assert_allclose(plan.cube_yaw, 0.3, atol=1e-9)
    np.testing.assert_allclose(plan.gripper_opening, 0.4, atol=1e-9)
    assert [len(p) for p in plan] == [1, 1]
    np.testing.assert_array_equal(plan[1].cube_position, plan.cube_position[1:2])
