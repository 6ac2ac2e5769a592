"""A plan in SI units, under names: what feasibility, controllers, pictures and other people's agents read."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float
from torch import Tensor

from dcfm_envs.scene import CONTROL_PERIOD
from dcfm_planner.layout import COLUMNS, denormalise, yaw_of


@dataclass(frozen=True)
class Plan:
    """A batch of plans, ``batch x horizon``; :meth:`__getitem__` gives one of them as a batch of one.

    Attributes:
        effector_position: m.
        effector_yaw: rad, in [-pi/4, pi/4]: up to the quarter turns that leave a cube as it is.
        gripper_opening: 0 open, 1 closed.
        gripper_contact: 0 none, 1 from 50 N on.
        cube_position: m.
        cube_yaw: rad, in [-pi/4, pi/4].
        action: OGBench actions, planned for the step from this time on; not clipped.
        normalised: the trajectory as the network knows it, for a warm start.
    """

    effector_position: Float[np.ndarray, "batch horizon 3"]
    effector_yaw: Float[np.ndarray, "batch horizon"]
    gripper_opening: Float[np.ndarray, "batch horizon"]
    gripper_contact: Float[np.ndarray, "batch horizon"]
    cube_position: Float[np.ndarray, "batch horizon 3"]
    cube_yaw: Float[np.ndarray, "batch horizon"]
    action: Float[np.ndarray, "batch horizon 5"]
    normalised: Float[Tensor, "batch horizon columns"]

    @classmethod
    def from_normalised(cls, trajectory: Float[Tensor, "batch horizon columns"]) -> "Plan":
        """From the network's coordinates."""
        values = denormalise(trajectory.detach().cpu().double()).numpy()
        part = {name: values[..., column.slice] for name, column in COLUMNS.items()}
        return cls(
            effector_position=part["effector_position"],
            effector_yaw=yaw_of(part["effector_yaw"]),
            gripper_opening=part["gripper_opening"][..., 0],
            gripper_contact=part["gripper_contact"][..., 0],
            cube_position=part["cube_position"],
            cube_yaw=yaw_of(part["cube_yaw"]),
            action=part["action"],
            normalised=trajectory,
        )

    def __len__(self) -> int:
        return len(self.effector_position)

    def __getitem__(self, rows: SupportsIndex | slice | np.ndarray) -> "Plan":
        """Some plans, as a batch: one of one plan for a number, which counts from the end where it is negative.

        Raises:
            IndexError: there is no such plan.
        """
        if isinstance(rows, slice) or (isinstance(rows, np.ndarray) and rows.ndim):
            return Plan.from_normalised(self.normalised[rows])
        row = range(len(self))[operator.index(rows)]
        return Plan.from_normalised(self.normalised[row : row + 1])

    def __iter__(self) -> Iterator["Plan"]:
        return (self[i] for i in range(len(self)))

    @property
    def horizon(self) -> int:
        return self.effector_position.shape[1]

    @property
    def start(self) -> Float[np.ndarray, "batch 3"]:
        """Where the cube starts (m)."""
        return self.cube_position[:, 0]

    @property
    def goal(self) -> Float[np.ndarray, "batch 3"]:
        """Where the cube ends (m)."""
        return self.cube_position[:, -1]

    @property
    def time(self) -> Float[np.ndarray, " horizon"]:
        """Seconds from the start of each step."""
        return CONTROL_PERIOD * np.arange(self.horizon)

    def subgoals(self, every: int) -> dict[str, np.ndarray]:
        """The states planned after every so many steps, the last one always among them.

        Args:
            every: steps, at least 1.

        Returns:
            ``time`` (s; one a sub-goal), and ``effector_position`` (m), ``effector_yaw`` (rad), ``gripper_opening``,
            ``gripper_contact``, ``cube_position`` (m), ``cube_yaw`` (rad) as of this class, ``batch x sub-goals``.

        Raises:
            ValueError: not a number of steps.
        """
        if every < 1:
            raise ValueError(f"a sub-goal every {every} steps; give at least 1")
        steps = np.unique([*range(every, self.horizon, every), self.horizon - 1])
        names = [name for name in COLUMNS if name != "action"]
        return {"time": self.time[steps]} | {name: getattr(self, name)[:, steps] for name in names}
