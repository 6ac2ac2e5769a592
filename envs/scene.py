"""Constants of OGBench's cube scene, in SI units, and the layout of its state vector.

Source of every figure: ``ogbench.manipspace.envs.manipspace_env`` and ``cube_env`` (ogbench 1.2.2). The planner's
normaliser is made of these constants and of nothing that is fitted on data (MATH.md, "common coordinates").
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

CONTROL_PERIOD: Final = 0.05
"""Seconds of one environment step."""

SCENE_CENTRE: Final = np.array([0.425, 0.0, 0.0])
"""Point (m) that OGBench subtracts from positions in the observation; also where the four quadrants meet."""

POSITION_SCALE: Final = 10.0
"""OGBench's observation holds ``10 * (position - SCENE_CENTRE)``."""

GRIPPER_SCALE: Final = 3.0
"""OGBench's observation holds ``3 * opening``, where opening 0 is open and 1 is closed."""

ACTION_SCALE: Final = np.array([0.05, 0.05, 0.05, 0.3, 1.0])
"""What an action of 1 asks for: 5 cm along x, y, z; 0.3 rad of yaw; the whole stroke of the gripper."""

GRIPPER_CLOSED: Final = 0.97
"""Opening, from 0 (open) to 1, at which the fingers meet."""

EFFECTOR_BOUNDS: Final = np.array([[0.25, -0.35, 0.02], [0.6, 0.35, 0.35]])
"""Box (m) that OGBench clips effector targets to."""

EFFECTOR_START_BOUNDS: Final = np.array([[0.25, -0.35, 0.20], [0.6, 0.35, 0.35]])
"""Box (m) from which OGBench draws the effector at a reset."""

CUBE_BOUNDS: Final = np.array([[0.3, -0.3], [0.55, 0.3]])
"""Rectangle (m) from which OGBench draws cube and target positions."""

CUBE_REST_HEIGHT: Final = 0.02
"""Height (m) of the centre of a cube that lies on the floor."""

SUCCESS_RADIUS: Final = 0.04
"""Distance (m) between cube and goal within which OGBench counts a success."""

STATE_SLICES: Final[dict[str, slice]] = {
    "joint_position": slice(0, 6),
    "joint_velocity": slice(6, 12),
    "effector_position": slice(12, 15),
    "effector_yaw": slice(15, 17),
    "gripper_opening": slice(17, 18),
    "gripper_contact": slice(18, 19),
    "cube_position": slice(19, 22),
    "cube_quaternion": slice(22, 26),
    "cube_yaw": slice(26, 28),
}
"""Where each quantity lies in OGBench's state vector of 28 numbers; yaws are stored as (cos, sin)."""

UNIT_TOLERANCE: Final = 1e-2
"""How far the length of a yaw's (cos, sin) may be from one."""

STATE_SIZE: Final = 28
ACTION_SIZE: Final = 5


def broken_yaw(observations: np.ndarray) -> str | None:
    """What tells that numbers are not OGBench's raw states: the yaw whose (cos, sin) no angle has; ``None`` if none."""
    for name in ("effector_yaw", "cube_yaw"):
        where = STATE_SLICES[name]
        length = np.linalg.norm(observations[..., where], axis=-1)
        if (np.abs(length - 1) > UNIT_TOLERANCE).any():
            return f"columns {where.start} and {where.stop - 1} must be the cosine and sine of {name}"
    return None


def named(observation: Float[np.ndarray, "*batch state"]) -> dict[str, np.ndarray]:
    """The quantities in OGBench's state vector by name and in SI units.

    Returns:
        ``joint_position`` (6, rad), ``joint_velocity`` (6, rad/s), ``effector_position`` (3, m, world frame),
        ``effector_yaw`` (rad), ``gripper_opening`` (0 open, 1 closed), ``gripper_contact`` (0 none, 1 from 50 N on),
        ``cube_position`` (3, m, world frame), ``cube_quaternion`` (4, w x y z), ``cube_yaw`` (rad), each after the
        batch's own dimensions.

    Raises:
        ValueError: the last dimension has not 28 numbers.
    """
    if observation.shape[-1:] != (STATE_SIZE,):
        raise ValueError(
            f"an observation of shape {observation.shape} was given; OGBench's cube-single state has {STATE_SIZE} "
            "numbers in the last dimension. Pass the environment's own state observation."
        )
    part = {name: observation[..., where] for name, where in STATE_SLICES.items()}
    for name in ("effector_position", "cube_position"):
        part[name] = part[name] / POSITION_SCALE + SCENE_CENTRE
    for name in ("effector_yaw", "cube_yaw"):
        part[name] = np.arctan2(part[name][..., 1], part[name][..., 0])
    part["gripper_opening"] = part["gripper_opening"][..., 0] / GRIPPER_SCALE
    part["gripper_contact"] = part["gripper_contact"][..., 0]
    return {name: np.array(value) for name, value in part.items()}
