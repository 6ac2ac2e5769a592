"""``dcfm/CubeSingle-v0``: one cube, one goal, OGBench's scene, arm and success rule.

What OGBench's own ``cube-single-v0`` leaves open is closed here. Cube, goal and arm are placed exactly as given; what
is not given is drawn from ``reset(seed=...)`` alone, the goal observation included; quantities have names and units;
``render_mode`` is honoured; Gymnasium's ``check_env`` passes. Physics, control, observation and reward are OGBench's,
step for step; only what nobody reads is not computed again and again.
"""

# mujoco's own functions come from a compiled module without type information.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle
from jaxtyping import Float, UInt8
from ogbench.manipspace import lie
from ogbench.manipspace.envs.cube_env import CubeEnv

from dcfm_envs.placement import Placement, check_options, place
from dcfm_envs.registration import METADATA
from dcfm_envs.rendering import prepare_rendering
from dcfm_envs.scene import (
    ACTION_SIZE,
    GRIPPER_CLOSED,
    GRIPPER_SCALE,
    POSITION_SCALE,
    SCENE_CENTRE,
    STATE_SIZE,
    STATE_SLICES,
    SUCCESS_RADIUS,
    named,
)

_CUBE: Final = "object_joint_0"
_REACH_TOLERANCE: Final = 1e-4
"""m by which inverse kinematics may miss a given effector pose."""

_UNIT_TOLERANCE: Final = 1e-3
"""By which a given quaternion's length may miss 1; single precision misses it by 1e-7."""

_SETTLE_STEPS: Final = 600
"""Physics steps (1.2 s) in which the fingers come to rest."""

_BOUNDS: Final = {
    "joint_position": 2.1 * np.pi,
    "joint_velocity": 1e3,
    "effector_position": 1e3,
    "effector_yaw": 1.0,
    "gripper_opening": GRIPPER_SCALE,
    "gripper_contact": 1.0,
    "cube_position": 1e3,
    "cube_quaternion": 1.001,
    "cube_yaw": 1.0,
}
"""Largest magnitude of each quantity, in OGBench's units: finite and never met by a working simulation."""


def _observation_space() -> Box:
    high = np.zeros(STATE_SIZE)
    for name, bound in _BOUNDS.items():
        high[STATE_SLICES[name]] = bound
    low = -high
    for name in ("gripper_opening", "gripper_contact"):
        low[STATE_SLICES[name]] = 0.0
    return Box(low, high, dtype=np.float64)


