"""A trained planner as a Gymnasium-shaped agent: ``reset`` with an observation and a goal, then ``act``.

    agent = PlannerAgent.load("cube-single/noniid/dcfm_b")
    observation, info = env.reset(seed=0)
    agent.reset(observation, info, seed=0)
    observation, reward, terminated, truncated, info = env.step(agent.act(observation))

With a vector environment everything has one more dimension, and :meth:`PlannerAgent.follow` begins the rows anew whose
episode the environment reset by itself, under whichever autoreset mode:

    agent.reset(observations, infos, seed=0, autoreset=envs.metadata["autoreset_mode"])
    observations, rewards, terminated, truncated, infos = envs.step(agent.act(observations))
    agent.follow(observations, infos, terminated | truncated)

Rows that begin together are planned in one batch.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from jaxtyping import Bool, Float32, Int

from dcfm_planner.controllers import Controller, TrackEffector
from dcfm_planner.execution import Execution, ExecutionOptions
from dcfm_planner.models import Sampling, load_planner
from dcfm_planner.plan import Plan
from dcfm_planner.planner import Planner
from dcfm_planner.query import (
    NULL,
    Observation,
    Quadrant,
    at_reset,
    batched,
    cube_positions,
    goal_positions,
    labels_at,
    labels_of,
)

Action = Float32[np.ndarray, "5"] | Float32[np.ndarray, "batch 5"]


class PlannerAgent:
    """Plans, acts, and plans again where the cube is not at the goal when a plan is over.

    Args:
        planner: samples the plans.
        controller: from plan and observation to action; tracks the planned effector path if not given.
        options: how plans are executed; what measured best if not given.

    Raises:
        ValueError: the planner's plans are not the cube's.
    """

    def __init__(
        self, planner: Planner, controller: Controller | None = None, options: ExecutionOptions | None = None
    ) -> None:
        planner.check_cube()
        self.planner = planner
        self.controller = controller or TrackEffector()
        self.options = options or ExecutionOptions()
        self._execution: Execution | None = None
        self._single = True
        self._labels = np.empty((0, 2), dtype=np.int64)
        self._generator = np.random.default_rng(0)
        self._autoreset = AutoresetMode.DISABLED
        self._ended = np.empty(0, dtype=bool)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        device: str = "auto",
        sampling: Sampling | None = None,
        controller: Controller | None = None,
        options: ExecutionOptions | None = None,
    ) -> "PlannerAgent":
        """Load a shipped planner by name, such as ``cube-single/noniid/dcfm_b``, or any by the path of its folder.

        Args:
            name_or_path: of the planner.
            device: ``auto``, ``cpu``, ``cuda``.
            sampling: how it plans; as the shipped ones do if not given, which may not be the best of another method's.
            controller, options: how plans are executed, e.g. ``ExecutionOptions(replan_every=8)``.

        Raises:
            dcfm_planner.models.ModelError: no such name or folder; the text lists what there is.
            dcfm.artefacts.ArtefactError: what is there is truncated, damaged, or of another architecture.
        """
        return cls(load_planner(name_or_path, device=device, sampling=sampling).planner, controller, options)

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
        autoreset: AutoresetMode | str | None = None,
    ) -> None:
        """Begin episodes.

        Args:
            observation: OGBench's state vector, or a batch of them.
            info: of the environment's reset; its ``goal`` is used where none is given.
            goal: an OGBench goal observation (28 numbers) or a cube position (x, y or x, y, z; m); for a batch, one
                for all or one a row.
            source, target: names of quadrants asked for; for a batch, one for all or one a row (``None`` for the
                default). By default the quadrant in which the start or the goal lies, and none within
                ``dcfm_planner.query.LABEL_MARGIN`` of a border.
            seed: of all noise from now on; without one, noise goes on where it was (from seed 0 at first).
            mask: rows that begin anew, the others go on; all if not given.
            autoreset: how a vector environment resets its rows by itself, its ``metadata["autoreset_mode"]``, for
                :meth:`follow`; a reset of all rows without it means that it does not.

        Raises:
            ValueError: an observation, goal or mask of a wrong shape, no goal at all, an unknown quadrant or autoreset
                mode, or a seed that is none; what goes on is left as it is.
        """
        if seed is not None and (not isinstance(seed, int | np.integer) or seed < 0):
            raise ValueError(f"seed={seed!r}: give an integer of at least 0")
        observations, single = batched(observation)
        batch = len(observations)
        rows = self._rows(batch, single, mask)
        if goal is None:
            if info is None or "goal" not in info:
                raise ValueError(
                    "no goal: pass goal= (a goal observation or a position in m) or the reset's info with it"
                )
            goal = info["goal"]
        goals = goal_positions(goal, batch, rows)
        starts = labels_at(cube_positions(observations[rows]))
        ends = labels_at(goals)
        asked = labels_of(source, "source", starts, rows, batch), labels_of(target, "target", ends, rows, batch)
        labels = np.column_stack(asked)
        if mask is None or autoreset is not None:
            self._autoreset = _autoreset_mode(autoreset)
        if mask is None:
            self._execution = Execution(self.planner, self.controller, batch, self.options)
            self._single = single
            self._labels = np.full((batch, 2), NULL)
            self._ended = np.zeros(batch, dtype=bool)
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        self._labels[rows] = labels
        self._ended[rows] = False
        seeds = self._generator.integers(2**63, size=len(rows)).tolist()
        self.execution.begin(rows, labels, goals, seeds)

    def act(self, observation: Observation) -> Action:
        """The next action, in [-1, 1]; for a batch, one a row.

        Raises:
            ValueError: no reset before, or another batch than the reset's.

        Warns:
            UserWarning: a row is at the first observation of an episode, and the agent in the middle of a plan.
        """
        observations, single = batched(observation)
        if len(observations) != len(self.execution) or single != self._single:
            raise ValueError(
                f"an observation of shape {np.shape(observation)} after a reset with "
                f"{'one of 28 numbers' if self._single else f'{len(self.execution)} rows'}: give the same shape"
            )
        if forgotten := np.flatnonzero(at_reset(observations) & (self.execution.step > 0) & ~self._ended).tolist():
            warnings.warn(
                f"the environment was reset (rows {forgotten}) and the agent was not: it follows its old plan to its "
                "old goal; call agent.reset(observation, info) after every reset, or follow() in a vector environment",
                stacklevel=2,
            )
        actions = self.execution.act(observations, ~self._ended).astype(np.float32)
        return actions[0] if single else actions

    def follow(
        self,
        observation: Observation,
        info: Mapping[str, Any],
        ended: Bool[np.ndarray, " rows"],
        *,
        goal: Any = None,
        source: Quadrant = None,
        target: Quadrant = None,
    ) -> Bool[np.ndarray, " rows"]:
        """Begin the rows anew that a vector environment has reset by itself; to be called after each of its steps.

        Under ``NEXT_STEP`` a row that ended is reset in the step after, and the action of that step goes nowhere: the
        agent plans nothing for it. Under ``SAME_STEP`` the observation of the step that ended is the new episode's.

        Args:
            observation, info: of the step; the reset's ``goal`` is in ``info`` for the rows that were reset.
            ended: ``terminated | truncated`` of the step.
            goal, source, target: as of :meth:`reset`.

        Returns:
            the rows that begin anew.

        Raises:
            ValueError: the reset was not told ``autoreset=``, or another shape than the reset's.
        """
        if self._autoreset is AutoresetMode.DISABLED:
            raise ValueError(
                'the agent was not told how rows are reset: pass autoreset=envs.metadata["autoreset_mode"] to reset(); '
                "where the environment resets no row by itself, use reset(..., mask=ended) after its reset"
            )
        ended = np.asarray(ended)
        if ended.dtype != bool or ended.shape != (len(self.execution),):
            raise ValueError(
                f"ended of shape {ended.shape} and type {ended.dtype} for {len(self.execution)} rows: give "
                "terminated | truncated"
            )
        begun = ended.copy() if self._autoreset is AutoresetMode.SAME_STEP else self._ended.copy()
        self._ended = np.zeros_like(ended) if self._autoreset is AutoresetMode.SAME_STEP else ended & ~begun
        if begun.any():
            self.reset(observation, info, goal=goal, source=source, target=target, mask=begun)
        return begun

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
        """The plans in execution, one a row; made at the first ``act`` after a reset.

        Raises:
            ValueError: there was none since a row's reset.
        """
        if fresh := np.flatnonzero(self.execution.fresh).tolist():
            raise ValueError(
                f"rows {fresh} are planned at the next act(): call act(observation) first, or planner.plan(...) for a "
                "plan without acting"
            )
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


def _autoreset_mode(given: AutoresetMode | str | None) -> AutoresetMode:
    try:
        return AutoresetMode.DISABLED if given is None else AutoresetMode(given)
    except ValueError as error:
        modes = ", ".join(mode.value for mode in AutoresetMode)
        raise ValueError(f"unknown autoreset mode {given!r}; Gymnasium's are {modes}") from error
