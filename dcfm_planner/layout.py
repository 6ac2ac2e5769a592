"""What a plan is made of: the named columns of a transition, their units, and the scene constants that normalise them.

A plan is ``horizon x [state, action]`` (Diffuser, Janner et al. 2022). The state keeps of OGBench's 28 numbers what
execution needs. Both yaws are kept up to the four-fold symmetry of a cube, as ``(cos 4 yaw, sin 4 yaw)``: a grasp
aligned with the cube then has *equal* effector and cube columns, whichever face the fingers chose, and no angle wraps.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

from dcfm_envs.scene import GRIPPER_SCALE, POSITION_SCALE, SCENE_CENTRE, STATE_SIZE, STATE_SLICES
from dcfm_planner.columns import Column, Layout

YAW_SYMMETRY: Final = 4
"""A cube looks the same after a quarter turn."""


def _layout() -> Layout:
    centre = tuple(float(c) for c in SCENE_CENTRE)
    # Scales: half the box that OGBench draws cubes and effectors from, so that normalised values are of order one.
    rows = [
        ("effector_position", "m", (centre[0], 0.0, 0.1), (0.1, 0.2, 0.1)),
        ("effector_yaw", "cos and sin of 4 yaw", (0.0, 0.0), (1.0, 1.0)),
        ("gripper_opening", "0 open, 1 closed", (0.3,), (0.3,)),
        ("gripper_contact", "0 none, 1 from 50 N on", (0.3,), (0.4,)),
        ("cube_position", "m", (centre[0], 0.0, 0.1), (0.1, 0.2, 0.1)),
        ("cube_yaw", "cos and sin of 4 yaw", (0.0, 0.0), (1.0, 1.0)),
        ("action", "OGBench action in [-1, 1]", (0.0,) * 5, (1.0, 1.0, 1.0, 1.0, 0.7)),
    ]
    return Layout.of(rows, goal="cube_position", action="action")


LAYOUT: Final = _layout()
COLUMNS: Final[dict[str, Column]] = LAYOUT.columns
TRANSITION: Final = LAYOUT.width
STATE_COLUMNS: Final = LAYOUT.state
"""Columns ``[:STATE_COLUMNS]`` are the state, the rest the action."""

normalise = LAYOUT.normalise
denormalise = LAYOUT.denormalise


def symmetric_yaw(cos_sin: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
    """``(cos yaw, sin yaw)`` to ``(cos 4 yaw, sin 4 yaw)``."""
    yaw = YAW_SYMMETRY * np.arctan2(cos_sin[..., 1], cos_sin[..., 0])
    return np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)


def yaw_of(cos_sin: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch"]:
    """The yaw (rad) in ``[-pi/4, pi/4]`` of ``(cos 4 yaw, sin 4 yaw)``, which need not have length one."""
    return np.asarray(np.arctan2(cos_sin[..., 1], cos_sin[..., 0]) / YAW_SYMMETRY)


def state_features(observation: Float[np.ndarray, "*batch 28"]) -> Float[np.ndarray, "*batch 12"]:
    """The state columns, in SI units, of OGBench's state vector."""
    if observation.shape[-1] != STATE_SIZE:
        raise ValueError(
            f"an observation has {observation.shape[-1]} numbers; OGBench's cube-single state has {STATE_SIZE}. "
            "Pass the environment's own state observation (ob_type='states')."
        )
    part = {name: observation[..., where] for name, where in STATE_SLICES.items()}
    return np.concatenate(
        [
            part["effector_position"] / POSITION_SCALE + SCENE_CENTRE,
            symmetric_yaw(part["effector_yaw"]),
            part["gripper_opening"] / GRIPPER_SCALE,
            part["gripper_contact"],
            part["cube_position"] / POSITION_SCALE + SCENE_CENTRE,
            symmetric_yaw(part["cube_yaw"]),
        ],
        axis=-1,
    )
