"""Success on hand-made rollouts: what counts is where the cube is after the last step."""

from collections.abc import Sequence

import numpy as np
import pytest

from dcfm_envs.scene import CUBE_REST_HEIGHT, SUCCESS_RADIUS
from dcfm_planner.evaluation.rollout import Rollout
from dcfm_planner.evaluation.success import NEVER, RELEASED_CONTACT, Outcome, judge
from dcfm_planner.execution import REST_DISTANCE
from dcfm_planner.feasibility import FLOOR_TOLERANCE
from dcfm_planner.layout import COLUMNS, STATE_COLUMNS

GOAL = np.array([[0.4, 0.1, CUBE_REST_HEIGHT]])


def outcome_of(
    distances: Sequence[float], *, height: float = 0.0, contact: float = 0.0, steps: int | None = None
) -> Outcome:
    """Judge a cube that is so far (m) from its goal along x at each time, ``height`` above the floor at the end."""
    states = np.zeros((1, len(distances), STATE_COLUMNS))
    cube = states[0, :, COLUMNS["cube_position"].slice]
    cube[:] = GOAL
    cube[:, 0] += distances
    cube[-2:, 2] += height
    states[0, -1, COLUMNS["gripper_contact"].start] = contact
    last = len(distances) - 1 if steps is None else steps
    return judge(Rollout(states, np.array([last]), 0.0, 0.0), GOAL)


def test_a_cube_put_down_at_the_goal_is_a_success_by_both_rules() -> None:
    outcome = outcome_of([0.2, 0.1, 0.03, 0.0, 0.0])
    assert outcome.reached.all()
    assert outcome.strict.all()
    assert not outcome.at_start.any()
    assert outcome.first_touch.tolist() == [2]
    assert outcome.distance == pytest.approx([0.0])


@pytest.mark.parametrize(("distance", "reached"), [(SUCCESS_RADIUS - 1e-6, True), (SUCCESS_RADIUS + 1e-6, False)])
def test_the_radius_is_ogbenchs(distance: float, reached: bool) -> None:
    assert outcome_of([0.2, distance, distance]).reached.tolist() == [reached]


def test_touching_and_leaving_is_no_success() -> None:
    outcome = outcome_of([0.2, 0.01, 0.2, 0.2])
    assert outcome.first_touch.tolist() == [1]
    assert not outcome.reached.any()
    assert not outcome.strict.any()


def test_never_touched() -> None:
    assert outcome_of([0.2, 0.2, 0.2]).first_touch.tolist() == [NEVER]


def test_solved_at_the_start_is_told_apart() -> None:
    outcome = outcome_of([0.03, 0.03, 0.03])
    assert outcome.at_start.all()
    assert outcome.reached.all()
    assert outcome.first_touch.tolist() == [0]


def test_what_the_strict_rule_asks_besides() -> None:
    held = outcome_of([0.2, 0.0, 0.0], contact=2 * RELEASED_CONTACT)
    moving = outcome_of([0.2, 2 * REST_DISTANCE, 0.0])
    lifted = outcome_of([0.2, 0.0, 0.0], height=1.5 * FLOOR_TOLERANCE)
    for outcome, missing in ((held, "released"), (moving, "at_rest"), (lifted, "on_floor")):
        assert outcome.reached.all()
        assert not outcome.strict.any()
        assert [n for n in ("released", "at_rest", "on_floor") if not getattr(outcome, n).all()] == [missing]


def test_height_counts_by_both_rules() -> None:
    assert not outcome_of([0.2, 0.0, 0.0], height=0.05).reached.any()


def test_only_steps_that_were_taken_count() -> None:
    outcome = outcome_of([0.2, 0.2, 0.2, 0.0, 0.0], steps=2)
    assert outcome.first_touch.tolist() == [NEVER]
    assert not outcome.reached.any()
    assert outcome.distance == pytest.approx([0.2])
