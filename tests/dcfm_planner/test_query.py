"""Observations, goals and names as people have them."""

import numpy as np
import pytest

from dcfm_planner.query import LABEL_MARGIN, NULL, batched, goal_positions, labels_at, labels_of


def test_places_ask_for_their_quadrant_and_for_none_near_a_border() -> None:
    margin = LABEL_MARGIN
    places = np.array([[0.5, 0.2, 0], [0.5, -0.2, 0], [0.3, 0.2, 0], [0.3, -0.2, 0]])
    assert labels_at(places).tolist() == [0, 1, 2, 3]
    assert labels_at(np.array([[0.425 + margin / 2, 0.2, 0], [0.5, -margin / 2, 0]])).tolist() == [NULL, NULL]


def test_names_go_before_defaults() -> None:
    default, rows = np.array([0, 1]), np.array([0, 2])
    assert labels_of(None, "source", default, rows, 3).tolist() == [0, 1]
    assert labels_of("BR", "source", default, rows, 3).tolist() == [3, 3]
    assert labels_of(["TR", "TR", None], "source", default, rows, 3).tolist() == [1, 1]
    for names in (["TR"] * 2, ["TR"] * 4):
        with pytest.raises(ValueError, match=f"{len(names)} names of source quadrants; .* one for each of 3 rows"):
            labels_of(names, "source", default, rows, 3)


def test_numbers_that_are_not_finite_are_refused() -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="a goal with numbers that are not finite"):
            goal_positions([bad, 0.0], 1)
        with pytest.raises(ValueError, match="an observation with numbers that are not finite"):
            batched(np.full(28, bad))


def test_goals_in_three_forms() -> None:
    whole = np.zeros((2, 28))
    whole[:, 19:22] = 10 * np.array([0.1, -0.2, 0.02])
    for given in (whole, whole[0], [0.525, -0.2, 0.02], [0.525, -0.2], np.array([[0.525, -0.2]] * 2)):
        np.testing.assert_allclose(goal_positions(given, 2), [[0.525, -0.2, 0.02]] * 2)
    with pytest.raises(ValueError, match=r"a goal of shape \(3, 3\) for 2 observations"):
        goal_positions(np.zeros((3, 3)), 2)


@pytest.mark.parametrize("goal", [[52.5, -20.0], [0.525, -0.2, 0.9], [0.0, 0.0], [0.4, 1.5, 0.2]])
def test_goals_in_other_units_are_refused(goal: list[float]) -> None:
    with pytest.raises(ValueError, match=r"where the arm cannot put a cube; give metres.*x 0.25 to 0.60"):
        goal_positions(goal, 2)


def test_observations_single_and_many() -> None:
    assert batched(np.zeros(28, dtype=np.float32))[0].shape == (1, 28)
    assert batched(np.zeros((3, 28)))[1] is False
    with pytest.raises(ValueError, match=r"an observation of shape \(27,\)"):
        batched(np.zeros(27))
