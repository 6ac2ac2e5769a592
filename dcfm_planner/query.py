"""What is asked of a planner, in the forms that people have it: observations, goals, and quadrants by name.

By default a position asks for the quadrant that it lies in, and for none within ``LABEL_MARGIN`` of a border.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from dcfm_envs.placement import CUBE_SINK, OVERSHOOT
from dcfm_envs.scene import CUBE_REST_HEIGHT, EFFECTOR_BOUNDS, STATE_SIZE, STATE_SLICES, broken_yaw
from dcfm_planner.feasibility import FLOOR_TOLERANCE
from dcfm_planner.layout import COLUMNS, state_features
from dcfm_planner.quadrants import QUADRANTS, border_distance, quadrant_index, quadrant_of

LABEL_MARGIN: Final = 0.02
"""m from a border of quadrants within which a position gets no label: training leaves such segments out."""

REACH_SLACK: Final = OVERSHOOT + 0.001
"""m by which a goal may lie outside the box that the effector moves in: what the environment's reset takes, and what
rounding adds. A cube cannot be put farther out, and the agent would try without end."""

NULL: Final = len(QUADRANTS)
"""The label that asks for no quadrant."""

Observation = Float[np.ndarray, "28"] | Float[np.ndarray, "batch 28"]
Quadrant = str | Sequence[str | None] | None

_CUBE: Final = COLUMNS["cube_position"].slice


def batched(observation: np.ndarray) -> tuple[Float[np.ndarray, "batch 28"], bool]:
    """Observations as a batch, and whether it was a single one.

    Raises:
        ValueError: neither 28 numbers nor a batch of them, numbers that are not finite, or scaled ones.
    """
    values = np.asarray(observation)
    if values.ndim not in (1, 2) or values.shape[-1] != STATE_SIZE:
        raise ValueError(
            f"an observation of shape {values.shape}; give OGBench's state vector, {STATE_SIZE} numbers, or a batch"
        )
    _check_finite("an observation", values)
    _check_raw("an observation", values)
    return np.atleast_2d(values).astype(np.float64), values.ndim == 1


def goal_positions(goal: Any, batch: int, rows: Int[np.ndarray, " rows"] | None = None) -> Float[np.ndarray, "rows 3"]:
    """Where cubes should go (m); a place on the floor, such as (x, y, 0), is that of a cube at rest there.

    Args:
        goal: an OGBench goal observation (28 numbers) or a cube position (x, y or x, y, z; m), one for all or one each.
        batch: number of rows.
        rows: which of the batch are asked about, all if not given; vector environments fill the others with zeros.

    Raises:
        ValueError: another shape, numbers that are not finite, a goal observation that is scaled, or a place where the
            arm cannot put a cube: out of reach or in the air.
    """
    values = np.asarray(goal, dtype=np.float64)
    if (
        values.ndim not in (1, 2)
        or values.shape[-1] not in (2, 3, STATE_SIZE)
        or values.shape[:-1] not in ((), (batch,))
    ):
        raise ValueError(
            f"a goal of shape {values.shape} for {batch} observations; give a goal observation ({STATE_SIZE} numbers) "
            "or a cube position (2 or 3 numbers, m), one for all or one a row"
        )
    values = np.broadcast_to(values, (batch, values.shape[-1]))
    values = values if rows is None else values[rows]
    _check_finite("a goal", values)
    if values.shape[-1] == STATE_SIZE:
        _check_raw("a goal", values)
        positions = state_features(values)[:, _CUBE]
    elif values.shape[-1] == 2:
        positions = np.column_stack([values, np.full(len(values), CUBE_REST_HEIGHT)])
    else:
        positions = values.copy()
    _check_within_reach(positions)
    # Heights as the environment's resets give them stay to the bit; farther off, the cube would be held in the floor.
    off = np.abs(positions[:, 2] - CUBE_REST_HEIGHT) > CUBE_SINK
    positions[off, 2] = CUBE_REST_HEIGHT
    return positions


def _check_within_reach(positions: Float[np.ndarray, "batch 3"]) -> None:
    bounds = EFFECTOR_BOUNDS[:, :2]
    low, high = bounds[0] - REACH_SLACK, bounds[1] + REACH_SLACK
    floor, top = -REACH_SLACK, CUBE_REST_HEIGHT + FLOOR_TOLERANCE
    far = ((positions[:, :2] < low) | (positions[:, :2] > high)).any(axis=1)
    far |= (positions[:, 2] < floor) | (positions[:, 2] > top)
    if far.any():
        box = ", ".join(f"{name} {a:.2f} to {b:.2f}" for name, a, b in zip("xy", *bounds, strict=True))
        raise ValueError(
            f"a goal at {np.round(positions[far][0], 3).tolist()} m, where the arm cannot put a cube; give metres in "
            f"the world frame, within about {box}, z {CUBE_REST_HEIGHT} (on the floor) or none, or a whole goal "
            f"observation ({STATE_SIZE} numbers)"
        )


def at_reset(observations: Float[np.ndarray, "batch 28"]) -> Bool[np.ndarray, " batch"]:
    """Which observations are the first of an episode: the arm's joint velocities are exactly zero there, and after no
    simulated step."""
    return (observations[:, STATE_SLICES["joint_velocity"]] == 0).all(axis=1)


def _check_finite(what: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError(
            f"{what} with numbers that are not finite: {values[~np.isfinite(values)][:3]}; give finite ones"
        )


def _check_raw(what: str, values: np.ndarray) -> None:
    if (broken := broken_yaw(values)) is not None:
        raise ValueError(
            f"{what} that is not OGBench's raw state ({broken}); give the numbers from below wrappers that scale them"
        )


def cube_positions(observations: Float[np.ndarray, "batch 28"]) -> Float[np.ndarray, "batch 3"]:
    """Where cubes are (m)."""
    return state_features(observations)[:, _CUBE]


def labels_at(positions: Float[np.ndarray, "batch 3"]) -> Int[np.ndarray, " batch"]:
    """The quadrant that each position (m) asks for, ``NULL`` near a border."""
    return np.where(border_distance(positions) < LABEL_MARGIN, NULL, quadrant_of(positions))


def check_names(given: Any, name: str) -> None:
    """Raise ``ValueError`` unless ``given`` is a quadrant's name, a list of them, or ``None``; ``name``: what it is."""
    several = isinstance(given, Sequence) or (isinstance(given, np.ndarray) and given.ndim == 1)
    if given is not None and not several:  # a string is a sequence
        raise ValueError(
            f"{name}={given!r}: give the name of a quadrant ({', '.join(QUADRANTS)}), or a list of one for each row"
        )


def labels_of(
    given: Quadrant, name: str, default: Int[np.ndarray, " rows"], rows: Int[np.ndarray, " rows"], batch: int
) -> Int[np.ndarray, " rows"]:
    """Labels of the quadrants given for the rows of a batch.

    Args:
        given: one name for all, one a row of the batch (``None`` for the default), or ``None``.
        name: what they are, for errors.
        default: of each of ``rows``.
        rows: which of the batch are asked about.
        batch: its size.

    Raises:
        ValueError: no name, an unknown one, or too few or too many of them.
    """
    check_names(given, name)
    if given is None:
        return default
    if isinstance(given, str):
        return np.full(len(rows), quadrant_index(given))
    if len(given) != batch:
        raise ValueError(f"{len(given)} names of {name} quadrants; give one for all, or one for each of {batch} rows")
    asked = [given[row] for row in rows]
    return np.array(
        [d if q is None else quadrant_index(q) for q, d in zip(asked, default, strict=True)], dtype=np.int64
    )
