"""Layouts: columns side by side, normalising is invertible, bad ones are refused."""

import json

import numpy as np
import pytest
import torch

from dcfm_planner.columns import Layout
from dcfm_planner.layout import COLUMNS, LAYOUT, TRANSITION, denormalise, normalise

ROWS = [("position", "m", (1.0, 2.0), (2.0, 4.0)), ("speed", "m/s", (0.0,), (0.5,)), ("push", "N", (3.0,), (1.0,))]


def test_columns_lie_side_by_side() -> None:
    layout = Layout.of(ROWS, goal="position", action="push")
    assert [(c.start, c.stop) for c in layout.columns.values()] == [(0, 2), (2, 3), (3, 4)]
    assert (layout.width, layout.state) == (4, 3)
    assert Layout.of(ROWS, goal="speed").state == 4
    assert layout.coordinates()["position"] == {"offset": [1.0, 2.0], "scale": [2.0, 4.0], "unit": "m"}


def test_normalising_is_invertible_and_parts_are_si() -> None:
    layout = Layout.of(ROWS, goal="position", action="push")
    values = torch.tensor([[3.0, 10.0, 1.0, 5.0]])
    assert torch.equal(layout.normalise(values), torch.tensor([[1.0, 2.0, 2.0, 2.0]]))
    assert torch.equal(layout.normalise(values[:, :3]), torch.tensor([[1.0, 2.0, 2.0]]))
    assert torch.equal(layout.denormalise(layout.normalise(values)), values)
    parts = layout.parts(layout.normalise(values))
    assert {name: part.tolist() for name, part in parts.items()} == {
        "position": [[3.0, 10.0]],
        "speed": [[1.0]],
        "push": [[5.0]],
    }


def test_the_cubes_layout() -> None:
    x = torch.randn(2, 3, TRANSITION, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(normalise(denormalise(x)), x, atol=1e-6)
    assert LAYOUT.goal == "cube_position"
    assert COLUMNS["action"].stop == TRANSITION


@pytest.mark.parametrize(
    ("rows", "goal", "action", "message"),
    [
        ([("a", "m", (0.0, 0.0), (1.0,))], "a", None, "one scale above 0 an offset"),
        ([("a", "m", (0.0,), (0.0,))], "a", None, "one scale above 0 an offset"),
        (ROWS, "place", None, "goal='place'"),
        (ROWS, "position", "speed", "the action the last"),
    ],
)
def test_bad_layouts(rows: list, goal: str, action: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layout.of(rows, goal=goal, action=action)


def test_numbers_of_numpy_are_stored_as_plain_ones() -> None:
    given = Layout.of([("position", "m", (np.float32(1), np.int64(2)), (np.float32(2), np.int64(4)))], goal="position")
    plain = Layout.of(ROWS[:1], goal="position")
    assert given == plain
    assert json.dumps(given.coordinates()) == json.dumps(plain.coordinates())


@pytest.mark.parametrize(("offset", "scale"), [(float("nan"), 1.0), (float("inf"), 1.0), (0.0, float("inf"))])
def test_numbers_that_are_not_finite(offset: float, scale: float) -> None:
    with pytest.raises(ValueError, match="column 'position': give finite numbers"):
        Layout.of([("position", "m", (offset,), (scale,))], goal="position")
