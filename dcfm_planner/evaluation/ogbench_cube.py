"""OGBench's ``cube-single-v0`` with all that it draws decided by ``reset(seed=...)``.

Importing this module imports mujoco.
"""

from typing import Any

from gymnasium.spaces import Box
from ogbench.manipspace.envs.cube_env import CubeEnv

from dcfm_envs.scene import ACTION_SIZE


class SeededCube(CubeEnv):
    """OGBench's environment as it is, but for one thing: its ``action_space`` is made anew whenever it is asked for, so
    that the two random actions that a reset takes at the goal come from nowhere; here one space, which ``reset`` seeds,
    gives them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._one_space = Box(-1.0, 1.0, (ACTION_SIZE,))
        super().__init__(*args, **kwargs)

    @property
    def action_space(self) -> Box:
        return self._one_space

    def reset(self, *args: Any, seed: int | None = None, **kwargs: Any) -> Any:
        if seed is not None:
            self._one_space.seed(seed)
        return super().reset(*args, seed=seed, **kwargs)
