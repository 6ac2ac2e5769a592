"""The environment's Gymnasium id, and how it is made: ``gymnasium.make("dcfm/CubeSingle-v0")``."""

from __future__ import annotations

from typing import Any, Final

import gymnasium

from dcfm_envs.rendering import prepare_rendering
from dcfm_envs.scene import CONTROL_PERIOD

CUBE_SINGLE: Final = "dcfm/CubeSingle-v0"

MAX_EPISODE_STEPS: Final = 200
"""OGBench's limit for one cube."""

METADATA: Final[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_PERIOD)}
"""Of the environment, as Gymnasium reads it."""


def make_cube_single(*, render_mode: str | None = None, **arguments: Any) -> gymnasium.Env:
    """Make the environment; a working GL is looked for before mujoco is imported, and only when pictures are asked for.

    Args:
        render_mode: None or ``"rgb_array"``.
        **arguments: further ones of :class:`dcfm_envs.cube_single.CubeSingle`.

    Raises:
        RenderingError: pictures are asked for and cannot be drawn here.
    """
    if render_mode is not None:
        prepare_rendering()
    from dcfm_envs.cube_single import CubeSingle

    return CubeSingle(render_mode=render_mode, **arguments)


make_cube_single.metadata = METADATA  # type: ignore[attr-defined] # from which Gymnasium learns what it can wrap


def register_environments() -> None:
    """Register ``dcfm/CubeSingle-v0`` with Gymnasium; more than once does no harm."""
    if CUBE_SINGLE not in gymnasium.registry:
        gymnasium.register(
            CUBE_SINGLE, entry_point="dcfm_envs.registration:make_cube_single", max_episode_steps=MAX_EPISODE_STEPS
        )
