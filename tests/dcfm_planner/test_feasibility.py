"""Each check of a plan fails for its own reason, says why in metres, and leaves the others alone."""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_planner.feasibility import EFFECTOR_SLACK, FLOOR_TOLERANCE, Feasibility, check
from dcfm_planner.layout import COLUMNS
from dcfm_planner.plan import Plan
from dcfm_planner.quadrants import quadrant_index

CUBE, EFFECTOR = COLUMNS["cube_position"].start, COLUMNS["effector_position"].start
LABELS = np.array([[quadrant_index("TL"), quadrant_index("BR")]])


@pytest.fixture
def move(still: Tensor) -> Tensor:
    """From TL to BR in five steps, over the middle."""
    steps = still.repeat(5, 1)
    steps[:, CUBE] = torch.linspace(0.5, 0.35, 5)
    steps[:, CUBE + 1] = torch.linspace(0.2, -0.2, 5)
    steps[1:-1, CUBE + 2] = 0.1
    return steps


def verdict(plan: Plan, labels: np.ndarray | None = LABELS) -> Feasibility:
    (found,) = check(plan, labels)
    return found


def failed(found: Feasibility) -> set[str]:
    return {f.name for f in fields(found) if f.name != "reasons" and not getattr(found, f.name)}


def test_a_good_plan_has_no_reasons_against_it(move: Tensor, plan_of: Callable[[Tensor], Plan]) -> None:
    found = verdict(plan_of(move[None]))
    assert found
    assert failed(found) == set()
    assert found.reasons == ()


@pytest.mark.parametrize(
    ("step", "column", "value", "check_name", "words"),
    [
        (0, CUBE + 2, 0.02 + 2 * FLOOR_TOLERANCE, "on_floor", "start is 0.040 m high"),
        (-1, CUBE + 2, 0.02 - 2 * FLOOR_TOLERANCE, "on_floor", "goal is 0.000 m high"),
        (0, CUBE + 1, -0.2, "source", "starts in TR; TL was asked for"),
        (-1, CUBE, 0.5, "target", "ends in TR; BR was asked for"),
        (-1, CUBE + 1, -0.36, "workspace", "goal (0.350, -0.360) m lies outside the workspace"),
        (0, CUBE, 0.62, "workspace", "start (0.620, 0.200) m lies outside the workspace"),
        (0, EFFECTOR + 2, 0.36 + EFFECTOR_SLACK, "effector", "the effector starts 0.030 m outside"),
    ],
)
def test_each_check_fails_alone_and_says_why(
    move: Tensor, plan_of: Callable[[Tensor], Plan], step: int, column: int, value: float, check_name: str, words: str
) -> None:
    move[step, column] = value
    found = verdict(plan_of(move[None]))
    assert not found
    assert failed(found) == {check_name}
    assert len(found.reasons) == 1
    assert words in found.reasons[0]


@pytest.mark.parametrize(
    ("step", "column", "value", "good"),
    [
        (0, CUBE + 2, 0.0295, True),
        (0, CUBE + 2, 0.0305, False),
        (-1, CUBE + 2, 0.0105, True),
        (0, CUBE, 0.599, True),
        (0, CUBE, 0.601, False),
        (0, EFFECTOR + 2, 0.369, True),  # it overshoots its targets by as much as 2 cm
        (0, EFFECTOR + 2, 0.371, False),
        (-1, EFFECTOR + 2, 0.5, True),
    ],
)
def test_where_checks_begin(
    move: Tensor, plan_of: Callable[[Tensor], Plan], step: int, column: int, value: float, good: bool
) -> None:
    move[step, column] = value
    found = verdict(plan_of(move[None]))
    assert bool(found) == good
    assert (failed(found) == set()) == good


def test_what_happens_in_between_is_not_judged(move: Tensor, plan_of: Callable[[Tensor], Plan]) -> None:
    move[2, CUBE + 2], move[2, EFFECTOR + 2] = 0.5, 0.6
    assert verdict(plan_of(move[None]))


@pytest.mark.parametrize(("row", "column", "what"), [(0, EFFECTOR, "effector"), (-1, CUBE, "workspace")])
def test_a_place_that_is_no_number_is_not_feasible(
    move: Tensor, plan_of: Callable[[Tensor], Plan], row: int, column: int, what: str
) -> None:
    move[row, column] = float("nan")
    found = verdict(plan_of(move[None]))
    assert not found
    assert what in failed(found)


def test_no_labels_ask_for_no_quadrant(move: Tensor, plan_of: Callable[[Tensor], Plan]) -> None:
    plan = plan_of(move[None])
    assert verdict(plan, None)
    assert verdict(plan, np.array([[4, 3]]))
    assert failed(verdict(plan, np.array([[1, 4]]))) == {"source"}


def test_a_batch_is_judged_row_by_row(move: Tensor, plan_of: Callable[[Tensor], Plan]) -> None:
    other = move.clone()
    other[0, CUBE + 2] = 0.2
    assert [bool(found) for found in check(plan_of(torch.stack([move, other, move])), np.repeat(LABELS, 3, 0))] == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("labels", [[[0, 7]], [[9, 1]], [[-1, 0]]])
def test_labels_that_there_are_not_ask_for_nothing(
    move: Tensor, plan_of: Callable[[Tensor], Plan], labels: list[list[int]]
) -> None:
    with pytest.raises(ValueError, match=r"labels \[(7|9|-1)\]: give 0 to 3 for TL, TR, BL, BR, or 4 for none"):
        check(plan_of(move[None]), np.array(labels))


def test_labels_must_fit(move: Tensor, plan_of: Callable[[Tensor], Plan]) -> None:
    with pytest.raises(ValueError, match=r"labels of shape \(2, 2\) for 1 plans"):
        check(plan_of(move[None]), np.repeat(LABELS, 2, 0))
