"""Where things are at a reset: explicit, or drawn from one generator.

Every quantity is drawn at every reset, in a fixed order, and what the caller gives takes the place of what was drawn.
So giving one quantity leaves the others as they were for the same seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from dcfm_envs.scene import CUBE_BOUNDS, CUBE_REST_HEIGHT, EFFECTOR_BOUNDS, EFFECTOR_START_BOUNDS, GRIPPER_CLOSED

OVERSHOOT: Final = 0.02
"""m by which given positions may lie outside ``EFFECTOR_BOUNDS``: the effector overshoots its targets a little."""

CUBE_SINK: Final = 0.005
"""m by which a given cube may lie below its height of rest; MuJoCo pushes it out of the floor."""

OPTIONS: Final = (
    "cube_position",
    "cube_yaw",
    "goal_position",
    "goal_yaw",
    "effector_position",
    "effector_yaw",
    "gripper_opening",
)
"""What ``reset(options=...)`` takes. Positions in m in the world frame; cube and goal as (x, y), on the floor, or
(x, y, z); yaws in rad; the opening from 0 (open, the default) to ``GRIPPER_CLOSED``."""


@dataclass(frozen=True)
class Placement:
    """Start of an episode, SI units.

    Attributes:
        goal_effector_position, goal_effector_yaw: the arm in the goal observation, where nothing asks for any.
    """

    cube_position: Float[np.ndarray, " 3"]
    cube_yaw: float
    goal_position: Float[np.ndarray, " 3"]
    goal_yaw: float
    effector_position: Float[np.ndarray, " 3"]
    effector_yaw: float
    gripper_opening: float
    goal_effector_position: Float[np.ndarray, " 3"]
    goal_effector_yaw: float


def _numbers(name: str, value: Any, sizes: tuple[int, ...]) -> Float[np.ndarray, " n"]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"option {name!r} is {value!r}; give numbers") from error
    wanted = " or ".join("one number" if n == 1 else f"{n} numbers" for n in sizes)
    if array.size not in sizes or array.ndim > 1 or not np.isfinite(array).all():
        raise ValueError(f"option {name!r} is {value!r}; give {wanted}, finite")
    return array.reshape(-1)


def _within(
    name: str, value: Float[np.ndarray, " n"], low: Float[np.ndarray, " n"], high: Float[np.ndarray, " n"]
) -> None:
    if (value < low).any() or (value > high).any():
        box = ", ".join(f"{a:.3f} to {b:.3f}" for a, b in zip(low, high, strict=True))
        raise ValueError(f"option {name!r} is {np.round(value, 4).tolist()}; it must lie within {box} (m)")


def check_options(options: Mapping[str, Any] | None) -> dict[str, Float[np.ndarray, " n"]]:
    """The options of a reset as arrays, checked; positions of cube and goal always (x, y, z).

    Raises:
        ValueError: an unknown option, not the right count of finite numbers, or a position out of the arm's reach.
    """
    given: dict[str, Any] = dict(options or {})
    if unknown := [name for name in given if name not in OPTIONS]:
        raise ValueError(f"unknown reset options {', '.join(map(repr, unknown))}; there are {', '.join(OPTIONS)}")
    low, high = EFFECTOR_BOUNDS[0] - OVERSHOOT, EFFECTOR_BOUNDS[1] + OVERSHOOT
    low_cube = np.array([low[0], low[1], CUBE_REST_HEIGHT - CUBE_SINK])
    checked = {}
    for name, value in given.items():
        if name in ("cube_position", "goal_position"):
            array = _numbers(name, value, (2, 3))
            array = np.append(array, CUBE_REST_HEIGHT) if array.size == 2 else array
            _within(name, array, low_cube, high)
        elif name == "effector_position":
            array = _numbers(name, value, (3,))
            _within(name, array, low, high)
        else:
            array = _numbers(name, value, (1,))
            if name == "gripper_opening" and not 0 <= float(array[0]) <= GRIPPER_CLOSED:
                raise ValueError(
                    f"option 'gripper_opening' is {value!r}; it must lie within 0 (open) to {GRIPPER_CLOSED} (closed)"
                )
        checked[name] = array
    return checked


def place(options: dict[str, Float[np.ndarray, " n"]], generator: np.random.Generator) -> Placement:
    """Draw a placement as OGBench does and put in what ``options`` (of :func:`check_options`) give."""
    drawn: dict[str, Any] = {
        "effector_position": generator.uniform(*EFFECTOR_START_BOUNDS),
        "effector_yaw": generator.uniform(-np.pi, np.pi),
        "cube_position": np.append(generator.uniform(*CUBE_BOUNDS), CUBE_REST_HEIGHT),
        "cube_yaw": generator.uniform(0, 2 * np.pi),
        "goal_position": np.append(generator.uniform(*CUBE_BOUNDS), CUBE_REST_HEIGHT),
        "goal_yaw": generator.uniform(0, 2 * np.pi),
        "goal_effector_position": generator.uniform(*EFFECTOR_START_BOUNDS),
        "goal_effector_yaw": generator.uniform(-np.pi, np.pi),
        "gripper_opening": 0.0,
    }
    for name, value in options.items():
        drawn[name] = value.copy() if name.endswith("position") else float(value[0])
    return Placement(**drawn)