class CubeSingle(CubeEnv, EzPickle):
    """One pick-and-place with OGBench's UR5e, as a Gymnasium environment.

    *Observation*: OGBench's state vector, 28 numbers (``dcfm_envs.scene.STATE_SLICES``; ``named`` gives SI units).
    *Action*: 5 numbers in [-1, 1], the effector's relative motion (x, y, z, yaw) and the gripper's; clipped.
    *Reward*: 1 in steps after which the cube's centre is within 0.04 m of the goal, else 0.
    *Info*: ``success``, ``goal`` (the state vector with the cube at the goal), ``goal_position`` (m), and OGBench's
    ``proprio/...`` and ``privileged/...`` entries, those that its oracle reads among them.

    A pickled or copied environment is one of the same settings that waits for ``reset``; states pass by ``set_state``.

    Args:
        render_mode: None, or ``"rgb_array"``.
        terminate_at_goal: end the episode in the first step with success.
        width, height: of pictures, pixels.

    Raises:
        ValueError: an unknown render mode.
        RenderingError: pictures are asked for and cannot be drawn here.
    """

    metadata: ClassVar[dict[str, Any]] = METADATA

    def __init__(
        self,
        *,
        render_mode: str | None = None,
        terminate_at_goal: bool = False,
        width: int = 256,
        height: int = 256,
    ) -> None:
        modes = self.metadata["render_modes"]
        if render_mode is not None and render_mode not in modes:
            raise ValueError(f"render_mode {render_mode!r} is not offered; it is None or one of {', '.join(modes)}")
        if render_mode is not None:
            prepare_rendering()
        given: dict[str, Any] = {"terminate_at_goal": terminate_at_goal, "width": width, "height": height}
        EzPickle.__init__(self, render_mode=render_mode, **given)
        CubeEnv.__init__(self, env_type="single", **given)
        self.render_mode = render_mode
        self._observation_space = _observation_space()
        self._action_space = Box(-1.0, 1.0, (ACTION_SIZE,), dtype=np.float32)
        self._options: dict[str, Float[np.ndarray, " n"]] = {}
        self._placement: Placement | None = None
        self._goal_observation = np.zeros(STATE_SIZE)
        self._finger_poses: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def observation_space(self) -> Box:
        return self._observation_space

    @property
    def action_space(self) -> Box:
        return self._action_space

    @property
    def placement(self) -> Placement:
        """Where everything was put at the last reset.

        Raises:
            ValueError: there was no reset yet.
        """
        if self._placement is None:
            raise ValueError("nothing is placed before the first reset: call reset()")
        return self._placement

    @staticmethod
    def named(observation: Float[np.ndarray, "*batch state"]) -> dict[str, np.ndarray]:
        """The quantities of an observation by name and in SI units: :func:`dcfm_envs.scene.named`."""
        return named(observation)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, " 28"], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of everything that is drawn.
            options: any of ``dcfm_envs.placement.OPTIONS``, taken exactly as given; the rest is drawn as OGBench
                draws its play data.

        Raises:
            ValueError: an unknown option, a malformed value, or a pose that the arm cannot reach.
        """
        self._options = check_options(options)
        return super().reset(seed=seed, options={"task_info": None})

    def initialize_episode(self) -> None:
        """Place goal, cube and arm; the goal observation is taken on the way."""
        self._placement = p = place(self._options, self.np_random)
        for geom in self._cube_target_geom_ids_list[0]:
            self.model.geom(geom).rgba[:3] = self._cube_colors[0, :3]
        self._pose_arm(p.goal_effector_position, p.goal_effector_yaw, 0.0)
        self._pose_cube(p.goal_position, p.goal_yaw)
        self.data.mocap_pos[self._cube_target_mocap_ids[0]] = p.goal_position
        self.data.mocap_quat[self._cube_target_mocap_ids[0]] = lie.SO3.from_z_radians(p.goal_yaw).wxyz
        mujoco.mj_forward(self.model, self.data)
        self.pre_step()
        self._goal_observation = self.compute_observation()
        self._pose_arm(p.effector_position, p.effector_yaw, p.gripper_opening)
        self._pose_cube(p.cube_position, p.cube_yaw)
        self.data.qacc_warmstart[:] = 0
        mujoco.mj_forward(self.model, self.data)
        self.pre_step()
        self.post_step()

    def _pose_cube(self, position: Float[np.ndarray, " 3"], yaw: float) -> None:
        joint = self.data.joint(_CUBE)
        joint.qpos[:3] = position
        joint.qpos[3:] = lie.SO3.from_z_radians(yaw).wxyz

    def _pose_arm(self, position: Float[np.ndarray, " 3"], yaw: float, opening: float) -> None:
        """Solve for the joints that bring the pinch point to a pose, pointing down, and set them."""
        orientation = lie.SO3.from_z_radians(yaw) @ self._effector_down_rotation
        attachment = lie.SE3.from_rotation_and_translation(orientation, position) @ self._T_pa
        self.data.qpos[self._arm_joint_ids] = self._ik.solve(
            pos=attachment.translation(),
            quat=attachment.rotation().wxyz,
            curr_qpos=self._home_qpos,
            max_iters=100,
            pos_thresh=1e-7,
            ori_thresh=1e-7,
        )
        self.data.qpos[self._finger_addresses()] = self._fingers(opening)
        mujoco.mj_kinematics(self.model, self.data)
        miss = float(np.linalg.norm(self.data.site_xpos[self._pinch_site_id] - position))
        if not miss < _REACH_TOLERANCE:
            raise ValueError(
                f"the arm cannot reach effector_position {np.round(position, 4).tolist()} with effector_yaw "
                f"{yaw:.3f}: inverse kinematics ends {miss:.4f} m away; choose a point nearer to the workspace"
            )

    def _finger_addresses(self) -> list[int]:
        return [int(self.model.joint(joint.full_identifier).qposadr[0]) for joint in self._gripper_jnts]

    def _fingers(self, opening: float) -> Float[np.ndarray, " 8"]:
        """Joint positions of the fingers' linkage at an opening, interpolated between poses settled in simulation."""
        addresses = self._finger_addresses()
        if opening == 0:
            return np.zeros(len(addresses))  # where OGBench starts
        if self._finger_poses is None:
            data = mujoco.MjData(self.model)
            poses = [np.zeros(len(addresses))]
            data.qpos[self._arm_joint_ids] = self._home_qpos
            for target in np.linspace(0.05, 1.0, 20):
                data.ctrl[self._arm_actuator_ids] = self._home_qpos
                data.ctrl[self._gripper_actuator_ids] = 255 * target
                mujoco.mj_step(self.model, data, nstep=_SETTLE_STEPS)
                poses.append(data.qpos[addresses].copy())
            driver = addresses.index(int(self.model.jnt_qposadr[self._gripper_opening_joint_id]))
            self._finger_poses = np.array(poses)[:, driver] / 0.8, np.array(poses)
        openings, table = self._finger_poses
        return np.array([np.interp(min(opening, GRIPPER_CLOSED), openings, column) for column in table.T])

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray) -> Float[np.ndarray, " 28"]:
        """Put the simulation into a state (as stored in play data) and return its observation; the goal stays.

        Positions and velocities do not say how hard the fingers press: the arm is held where it is and the gripper let
        go of until the next step, so that ``gripper_contact`` depends on the state alone, and is not a grasp's.

        Args:
            qpos: joint positions, 6 of the arm, 8 of the fingers, then the cube's position and quaternion.
            qvel: their velocities.

        Raises:
            ValueError: a wrong shape, a value that is not finite, or a quaternion that is no rotation.
        """
        qpos, qvel = np.asarray(qpos, dtype=np.float64), np.asarray(qvel, dtype=np.float64)
        if qpos.shape != (self.model.nq,) or qvel.shape != (self.model.nv,):
            raise ValueError(
                f"qpos of shape {qpos.shape} and qvel of shape {qvel.shape} were given; the scene has "
                f"({self.model.nq},) and ({self.model.nv},)"
            )
        if not (np.isfinite(qpos).all() and np.isfinite(qvel).all()):
            raise ValueError("qpos and qvel must be finite; check where they come from")
        if not abs(float(np.linalg.norm(qpos[-4:])) - 1) < _UNIT_TOLERANCE:
            raise ValueError(
                f"the cube's quaternion {qpos[-4:].tolist()}, the last four of qpos, is none: give one of length 1"
            )
        self.data.qpos[:], self.data.qvel[:] = qpos, qvel
        self.data.qacc_warmstart[:] = 0
        self.data.ctrl[:] = 0
        self.data.ctrl[self._arm_actuator_ids] = qpos[self._arm_joint_ids]
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_rnePostConstraint(self.model, self.data)
        self.pre_step()
        self.post_step()
        return self.compute_observation()

    def step(self, action: np.ndarray) -> tuple[Float[np.ndarray, " 28"], float, bool, bool, dict[str, Any]]:
        """One control step, 0.05 s.

        Raises:
            ValueError: the action is not 5 finite numbers.
            gymnasium.error.ResetNeeded: there was no reset yet.
        """
        if self._reset_next_step:
            raise gymnasium.error.ResetNeeded("call reset() before the first step()")
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (ACTION_SIZE,) or not np.isfinite(action).all():
            raise ValueError(f"the action {action.tolist()} was given; give {ACTION_SIZE} finite numbers in [-1, 1]")
        self.set_control(np.clip(action, -1.0, 1.0))
        self.pre_step()
        mujoco.mj_step(self.model, self.data, nstep=self._n_steps)
        mujoco.mj_rnePostConstraint(self.model, self.data)  # contact forces
        self.post_step()
        info = self.get_step_info()
        return self._state_vector(info), self.compute_reward(), bool(self.terminate_episode()), False, info

    def pre_step(self) -> None:
        """Remember the state before a step; OGBench's cube scene reads nothing more of it."""
        self._prev_qpos = self.data.qpos.copy()
        self._prev_qvel = self.data.qvel.copy()

    def post_step(self) -> None:
        """Judge success; colours wait until somebody looks."""
        goal = self.data.mocap_pos[self._cube_target_mocap_ids[0]]
        distance = float(np.linalg.norm(self.data.joint(_CUBE).qpos[:3] - goal))
        self._success = distance <= SUCCESS_RADIUS

    def compute_observation(self) -> Float[np.ndarray, " 28"]:
        """OGBench's state vector."""
        return self._state_vector(self.compute_ob_info())

    @staticmethod
    def _state_vector(info: dict[str, Any]) -> Float[np.ndarray, " 28"]:
        effector_yaw, cube_yaw = info["proprio/effector_yaw"], info["privileged/block_0_yaw"]
        return np.concatenate(
            [
                info["proprio/joint_pos"],
                info["proprio/joint_vel"],
                (info["proprio/effector_pos"] - SCENE_CENTRE) * POSITION_SCALE,
                np.cos(effector_yaw),
                np.sin(effector_yaw),
                info["proprio/gripper_opening"] * GRIPPER_SCALE,
                info["proprio/gripper_contact"],
                (info["privileged/block_0_pos"] - SCENE_CENTRE) * POSITION_SCALE,
                info["privileged/block_0_quat"],
                np.cos(cube_yaw),
                np.sin(cube_yaw),
            ]
        )

    def get_reset_info(self) -> dict[str, Any]:
        return self.get_step_info()

    def get_step_info(self) -> dict[str, Any]:
        target = self._cube_target_mocap_ids[0]
        goal = self.data.mocap_pos[target]
        return self.compute_ob_info() | {
            "success": self._success,
            "goal": self._goal_observation.copy(),
            "goal_position": goal.copy(),
            "privileged/target_block": 0,
            "privileged/target_block_pos": goal.copy(),
            "privileged/target_block_yaw": np.array([self.placement.goal_yaw]),
        }

    def render(self, camera: str = "front") -> UInt8[np.ndarray, "height width 3"] | None:
        """A picture of the scene, or None (with a warning) where no ``render_mode`` was chosen.

        The goal is a translucent cube, and the cube turns pale while it counts as being there.
        """
        if self.render_mode is None:
            gymnasium.logger.warn('render() draws nothing: make the environment with render_mode="rgb_array"')
            return None
        if self._reset_next_step:
            raise gymnasium.error.ResetNeeded("call reset() before the first render()")
        CubeEnv.post_step(self)
        return super().render(camera=camera)

    def close(self) -> None:
        """Give back what drawing holds; more than once does no harm."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        super().close()
