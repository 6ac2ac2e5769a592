"""Sampling plans: held entries come back exactly, whatever the field; warm starts; plans in SI units."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_envs.scene import SCENE_CENTRE, STATE_SIZE, STATE_SLICES
from dcfm_planner.layout import COLUMNS, STATE_COLUMNS, TRANSITION, denormalise, normalise
from dcfm_planner.plan import Plan
from dcfm_planner.planner import HeldEntries, Planner
from dcfm_planner.quadrants import SPACE
from dcfm_planner.query import NULL

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


@pytest.mark.parametrize("steps", [0, -3])
def test_a_plan_takes_a_step(steps: int, generator: torch.Generator) -> None:
    one = planner(torch.zeros(3, HORIZON, TRANSITION))
    with pytest.raises(ValueError, match=f"steps={steps}: a plan takes at least 1 solver step"):
        one.sample(LABELS, generator, steps=steps)
    with pytest.raises(ValueError, match=f"steps={steps}: a plan takes at least 1"):
        replace(one, steps=steps).sample(LABELS, generator)


def test_warm_start_keeps_what_the_plan_was(generator: torch.Generator) -> None:
    """With a field at rest, a plan carried back to time s is s times itself plus (1 - s) times noise."""
    rest = Planner(lambda x, t, y, held=None: torch.zeros_like(x), HORIZON, steps=4)
    old = Plan.from_normalised(torch.full((3, HORIZON, TRANSITION), 10.0))
    warm = rest.sample(LABELS, generator, warm=old, start=0.8).normalised
    assert float(warm.mean()) == pytest.approx(8.0, abs=0.05)
    assert float(warm.std()) == pytest.approx(0.2, abs=0.02)


def test_a_warm_start_is_carried_on_from_its_time(generator: torch.Generator) -> None:
    """Along a field of ones, from time s, by 1 - s."""
    onward = Planner(lambda x, t, y, held=None: torch.ones_like(x), HORIZON, steps=4)
    old = Plan.from_normalised(torch.full((3, HORIZON, TRANSITION), 10.0))
    warm = onward.sample(LABELS, generator, warm=old, start=0.8).normalised
    assert float(warm.mean()) == pytest.approx(8.0 + 0.2, abs=0.05)


@pytest.mark.parametrize(
    ("method", "how", "calls"),
    [("euler", {}, 8), ("midpoint", {}, 16), ("euler", {"steps": 3}, 3), ("midpoint", {"steps": 3}, 6)],
)
def test_a_plan_takes_as_many_steps_of_the_solver_as_asked_for(
    generator: torch.Generator, method: str, how: dict[str, int], calls: int
) -> None:
    times: list[Tensor] = []

    def field(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        times.append(t)
        return torch.zeros_like(x)

    Planner(field, HORIZON, steps=8, method=method).sample(LABELS, generator, **how)
    assert len(times) == calls


def test_history_must_fit() -> None:
    with pytest.raises(ValueError, match="history of 13 steps; it must have 1 to 12"):
        HeldEntries.none(1, HORIZON).with_history(np.zeros((1, 13, STATE_COLUMNS)))
    with pytest.raises(ValueError, match="4 actions between 4 states; give 3, or none"):
        HeldEntries.none(1, HORIZON).with_history(np.zeros((1, 4, STATE_COLUMNS)), np.zeros((1, 4, 5)))
    for lengths in ([5], [-1]):
        with pytest.raises(ValueError, match=rf"lengths=\[{lengths[0]}\] of a history of 4 states; give 0 to 4"):
            HeldEntries.none(1, HORIZON).with_history(np.zeros((1, 4, STATE_COLUMNS)), lengths=np.array(lengths))


def test_a_goal_and_a_history_are_held_in_either_order() -> None:
    """Of a history in as many rows as the horizon has, too, of which the last is not counted."""
    states, goal = np.random.default_rng(0).normal(size=(2, HORIZON, STATE_COLUMNS)), np.full((2, 3), 0.3)
    lengths = np.array([1, 4])
    none = HeldEntries.none(2, HORIZON)
    one = none.with_goal(goal).with_history(states, lengths=lengths)
    other = none.with_history(states, lengths=lengths).with_goal(goal)
    assert torch.equal(one.mask, other.mask)
    assert torch.equal(one.values, other.values)
    assert one.mask[:, -1].sum() == 6


def test_labels_and_plans_to_start_from_must_fit(generator: torch.Generator) -> None:
    rest = Planner(lambda x, t, y, held=None: torch.zeros_like(x), HORIZON, steps=2, space=SPACE)
    rest.sample(torch.tensor([[0, 4]]), generator)  # a null token is one
    for wrong in ([[0, 1, 2]], [[0, 9]], [[0, -1]]):
        with pytest.raises(ValueError, match="label"):
            rest.sample(torch.tensor(wrong), generator)
    one = rest.sample(torch.tensor([[0, 1]]), generator)
    with pytest.raises(ValueError, match=r"\[2, 2, 1\] labels, generators, held plans and plans to start from"):
        rest.sample(torch.tensor([[0, 1], [1, 0]]), generator, warm=one)


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


class Asked:
    """A field at rest that remembers what it was asked for."""

    def __call__(self, x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        self.labels, self.held = y, held
        return torch.zeros_like(x)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def at_rest(asked: Asked) -> Planner:
    return Planner(asked, HORIZON, steps=1, method="euler")


def observed(x: float, y: float) -> np.ndarray:
    observation = np.zeros(STATE_SIZE)
    observation[[15, 26]] = 1  # yaws of zero
    observation[STATE_SLICES["cube_position"]] = 10 * (np.array([x, y, 0.02]) - SCENE_CENTRE)
    return observation


def test_plan_asks_for_what_is_named_and_leaves_the_rest_open(at_rest: Planner, asked: Asked) -> None:
    plan = at_rest.plan("TL", "BR")
    assert asked.labels.tolist() == [[0, 3]]
    assert asked.held is not None
    assert not asked.held.any()
    assert (len(plan), plan.horizon) == (1, HORIZON)
    assert len(at_rest.plan(target="TR", number=3)) == 3
    assert asked.labels.tolist() == [[NULL, 1]] * 3
    at_rest.plan(["TL", None], "BL")
    assert asked.labels.tolist() == [[0, 2], [NULL, 2]]


def test_plan_holds_the_observed_start_and_the_goal(at_rest: Planner, asked: Asked) -> None:
    plan = at_rest.plan(observation=observed(0.5, 0.2), goal=[0.35, -0.15])
    assert asked.labels.tolist() == [[0, 3]]  # where they lie
    assert asked.held is not None
    assert int(asked.held.sum()) == STATE_COLUMNS + 3
    np.testing.assert_allclose(plan.start, [[0.5, 0.2, 0.02]], atol=1e-6)
    np.testing.assert_allclose(plan.goal, [[0.35, -0.15, 0.02]], atol=1e-6)
    plan = at_rest.plan("BR", observation=np.stack([observed(0.5, 0.2), observed(0.3, 0.1)]))
    assert asked.labels.tolist() == [[3, NULL]] * 2  # a name goes before a place
    np.testing.assert_allclose(plan.start[1], [0.3, 0.1, 0.02], atol=1e-6)


def test_plan_depends_on_its_seed_and_number_alone(at_rest: Planner) -> None:
    many, one = at_rest.plan(number=3, seed=4), at_rest.plan(seed=4)
    assert torch.equal(many.normalised[:1], one.normalised)
    assert not torch.equal(many.normalised[0], many.normalised[1])
    assert not torch.equal(at_rest.plan(seed=5).normalised, one.normalised)


def test_plan_says_what_cannot_be(at_rest: Planner) -> None:
    with pytest.raises(ValueError, match=r"\[2, 3\] plans are asked for at once"):
        at_rest.plan(["TL", "TR"], number=3)
    with pytest.raises(ValueError, match="number=0: give at least 1 plan"):
        at_rest.plan(number=0)
    with pytest.raises(ValueError, match="no names or no observations at all"):
        at_rest.plan(source=[])
    with pytest.raises(ValueError, match="unknown quadrant 'XX'"):
        at_rest.plan("XX")
    with pytest.raises(ValueError, match="seed=-1: give integers"):
        at_rest.plan("TL", seed=-1)
    with pytest.raises(ValueError, match=r"\[3, 1\] labels, generators, held plans"):
        at_rest.sample(torch.zeros(3, 2, dtype=torch.long), [torch.Generator()])
    with pytest.raises(ValueError, match=r"a goal of shape \(4,\)"):
        at_rest.plan(goal=np.zeros(4))
