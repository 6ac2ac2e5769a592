"""A trained planner as a Gymnasium-shaped agent: ``reset`` with an observation and a goal, then ``act``.

    agent = PlannerAgent.load("cube-single/noniid/dcfm_b")
    observation, info = env.reset(seed=0)
    agent.reset(observation, info, seed=0)
    observation, reward, terminated, truncated, info = env.step(agent.act(observation))

With a vector environment everything has one more dimension, and the rows whose episode was reset begin anew with
``agent.reset(observation, info, mask=...)``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from dcfm_envs.scene import CUBE_REST_HEIGHT, STATE_SIZE
from dcfm_planner.controllers import Controller, TrackEffector
from dcfm_planner.execution import Execution, ExecutionOptions
from dcfm_planner.layout import COLUMNS, state_features
from dcfm_planner.models import load_planner
from dcfm_planner.plan import Plan
from dcfm_planner.planner import Planner
from dcfm_planner.quadrants import QUADRANTS, border_distance, quadrant_index, quadrant_of

LABEL_MARGIN: Final = 0.02
"""m from a border of quadrants within which a position gets no label: training leaves such segments out."""

NULL: Final = len(QUADRANTS)
"""The label that asks for no quadrant."""

Observation = Float[np.ndarray, "28"] | Float[np.ndarray, "batch 28"]
Action = Float32[np.ndarray, "5"] | Float32[np.ndarray, "batch 5"]
Quadrant = str | Sequence[str | None] | None

_CUBE: Final = COLUMNS["cube_position"].slice


class PlannerAgent:
    """Plans, acts, and plans again where the cube is not at the goal when a plan is over.

    Args:
        planner: samples the plans.
        controller: from plan and observation to action; tracks the planned effector path if not given.
        options: how plans are executed; what measured best if not given.
    """

    def __init__(
        self, planner: Planner, controller: Controller | None = None, options: ExecutionOptions | None = None
    ) -> None:
        self.planner = planner
        self.controller = controller or TrackEffector()
        self.options = options or ExecutionOptions()
        self._execution: Execution | None = None
        self._single = True
        self._labels = np.empty((0, 2), dtype=np.int64)
        self._generator = np.random.default_rng(0)

    @classmethod
    def load(cls, name_or_path: str | Path, *, device: str = "auto") -> "PlannerAgent":
        """Load a shipped planner by name, such as ``cube-single/noniid/dcfm_b``, or any by the path of its folder.

        Raises:
            dcfm_planner.models.ModelError: no such name or folder; the text lists what there is.
            dcfm.artefacts.ArtefactError: what is there is truncated, damaged, or of another architecture.
        """
        return cls(load_planner(name_or_path, device=device).planner)

    def reset(
        self,
        observation: Observation,
        info: Mapping[str, Any] | None = None,
        *,
        goal: Any = None,
        source: Quadrant = None,
        target: Quadrant = None,
        seed: int | None = None,
        mask: Bool[np.ndarray, " rows"] | None = None,
    ) -> None:
        """Begin episodes.

        Args:
            observation: OGBench's state vector, or a batch of them.
            info: of the environment's reset; its ``goal`` is used where none is given.
            goal: an OGBench goal observation (28 numbers) or a cube position (x, y or x, y, z; m); for a batch, one
                for all or one a row.
            source, target: names of quadrants asked for; for a batch, one for all or one a row (``None`` for the
                default). By default the quadrant in which the start or the goal lies, and none within
                ``LABEL_MARGIN`` of a border.
            seed: of all noise from now on; without one, noise goes on where it was (from seed 0 at first).
            mask: rows that begin anew, the others go on; all if not given. Where a vector environment resets rows by
                itself, these are the rows whose episode ended in the step before.

        Raises:
            ValueError: an observation, goal or mask of a wrong shape, no goal at all, or an unknown quadrant.
        """
        observations, single = _batched(observation)
        batch = len(observations)
        rows = self._rows(batch, single, mask)
        goals = _goal_positions(goal, info, batch)[rows]
        starts = state_features(observations[rows])[:, _CUBE]
        labels = np.column_stack([_labels(source, "source", starts, rows), _labels(target, "target", goals, rows)])
        if mask is None:
            self._execution = Execution(self.planner, self.controller, batch, self.options)
            self._single = single
            self._labels = np.full((batch, 2), NULL)
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        self._labels[rows] = labels
        seeds = self._generator.integers(2**63, size=len(rows)).tolist()
        self.execution.begin(rows, labels, goals, seeds)

    def act(self, observation: Observation) -> Action:
        """The next action, in [-1, 1]; for a batch, one a row.

        Raises:
            ValueError: no reset before, or another batch than the reset's.
        """
        observations, single = _batched(observation)
        if len(observations) != len(self.execution) or single != self._single:
            raise ValueError(
                f"an observation of shape {observation.shape} after a reset with "
                f"{'one of 28 numbers' if self._single else f'{len(self.execution)} rows'}: give the same shape"
            )
        actions = self.execution.act(observations).astype(np.float32)
        return actions[0] if single else actions

    @property
    def execution(self) -> Execution:
        """What goes on: plans, steps, which rows are finished.

        Raises:
            ValueError: there was no reset yet.
        """
        if self._execution is None:
            raise ValueError("the agent has no goal yet: call reset(observation, info) before act()")
        return self._execution

    @property
    def plan(self) -> Plan:
        """The plans in execution, one a row; made at the first ``act`` after a reset."""
        return self.execution.plan

    @property
    def labels(self) -> Int[np.ndarray, "batch 2"]:
        """Source and target asked for, ``NULL`` for none, one pair a row."""
        return self._labels.copy()

    def _rows(self, batch: int, single: bool, mask: Bool[np.ndarray, " given"] | None) -> Int[np.ndarray, " rows"]:
        if mask is None:
            return np.arange(batch)
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (batch,) or single:
            raise ValueError(
                f"a mask of shape {mask.shape} and type {mask.dtype} for {batch} observations: give one bool a row"
            )
        if self._execution is None or len(self._execution) != batch:
            raise ValueError(f"a mask for {batch} rows that no reset began: reset all of them first, without a mask")
        return np.flatnonzero(mask)


def _batched(observation: Observation) -> tuple[Float[np.ndarray, "batch 28"], bool]:
    """Observations as a batch, and whether it was a single one."""
    values = np.asarray(observation)
    if values.ndim not in (1, 2) or values.shape[-1] != STATE_SIZE:
        raise ValueError(
            f"an observation of shape {values.shape}; give OGBench's state vector, {STATE_SIZE} numbers, or a batch"
        )
    return np.atleast_2d(values).astype(np.float64), values.ndim == 1


def _goal_positions(goal: Any, info: Mapping[str, Any] | None, batch: int) -> Float[np.ndarray, "batch 3"]:
    """Where cubes should go (m)."""
    if goal is None:
        if info is None or "goal" not in info:
            raise ValueError("no goal: pass goal= (a goal observation or a position in m) or the reset's info with it")
        goal = info["goal"]
    values = np.asarray(goal, dtype=np.float64)
    if (
        values.ndim not in (1, 2)
        or values.shape[-1] not in (2, 3, STATE_SIZE)
        or values.shape[:-1] not in ((), (batch,))
    ):
        raise ValueError(
            f"a goal of shape {values.shape} for {batch} observations; give a goal observation ({STATE_SIZE} numbers) "
            "or a cube position (2 or 3 numbers, m), one for all or one a row"
        )
    values = np.broadcast_to(values, (batch, values.shape[-1]))
    if values.shape[-1] == STATE_SIZE:
        return state_features(values)[:, _CUBE]
    if values.shape[-1] == 2:
        return np.column_stack([values, np.full(batch, CUBE_REST_HEIGHT)])
    return values.copy()


def _labels(
    given: Quadrant, name: str, positions: Float[np.ndarray, "rows 3"], rows: Int[np.ndarray, " rows"]
) -> Int[np.ndarray, " rows"]:
    """Labels of what was given, by default of where positions lie."""
    default = np.where(border_distance(positions) < LABEL_MARGIN, NULL, quadrant_of(positions))
    if given is None:
        return default
    if isinstance(given, str):
        return np.full(len(rows), quadrant_index(given))
    if len(given) <= rows.max(initial=-1):
        raise ValueError(f"{len(given)} names of {name} quadrants; give one for all, or one a row of the batch")
    asked = [given[row] for row in rows]
    return np.array(
        [d if q is None else quadrant_index(q) for q, d in zip(asked, default, strict=True)], dtype=np.int64
    )
