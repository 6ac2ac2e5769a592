"""Controllers: from a plan, the step in it and the current observation to the next action.

They read the plan's arrays and nothing else: where to go, when to close the gripper and when to open it is in the plan.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from dcfm_envs.scene import ACTION_SCALE
from dcfm_planner.layout import COLUMNS, YAW_SYMMETRY, state_features, yaw_of
from dcfm_planner.plan import Plan


@runtime_checkable
class Controller(Protocol):
    """Actions for a batch of plans.

    Args of a call: the plans; ``step``, how many steps into its plan each row is (a step past the end counts as the
    last); and the current observations. The actions are not clipped.
    """

    def __call__(
        self,
        plan: Plan,
        step: Int[np.ndarray, " batch"],
        observation: Float[np.ndarray, "batch 28"],
    ) -> Float[np.ndarray, "batch 5"]: ...


@dataclass(frozen=True)
class PlannedActions:
    """Executes the planned actions as they are: ``plan.action[step]``."""

    def __call__(
        self,
        plan: Plan,
        step: Int[np.ndarray, " batch"],
        observation: Float[np.ndarray, "batch 28"],
    ) -> Float[np.ndarray, "batch 5"]:
        rows = np.arange(len(plan))
        return plan.action[rows, np.minimum(step, plan.horizon - 1)]


@dataclass(frozen=True)
class TrackEffector:
    """Steers the effector to where the plan has it ``lookahead`` steps later, and the gripper to the planned target.

    An OGBench action asks for a displacement from where the effector is, which the arm follows with a lag. Position and
    yaw: the planned pose ``lookahead`` steps on, minus the current one, over ``ACTION_SCALE``; the yaw by its shorter
    way, up to the quarter turns that a cube's symmetry leaves open. Gripper: an opening is a force once something is
    between the fingers, so the target is the planned opening *plus the planned action*, minus the current opening.

    Args:
        lookahead: steps, at least 0.

    Raises:
        ValueError: a negative lookahead.
    """

    lookahead: int = 2

    def __post_init__(self) -> None:
        if self.lookahead < 0:
            raise ValueError(f"lookahead={self.lookahead}: give 0 or more steps; 2 measured best")

    def __call__(
        self,
        plan: Plan,
        step: Int[np.ndarray, " batch"],
        observation: Float[np.ndarray, "batch 28"],
    ) -> Float[np.ndarray, "batch 5"]:
        rows = np.arange(len(plan))
        now = np.minimum(step, plan.horizon - 1)
        ahead = np.minimum(step + self.lookahead, plan.horizon - 1)
        state = state_features(observation)
        position = state[:, COLUMNS["effector_position"].slice]
        yaw = yaw_of(state[:, COLUMNS["effector_yaw"].slice])
        opening = state[:, COLUMNS["gripper_opening"].start]
        target_opening = plan.gripper_opening[rows, now] + plan.action[rows, now, 4]
        wanted = np.concatenate(
            [
                plan.effector_position[rows, ahead] - position,
                shortest_turn(plan.effector_yaw[rows, ahead] - yaw)[:, None],
                (target_opening - opening)[:, None],
            ],
            axis=1,
        )
        return wanted / ACTION_SCALE


def shortest_turn(angle: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    """An angle (rad) up to the symmetry of a cube, in ``[-pi/4, pi/4)``."""
    turn = 2 * np.pi / YAW_SYMMETRY
    return np.asarray((angle + turn / 2) % turn - turn / 2)
