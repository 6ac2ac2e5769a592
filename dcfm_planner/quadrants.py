"""The planner's two attributes: the quadrant in which the cube starts and the one in which it ends.

Seen from the robot's base along +x: top is far (x > 0.425 m), left is y > 0.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float, Int

from dcfm.attributes import AttributeSpace
from dcfm_envs.scene import SCENE_CENTRE

QUADRANTS: Final = ("TL", "TR", "BL", "BR")
SPACE: Final = AttributeSpace(names=("source", "target"), values=(QUADRANTS, QUADRANTS))

_OPPOSITE: Final = {"TL": "BR", "BR": "TL", "TR": "BL", "BL": "TR"}

NOVEL_PAIRS: Final = tuple((source, _OPPOSITE[source]) for source in QUADRANTS)
"""The four diagonal moves: no silo holds one of them."""

KNOWN_PAIRS: Final = tuple((s, t) for s in QUADRANTS for t in QUADRANTS if _OPPOSITE[s] != t)
"""The twelve others: C = 12/16 = 3/4."""


def quadrant_index(name: str) -> int:
    """The label of a quadrant's name.

    Raises:
        ValueError: the name is not one of ``QUADRANTS``.
    """
    if name not in QUADRANTS:
        raise ValueError(f"unknown quadrant {name!r}; the quadrants are {', '.join(QUADRANTS)}")
    return QUADRANTS.index(name)


def pair_labels(pairs: tuple[tuple[str, str], ...]) -> Int[np.ndarray, "n 2"]:
    """The labels of pairs of names."""
    return np.array([[quadrant_index(s), quadrant_index(t)] for s, t in pairs], dtype=np.int64)


def quadrant_of(position: Float[np.ndarray, "*batch xyz"]) -> Int[np.ndarray, "*batch"]:
    """The label of the quadrant in which positions (m; x and y first) lie. A point on a border counts as the higher
    coordinate's side."""
    offset = position[..., :2] - SCENE_CENTRE[:2]
    bottom, right = offset[..., 0] < 0, offset[..., 1] < 0
    return np.asarray(2 * bottom + right, dtype=np.int64)


def border_distance(position: Float[np.ndarray, "*batch xyz"]) -> Float[np.ndarray, "*batch"]:
    """Distance (m) from the nearer of the two borders between quadrants."""
    return np.asarray(np.abs(position[..., :2] - SCENE_CENTRE[:2]).min(axis=-1))
