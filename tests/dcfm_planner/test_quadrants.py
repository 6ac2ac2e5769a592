"""Quadrants: where they lie, which pairs are known, and the coverage that the paper states for them."""

from fractions import Fraction

import numpy as np
import pytest

from dcfm_envs.scene import SCENE_CENTRE
from dcfm_planner.quadrants import (
    KNOWN_PAIRS,
    NOVEL_PAIRS,
    QUADRANTS,
    SPACE,
    border_distance,
    pair_labels,
    quadrant_index,
    quadrant_of,
)

CORNERS = {"TL": (0.5, 0.2), "TR": (0.5, -0.2), "BL": (0.35, 0.2), "BR": (0.35, -0.2)}


def test_top_is_far_and_left_is_positive_y() -> None:
    for name, corner in CORNERS.items():
        assert QUADRANTS[int(quadrant_of(np.array([*corner, 0.02])))] == name
    np.testing.assert_array_equal(quadrant_of(np.array(list(CORNERS.values()))), range(4))


def test_a_point_on_a_border_lies_on_the_side_of_the_higher_coordinate() -> None:
    x, y = SCENE_CENTRE[:2]
    points = np.array([[x, y, 0.02], [x, y - 0.1, 0.02], [x - 0.1, y, 0.02]])
    assert [QUADRANTS[label] for label in quadrant_of(points)] == ["TL", "TR", "BL"]


def test_signs_of_the_observation_s_entries_are_the_quadrant() -> None:
    """Entries 19 and 20 of the state vector are 10 (x - 0.425) and 10 y."""
    rng = np.random.default_rng(0)
    entries = rng.uniform(-1, 1, (50, 3))
    labels = quadrant_of(entries / 10 + SCENE_CENTRE)
    np.testing.assert_array_equal(labels, 2 * (entries[:, 0] < 0) + (entries[:, 1] < 0))


def test_pairs_split_the_space() -> None:
    assert len(NOVEL_PAIRS) == 4
    assert len(KNOWN_PAIRS) == 12
    assert not set(NOVEL_PAIRS) & set(KNOWN_PAIRS)
    assert {tuple(row) for row in pair_labels(KNOWN_PAIRS + NOVEL_PAIRS)} == {
        tuple(row.tolist()) for row in SPACE.combinations()
    }
    assert Fraction(len(KNOWN_PAIRS), len(SPACE.combinations())) == Fraction(3, 4)


def test_novel_pairs_are_the_diagonals() -> None:
    for source, target in NOVEL_PAIRS:
        (x0, y0), (x1, y1) = CORNERS[source], CORNERS[target]
        assert x0 != x1
        assert y0 != y1
    for source, target in KNOWN_PAIRS:
        (x0, y0), (x1, y1) = CORNERS[source], CORNERS[target]
        assert x0 == x1 or y0 == y1


def test_border_distance() -> None:
    points = np.array([[0.425, 0.1, 0.02], [0.445, 0.1, 0.02], [0.5, -0.01, 0.3], [0.405, -0.3, 0.0]])
    np.testing.assert_allclose(border_distance(points), [0, 0.02, 0.01, 0.02], atol=1e-12)
    assert float(border_distance(points[1])) == pytest.approx(0.02)


def test_an_unknown_quadrant_is_named_and_so_are_the_known() -> None:
    assert [quadrant_index(name) for name in QUADRANTS] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"'top'.*TL, TR, BL, BR"):
        quadrant_index("top")
    with pytest.raises(ValueError, match="'XX'"):
        pair_labels((("TL", "XX"),))
