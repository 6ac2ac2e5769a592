"""Many trials in lock step, one environment: each trial has its own simulation state, swapped in for its step.

Building OGBench's model takes seconds and hundreds of megabytes, so a process builds it once. Swapping copies the whole
simulation state (``mj_copyData``, 0.05 ms against 3 ms for a control step), derived quantities included: a trial goes
on bit for bit as if it were alone.
"""

# mujoco's own functions come from a compiled module without type information.
# pyright: reportAttributeAccessIssue=false

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from dcfm_envs.rendering import without_pictures
from dcfm_envs.scene import CUBE_REST_HEIGHT, EFFECTOR_BOUNDS, STATE_SIZE
from dcfm_planner.feasibility import EFFECTOR_SLACK
from dcfm_planner.plan import Plan


@dataclass(frozen=True)
class Starts:
    """Where trials start and where their cubes should go, SI units.

    Attributes:
        cube_position: on the floor.
        cube_yaw: rad.
        effector_position: m; the arm is placed there by inverse kinematics, at rest, the gripper open.
        effector_yaw: rad.
        goal_position: m, on the floor.
    """

    cube_position: Float[np.ndarray, "batch 3"]
    cube_yaw: Float[np.ndarray, " batch"]
    effector_position: Float[np.ndarray, "batch 3"]
    effector_yaw: Float[np.ndarray, " batch"]
    goal_position: Float[np.ndarray, "batch 3"]

    def __len__(self) -> int:
        return len(self.cube_yaw)

    def __getitem__(self, rows: slice | Int[np.ndarray, " rows"]) -> "Starts":
        return Starts(
            self.cube_position[rows],
            self.cube_yaw[rows],
            self.effector_position[rows],
            self.effector_yaw[rows],
            self.goal_position[rows],
        )

    def options(self, row: int) -> dict[str, np.ndarray | float]:
        """One start as options for the environment's reset."""
        return {
            "cube_position": self.cube_position[row],
            "cube_yaw": float(self.cube_yaw[row]),
            "effector_position": self.effector_position[row],
            "effector_yaw": float(self.effector_yaw[row]),
            "goal_position": self.goal_position[row],
            "goal_yaw": 0.0,
        }

    @classmethod
    def proposed_by(cls, plan: Plan) -> "Starts":
        """The start and the goal that feasible plans propose: cubes put down on the floor, the effector clipped to
        where the environment takes it."""
        floor = [1.0, 1.0, 0.0], [0.0, 0.0, CUBE_REST_HEIGHT]
        low, high = EFFECTOR_BOUNDS
        return cls(
            cube_position=plan.start * floor[0] + floor[1],
            cube_yaw=plan.cube_yaw[:, 0],
            effector_position=plan.effector_position[:, 0].clip(low - EFFECTOR_SLACK, high + EFFECTOR_SLACK),
            effector_yaw=plan.effector_yaw[:, 0],
            goal_position=plan.goal * floor[0] + floor[1],
        )


class Simulations:
    """The simulation states of a batch of trials, all stepped by one environment.

    Args:
        batch: number of trials.
    """

    def __init__(self, batch: int) -> None:
        with without_pictures():
            import mujoco

            from dcfm_envs.cube_single import CubeSingle

        self._copy = mujoco.mj_copyData
        self.environment = CubeSingle()
        self.environment.reset(seed=0)
        self._states = [mujoco.MjData(self.environment.model) for _ in range(batch)]

    def __len__(self) -> int:
        return len(self._states)

    def reset(self, starts: Starts) -> Float[np.ndarray, "batch 28"]:
        """Put the first ``len(starts)`` trials where they start and return their observations.

        Raises:
            ValueError: more starts than there are simulations, or a pose that the arm cannot reach.
        """
        if len(starts) > len(self):
            raise ValueError(f"{len(starts)} starts for {len(self)} simulations; give at most as many")
        return np.asarray([self.reset_row(row, starts, row) for row in range(len(starts))]).reshape(-1, STATE_SIZE)

    def reset_row(self, row: int, starts: Starts, which: int) -> Float[np.ndarray, "28"]:
        """Put one trial at one of the starts and return its observation.

        Raises:
            ValueError: a pose that the arm cannot reach.
        """
        observation, _ = self.environment.reset(seed=0, options=starts.options(which))
        self._copy(self._states[row], self.environment.model, self.environment.data)
        return observation

    def qpos(self, row: int) -> Float[np.ndarray, " positions"]:
        """The joint positions of one trial: arm, fingers, then the cube's position (m) and quaternion."""
        return self._states[row].qpos.copy()

    def step(self, row: int, action: Float[np.ndarray, "5"]) -> Float[np.ndarray, "28"]:
        """One control step of one trial."""
        env = self.environment
        self._copy(env.data, env.model, self._states[row])
        observation = env.step(action)[0]
        self._copy(self._states[row], env.model, env.data)
        return observation
