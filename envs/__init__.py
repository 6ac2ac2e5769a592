"""OGBench's cube scene made convenient: ``dcfm/CubeSingle-v0``, its play data, and pictures without a screen.

Importing this package registers the environment with Gymnasium and does not import mujoco.
"""

from dcfm_envs.registration import CUBE_SINGLE, register_environments

__all__ = ["CUBE_SINGLE"]

register_environments()
