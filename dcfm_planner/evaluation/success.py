"""When a trial counts as a success: OGBench's rule, a strict rule, and when the goal was touched first.

*OGBench's rule*: after the last step the cube's centre is within 0.04 m of the goal. That is easy to earn: a cube that
lies within 0.04 m at the start has earned it already (such trials are told apart, ``at_start``), and so has one that is
still held. *The strict rule* asks besides that the cube is released, at rest and on the floor.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from dcfm_envs.scene import CUBE_REST_HEIGHT, SUCCESS_RADIUS
from dcfm_planner.evaluation.rollout import Rollout
from dcfm_planner.execution import REST_DISTANCE
from dcfm_planner.feasibility import FLOOR_TOLERANCE
from dcfm_planner.layout import COLUMNS

RELEASED_CONTACT: Final = 0.02
"""Contact (1 from 50 N on) up to which a cube counts as released: 1 N. A cube in the air is held with 33 N or more."""

NEVER: Final = -1
"""``first_touch`` of a trial that never touched its goal."""


@dataclass(frozen=True)
class Outcome:
    """What came of a batch of rollouts.

    Attributes:
        distance: m between cube and goal after the last step.
        reached: OGBench's rule.
        released, at_rest, on_floor: each after the last step.
        at_start: the cube was within the success radius before the first step.
        first_touch: the first step after which the cube was within the success radius of the goal, 0 for the start,
            ``NEVER`` for never. Whether it stayed is another question.
    """

    distance: Float[np.ndarray, " batch"]
    reached: Bool[np.ndarray, " batch"]
    released: Bool[np.ndarray, " batch"]
    at_rest: Bool[np.ndarray, " batch"]
    on_floor: Bool[np.ndarray, " batch"]
    at_start: Bool[np.ndarray, " batch"]
    first_touch: Int[np.ndarray, " batch"]

    @property
    def strict(self) -> Bool[np.ndarray, " batch"]:
        """The strict rule."""
        return self.reached & self.released & self.at_rest & self.on_floor


def judge(rollout: Rollout, goal: Float[np.ndarray, "batch 3"]) -> Outcome:
    """Judge rollouts by where their cubes are after each trial's last step.

    Args:
        rollout: what happened.
        goal: where each cube should be (m).
    """
    rows = np.arange(len(rollout.steps))
    last = rollout.states[rows, rollout.steps]
    before = rollout.states[rows, np.maximum(rollout.steps - 1, 0)]
    cube = COLUMNS["cube_position"].slice
    distances = np.linalg.norm(rollout.cube_path - goal[:, None], axis=-1)
    near = distances <= SUCCESS_RADIUS
    near &= np.arange(near.shape[1]) <= rollout.steps[:, None]
    return Outcome(
        distance=distances[rows, rollout.steps],
        reached=near[rows, rollout.steps],
        released=last[:, COLUMNS["gripper_contact"].start] <= RELEASED_CONTACT,
        at_rest=np.linalg.norm(last[:, cube] - before[:, cube], axis=1) <= REST_DISTANCE,
        on_floor=np.abs(last[:, cube][:, 2] - CUBE_REST_HEIGHT) <= FLOOR_TOLERANCE,
        at_start=near[:, 0],
        first_touch=np.where(near.any(axis=1), near.argmax(axis=1), NEVER),
    )
