"""The success rules on paths made by hand: the last step counts, first touch does not, strict asks for more."""

from collections.abc import Callable

import numpy as np
import pytest
from torch import Tensor

from dcfm_planner.evaluation.rollout import Rollout
from dcfm_planner.evaluation.success import NEVER, judge
from dcfm_planner.layout import COLUMNS, STATE_COLUMNS

CUBE, CONTACT = COLUMNS["cube_position"].start, COLUMNS["gripper_contact"].start
GOAL = np.array([[0.35, -0.1, 0.02]])
TIMES = 11


@pytest.fixture
def path(still: Tensor) -> Callable[..., Rollout]:
    """A rollout whose cube is at given offsets (m, along x) from the goal from given steps on."""

    def make(offsets: dict[int, float], steps: int = TIMES - 1, contact: float = 0.0, height: float = 0.02) -> Rollout:
        states = np.tile(still[:STATE_COLUMNS].numpy(), (1, TIMES, 1))
        for step, offset in sorted(offsets.items()):
            states[0, step:, CUBE : CUBE + 3] = GOAL[0] + [offset, 0, 0]
        states[..., CUBE + 2], states[..., CONTACT] = height, contact
        return Rollout(states, np.array([steps]), 0.0, 0.0)

    return make


def test_the_last_step_counts(path: Callable[..., Rollout]) -> None:
    stays = judge(path({0: 0.2, 6: 0.01}), GOAL)
    assert stays.reached.all()
    assert stays.strict.all()
    assert stays.first_touch.tolist() == [6]
    assert not stays.at_start.any()
    passes = judge(path({0: 0.2, 4: 0.01, 8: 0.2}), GOAL)
    assert not passes.reached.any()
    assert passes.first_touch.tolist() == [4]
    never = judge(path({0: 0.2}), GOAL)
    assert never.first_touch.tolist() == [NEVER]
    np.testing.assert_allclose(never.distance, 0.2)


def test_the_radius_is_ogbenchs(path: Callable[..., Rollout]) -> None:
    assert judge(path({0: 0.0399}), GOAL).reached.all()
    assert not judge(path({0: 0.0401}), GOAL).reached.any()


def test_what_comes_after_a_trials_last_step_does_not_count(path: Callable[..., Rollout]) -> None:
    found = judge(path({0: 0.2, 6: 0.0}, steps=5), GOAL)
    assert not found.reached.any()
    assert found.first_touch.tolist() == [NEVER]


def test_solved_at_the_start(path: Callable[..., Rollout]) -> None:
    found = judge(path({0: 0.03}), GOAL)
    assert found.at_start.all()
    assert found.first_touch.tolist() == [0]


@pytest.mark.parametrize(
    ("change", "rule"),
    [({"contact": 0.9}, "released"), ({"height": 0.045}, "on_floor"), ({"moving": True}, "at_rest")],
)
def test_strict_asks_for_more(path: Callable[..., Rollout], change: dict, rule: str) -> None:
    moving = change.pop("moving", False)
    offsets = {0: 0.2, 5: 0.01} | ({TIMES - 1: 0.012} if moving else {})
    found = judge(path(offsets, **change), GOAL)
    assert found.reached.all()
    assert not found.strict.any()
    assert [name for name in ("released", "at_rest", "on_floor") if not getattr(found, name).all()] == [rule]


@pytest.mark.parametrize(
    ("rule", "change", "kept"),
    [
        ("released", {"contact": 0.019}, True),  # 1 N is 0.02
        ("released", {"contact": 0.021}, False),
        ("on_floor", {"height": 0.029}, True),
        ("on_floor", {"height": 0.031}, False),
        ("at_rest", {"offsets": {0: 0.0, TIMES - 1: 0.0004}}, True),  # m in the last step: 1 cm/s are 0.0005
        ("at_rest", {"offsets": {0: 0.0, TIMES - 1: 0.0006}}, False),
        ("at_rest", {"offsets": {0: 0.0, TIMES - 2: 0.01}}, True),  # it moved in the step before
    ],
)
def test_where_strict_rules_begin(path: Callable[..., Rollout], rule: str, change: dict, kept: bool) -> None:
    found = judge(path(**{"offsets": {0: 0.0}} | change), GOAL)
    assert found.reached.all()
    assert bool(getattr(found, rule)[0]) == kept
    assert bool(found.strict[0]) == kept
