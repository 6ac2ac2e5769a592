"""Receding horizon: plan, act for a while, plan again with what was executed held.

Each row of a batch is a trial of its own: its goal, its labels, its place in its plan. A plan is made from the observed
start state and the goal, both held. Every ``replan_every`` steps the rest of the horizon is planned again with the
executed history held too, warm-started from the plan that exists. Where a horizon is over and the cube is not at the
goal, or the cube has strayed from where the plan has it, the current state is the start of a new plan. The labels stay
the trial's own throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm_planner.controllers import Controller
from dcfm_planner.layout import COLUMNS, STATE_COLUMNS, TRANSITION, state_features
from dcfm_planner.plan import Plan
from dcfm_planner.planner import HeldEntries, Planner

REST_DISTANCE: Final = 0.0005
"""m that a cube at rest may move in a control step: 1 cm/s."""

_CUBE: Final = COLUMNS["cube_position"].slice


@dataclass(frozen=True)
class ExecutionOptions:
    """How plans are executed.

    Args:
        replan_every: steps between replans within a horizon; 0 executes a plan to its end as it is.
        warm_start: time in (0, 1) to which an existing plan is carried back when replanning; 0 plans from scratch.
        replan_steps: solver steps of a warm start; ``None`` is the planner's own choice.
        hold_actions: hold the executed actions along with the executed states.
        goal_tolerance: m; a cube observed within it counts as at the goal when a horizon ends.
        stray_distance: m between the observed and the planned cube from which the current state becomes the start of
            a new plan before the horizon ends; ``None`` never.

    Raises:
        ValueError: a value out of its range.
    """

    replan_every: int = 0
    warm_start: float = 0.5
    replan_steps: int | None = None
    hold_actions: bool = False
    goal_tolerance: float = 0.03
    stray_distance: float | None = None

    def __post_init__(self) -> None:
        if self.replan_every < 0:
            raise ValueError(f"replan_every={self.replan_every}: give a number of steps, or 0 for no replanning")
        if not 0 <= self.warm_start < 1:
            raise ValueError(f"warm_start={self.warm_start}: give a time in [0, 1), 0 for plans from scratch")
        if self.replan_steps is not None and self.replan_steps < 1:
            raise ValueError(f"replan_steps={self.replan_steps}: give at least 1, or leave it out")
        if not self.goal_tolerance > 0:
            raise ValueError(f"goal_tolerance={self.goal_tolerance} m: give a distance above 0")
        if self.stray_distance is not None and not self.stray_distance > 0:
            raise ValueError(f"stray_distance={self.stray_distance} m: give a distance above 0, or leave it out")


class Execution:
    """A batch of trials in execution; :meth:`begin` starts rows, :meth:`act` takes all of them a step further.

    Args:
        planner: samples the plans.
        controller: from plan and observation to action.
        batch: number of trials.
        options: see :class:`ExecutionOptions`.

    Attributes:
        plan: the current plans; rows that never began are at the scene's centre.
        step: how far into its plan each row is.
        plans: plans made from scratch or from a new start, a row.
        replans: replans within a horizon, a row.
        finished: at the last :meth:`act`, the plan was over and the cube observed at the goal, at rest.
    """

    def __init__(
        self, planner: Planner, controller: Controller, batch: int, options: ExecutionOptions | None = None
    ) -> None:
        self.planner = planner
        self.controller = controller
        self.options = options or ExecutionOptions()
        horizon = planner.horizon
        self.plan = Plan.from_normalised(torch.zeros(batch, horizon, TRANSITION))
        self.step = np.zeros(batch, dtype=np.int64)
        self.plans = np.zeros(batch, dtype=np.int64)
        self.replans = np.zeros(batch, dtype=np.int64)
        self.finished = np.zeros(batch, dtype=bool)
        self._labels = np.zeros((batch, 2), dtype=np.int64)
        self._goal = np.zeros((batch, 3))
        self._begun = np.zeros(batch, dtype=bool)
        self._fresh = np.zeros(batch, dtype=bool)
        self._proposed = np.zeros(batch, dtype=bool)
        self._cube = np.full((batch, 3), np.inf)
        self._states = np.zeros((batch, horizon, STATE_COLUMNS))
        self._actions = np.zeros((batch, horizon, 5))
        self._generators = [torch.Generator() for _ in range(batch)]

    def __len__(self) -> int:
        return len(self.step)

    @property
    def fresh(self) -> Bool[np.ndarray, " batch"]:
        """Which rows are planned at the next :meth:`act`; their plans are of before, or none at all."""
        return self._fresh.copy()

    def begin(
        self,
        rows: Int[np.ndarray, " rows"],
        labels: Int[np.ndarray, "rows 2"],
        goal: Float[np.ndarray, "rows 3"],
        seeds: Sequence[int],
        proposal: Plan | None = None,
    ) -> None:
        """Start trials; each is planned at its next :meth:`act`.

        Args:
            rows: which.
            labels: source and target, the null token for none.
            goal: where the cube should be in the end (m).
            seeds: of each trial's noise.
            proposal: plans to warm-start from, where the start is put where a plan proposed it.
        """
        if not len(rows) == len(labels) == len(goal) == len(seeds):
            raise ValueError(
                f"{len(rows)} rows, {len(labels)} labels, {len(goal)} goals, {len(seeds)} seeds: give as many of each"
            )
        self._labels[rows], self._goal[rows] = labels, goal
        self._begun[rows] = self._fresh[rows] = True
        self._proposed[rows] = proposal is not None
        self._cube[rows] = np.inf
        self.step[rows] = self.plans[rows] = self.replans[rows] = 0
        self.finished[rows] = False
        for row, seed in zip(rows, seeds, strict=True):
            self._generators[row].manual_seed(int(seed))
        if proposal is not None:
            self._put(rows, proposal.normalised)

    def act(
        self, observation: Float[np.ndarray, "batch 28"], active: Bool[np.ndarray, " batch"] | None = None
    ) -> Float[np.ndarray, "batch 5"]:
        """The next actions, clipped to [-1, 1].

        Args:
            observation: OGBench's state vectors.
            active: rows that take a step; the others keep their place and get zeros. All if not given.

        Raises:
            ValueError: an active row did not begin.
        """
        active = np.ones(len(self), dtype=bool) if active is None else active
        if (active & ~self._begun).any():
            raise ValueError(f"rows {np.flatnonzero(active & ~self._begun).tolist()} did not begin: call begin() first")
        state = state_features(observation.astype(np.float64))
        self._judge(state, active)
        rows = np.arange(len(self))
        self._states[rows[active], self.step[active]] = state[active]
        self._replan(active)
        actions = np.zeros((len(self), 5))
        actions[active] = self.controller(self.plan, self.step, observation)[active].clip(-1, 1)
        self._actions[rows[active], self.step[active]] = actions[active]
        self.step[active] += 1
        return actions

    def _judge(self, state: Float[np.ndarray, "batch 12"], active: Bool[np.ndarray, " batch"]) -> None:
        """Find which trials are finished and which need a new start."""
        cube = state[:, _CUBE]
        last = self.planner.horizon - 1
        over = (self.step >= last) & ~self._fresh
        at_goal = np.linalg.norm(cube - self._goal, axis=1) <= self.options.goal_tolerance
        moved = np.linalg.norm(cube - self._cube, axis=1)
        self.finished[active] = (over & at_goal & (moved <= REST_DISTANCE))[active]
        lost = over & ~at_goal
        if self.options.stray_distance is not None:
            planned = self.plan.cube_position[np.arange(len(self)), np.minimum(self.step, last)]
            astray = np.linalg.norm(cube - planned, axis=1) > self.options.stray_distance
            lost |= astray & ~over & ~self._fresh & (self.step > 0)
        self._fresh |= lost & active
        self._proposed &= ~(lost & active)
        self.step[self._fresh & active] = 0
        # A plan that is over while the cube still moves stays at its last step.
        self.step[over & ~lost & active] = last
        self._cube[active] = cube[active]

    def _replan(self, active: Bool[np.ndarray, " batch"]) -> None:
        options = self.options
        fresh = np.flatnonzero(active & self._fresh & ~self._proposed)
        proposed = active & self._fresh & self._proposed
        due = np.zeros(len(self), dtype=bool)
        if options.replan_every:
            due = active & ~self._fresh & (self.step % options.replan_every == 0)
            due &= self.step < self.planner.horizon - options.replan_every // 2 - 1
        again = np.flatnonzero(proposed | due)
        if len(fresh):
            self._put(fresh, self._sample(fresh, None).normalised)
        if len(again):
            self._put(again, self._sample(again, self.plan[again] if options.warm_start else None).normalised)
        self.plans[fresh] += 1
        self.plans[proposed] += 1
        self.replans[due] += 1
        self._fresh[active] = False

    def _sample(self, rows: Int[np.ndarray, " rows"], warm: Plan | None) -> Plan:
        """Plans with the executed history and the goal held."""
        actions = self._actions[rows, :-1] if self.options.hold_actions else None
        none = HeldEntries.none(len(rows), self.planner.horizon)
        held = none.with_history(self._states[rows], actions, self.step[rows] + 1).with_goal(self._goal[rows])
        return self.planner.sample(
            torch.from_numpy(self._labels[rows]),
            [self._generators[row] for row in rows],
            held,
            warm=warm,
            start=self.options.warm_start,
            steps=None if warm is None else self.options.replan_steps,
        )

    def _put(self, rows: Int[np.ndarray, " rows"], normalised: Float[Tensor, "rows horizon columns"]) -> None:
        whole = self.plan.normalised.clone()
        whole[torch.from_numpy(rows)] = normalised
        self.plan = Plan.from_normalised(whole)
