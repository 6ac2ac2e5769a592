"""Trials: problems planned in one batch, executed in lock step, and judged, all in one process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from dcfm_envs.scene import STATE_SIZE
from dcfm_planner.controllers import Controller, PlannedActions
from dcfm_planner.evaluation.controls import control_labels, replay_oracle
from dcfm_planner.evaluation.problems import Problems, pair_kind
from dcfm_planner.evaluation.rollout import MAX_STEPS, Rollout, rollout
from dcfm_planner.evaluation.simulation import Simulations, Starts
from dcfm_planner.evaluation.success import NEVER, Outcome, judge
from dcfm_planner.execution import Execution, ExecutionOptions
from dcfm_planner.feasibility import check
from dcfm_planner.plan import Plan
from dcfm_planner.planner import Planner
from dcfm_planner.quadrants import QUADRANTS

PLANNER_ARM: Final = "planner"
"""The arm that is evaluated; the others are controls."""

NAN: Final = float("nan")


@dataclass(frozen=True)
class Trial:
    """One problem by one arm.

    Attributes:
        arm: ``planner`` or a control.
        cell: ``known`` or ``novel``; ``index`` is the problem's number in it.
        kind: ``same`` quadrant, ``adjacent`` or ``diagonal``.
        feasible: the plan is, for the query; ``reasons`` says why not.
        at_start: the cube was within the success radius of the goal before the first step: outside the headline.
        reached: OGBench's rule after the last step; false where nothing was executed.
        success, success_strict: feasible, and reached by OGBench's or by the strict rule.
        first_touch: see :class:`~dcfm_planner.evaluation.success.Outcome`.
        steps: control steps executed.
        plans, replans: plans made while executing.
        distance: m between cube and goal in the end; NaN where nothing was executed.
        effector_gap, cube_gap: m between the plan executed first and its execution, mean over the plan's steps.
        start_jump, goal_jump: m that the cube of the plan executed first moves between the held start state and the
            step after it, and between the step before the held goal and the goal: a plan that makes use of what is
            held has hardly any.
        start, goal: of the cube, m.
        planned, executed: paths of the cube (x, y; m); the executed one is empty where nothing was executed.
    """

    arm: str
    cell: str
    index: int
    source: str
    target: str
    kind: str
    noise_seed: int
    feasible: bool
    reasons: tuple[str, ...]
    at_start: bool = False
    reached: bool = False
    success: bool = False
    success_strict: bool = False
    released: bool = False
    at_rest: bool = False
    on_floor: bool = False
    first_touch: int = NEVER
    steps: int = 0
    plans: int = 0
    replans: int = 0
    distance: float = NAN
    effector_gap: float = NAN
    cube_gap: float = NAN
    start_jump: float = NAN
    goal_jump: float = NAN
    start: tuple[float, float] = (NAN, NAN)
    goal: tuple[float, float] = (NAN, NAN)
    planned: Float[np.ndarray, "horizon 2"] = field(default_factory=lambda: np.empty((0, 2)), repr=False)
    executed: Float[np.ndarray, "times 2"] = field(default_factory=lambda: np.empty((0, 2)), repr=False)

    @property
    def combination(self) -> str:
        """What was asked for, its values joined by ``-``."""
        return f"{self.source}-{self.target}"


@dataclass
class Timing:
    """Seconds and what they were spent on, by the planner's arm, summed over processes.

    Attributes:
        planning: in plans from scratch, ``plans`` of them, in batches.
        acting: in the policy, replans included.
        stepping: in the environment, ``steps`` control steps.
    """

    planning: float = 0.0
    plans: int = 0
    acting: float = 0.0
    stepping: float = 0.0
    steps: int = 0

    def __add__(self, other: "Timing") -> "Timing":
        return Timing(
            self.planning + other.planning,
            self.plans + other.plans,
            self.acting + other.acting,
            self.stepping + other.stepping,
            self.steps + other.steps,
        )


class FirstPlan:
    """A policy that remembers the first plan of an execution and how long that took.

    Args:
        execution: begun.
        watch: called with it after each act.

    Attributes:
        plan: as executed first, what is given held.
        seconds: that the first :meth:`act` took.
    """

    def __init__(self, execution: Execution, watch: Callable[[Execution], None] | None = None) -> None:
        self.execution = execution
        self._watch = watch
        self.plan = execution.plan
        self.seconds = 0.0
        self._begun = False

    @property
    def finished(self) -> Bool[np.ndarray, " batch"]:
        return self.execution.finished

    def act(
        self, observation: Float[np.ndarray, "batch 28"], active: Bool[np.ndarray, " batch"] | None = None
    ) -> Float[np.ndarray, "batch 5"]:
        begin = time.perf_counter()
        actions = self.execution.act(observation, active)
        if not self._begun:
            self.plan, self.seconds, self._begun = self.execution.plan, time.perf_counter() - begin, True
        if self._watch is not None:
            self._watch(self.execution)
        return actions


@dataclass(frozen=True)
class _Placed:
    """Problems whose simulations stand at their starts: which rows, and what is observed there."""

    rows: Int[np.ndarray, " placed"]
    starts: Starts
    observations: Float[np.ndarray, "placed 28"]


class Workbench:
    """Everything a process needs for trials: a planner, and simulations to execute its plans in.

    Args:
        planner: to be judged.
        controller: from plan and observation to action.
        options: how plans are executed.
        batch: the largest number of problems at once.
        max_steps: control steps a trial.
        watch: called with every execution after each of its acts, before the simulations step.
    """

    def __init__(
        self,
        planner: Planner,
        controller: Controller,
        options: ExecutionOptions,
        batch: int,
        max_steps: int = MAX_STEPS,
        watch: Callable[[Execution], None] | None = None,
    ) -> None:
        self.planner = planner
        self.controller = controller
        self.options = options
        self.max_steps = max_steps
        self.watch = watch
        self.simulations = Simulations(batch)

    def run(self, problems: Problems, arms: Sequence[str] = (PLANNER_ARM,)) -> tuple[list[Trial], Timing]:
        """All arms on the same problems; the timing is the planner's own."""
        trials: list[Trial] = []
        timing = Timing()
        proposal, starts, verdicts = None, problems.starts, None
        if starts is None:
            begin = time.perf_counter()
            proposal = self.propose(problems, problems.labels)
            timing += Timing(planning=time.perf_counter() - begin, plans=len(problems))
            verdicts = [verdict.reasons for verdict in check(proposal, problems.labels)]
            starts = Starts.proposed_by(proposal)
        for arm in arms:
            labels = control_labels(arm, problems.labels, problems.noise_seed)
            if arm == "random" and problems.starts is None:
                guess = self.propose(problems, labels)
                reasons = [verdict.reasons for verdict in check(guess, problems.labels)]
                trials += self._trials(arm, problems, labels, Starts.proposed_by(guess), guess, reasons)[0]
                continue
            warm = proposal if arm in (PLANNER_ARM, "actions") else None
            found, spent = self._trials(arm, problems, labels, starts, warm, verdicts)
            trials += found
            if arm == PLANNER_ARM:
                timing += spent
        return trials, timing

    def propose(self, problems: Problems, labels: Int[np.ndarray, "n 2"]) -> Plan:
        """One sample a query, nothing held, its noise of the problem's own seed."""
        generators = [torch.Generator().manual_seed(int(seed)) for seed in problems.noise_seed]
        return self.planner.sample(torch.from_numpy(labels), generators)

    def _place(self, starts: Starts, wanted: Bool[np.ndarray, " n"], reasons: list[tuple[str, ...]]) -> _Placed:
        """Put simulations where wanted trials start; a pose that the arm cannot reach is one more reason."""
        rows, observations = [], []
        for row in np.flatnonzero(wanted):
            try:
                observations.append(self.simulations.reset_row(len(rows), starts, int(row)))
                rows.append(row)
            except ValueError as error:
                reasons[row] = (*reasons[row], str(error))
        at = np.array(rows, dtype=np.int64)
        return _Placed(at, starts[at], np.array(observations).reshape(-1, STATE_SIZE))

    def _trials(
        self,
        arm: str,
        problems: Problems,
        labels: Int[np.ndarray, "n 2"],
        starts: Starts,
        proposal: Plan | None,
        verdicts: list[tuple[str, ...]] | None,
    ) -> tuple[list[Trial], Timing]:
        """One arm's trials. Where there are no verdicts yet, the first plan with start and goal held is judged."""
        reasons: list[tuple[str, ...]] = [()] * len(problems) if verdicts is None else list(verdicts)
        details: list[dict[str, Any]] = [{} for _ in reasons]
        if proposal is not None:
            details = [{"planned": path} for path in proposal.cube_position[..., :2]]
        placed = self._place(starts, np.array([not r for r in reasons]), reasons)
        timing = Timing()
        if len(placed.rows):
            seeds = problems.noise_seed[placed.rows]
            if arm == "oracle":
                first, run = None, replay_oracle(self.simulations, placed.starts, seeds, self.max_steps)
            else:
                plans = None if proposal is None else proposal[placed.rows]
                first, run = self._execute(arm, placed, labels[placed.rows], seeds, plans)
                if verdicts is None:
                    for row, verdict in zip(placed.rows, check(first.plan, problems.labels[placed.rows]), strict=True):
                        reasons[row] = verdict.reasons
                    timing += Timing(planning=first.seconds, plans=len(seeds))
            timing += Timing(acting=run.seconds_acting, stepping=run.seconds_stepping, steps=int(run.steps.sum()))
            found = _describe(run, judge(run, placed.starts.goal_position), first)
            for row, what in zip(placed.rows, found, strict=True):
                details[row] = what | details[row]
        query = [_query(arm, problems, row, starts) for row in range(len(problems))]
        return [_trial(q, r, d) for q, r, d in zip(query, reasons, details, strict=True)], timing

    def _execute(
        self,
        arm: str,
        placed: _Placed,
        labels: Int[np.ndarray, "placed 2"],
        seeds: Int[np.ndarray, " placed"],
        plans: Plan | None,
    ) -> tuple[FirstPlan, Rollout]:
        controller = PlannedActions() if arm == "actions" else self.controller
        execution = Execution(self.planner, controller, len(labels), self.options)
        noise = (seeds + 1).tolist()
        execution.begin(np.arange(len(labels)), labels, placed.starts.goal_position, noise, plans)
        first = FirstPlan(execution, self.watch)
        return first, rollout(self.simulations, placed.starts, first, self.max_steps, placed.observations)


def _query(arm: str, problems: Problems, row: int, starts: Starts) -> dict[str, Any]:
    """What was asked for, by the names of :class:`Trial`."""
    source, target = (int(label) for label in problems.labels[row])
    ends = starts.cube_position[row], starts.goal_position[row]
    return {
        "arm": arm,
        "cell": problems.cell,
        "index": int(problems.index[row]),
        "source": QUADRANTS[source],
        "target": QUADRANTS[target],
        "kind": pair_kind(source, target),
        "noise_seed": int(problems.noise_seed[row]),
        "start": (float(ends[0][0]), float(ends[0][1])),
        "goal": (float(ends[1][0]), float(ends[1][1])),
    }


def _trial(query: dict[str, Any], reasons: tuple[str, ...], details: dict[str, Any]) -> Trial:
    strict = details.pop("strict", False)
    return Trial(
        feasible=not reasons,
        reasons=reasons,
        success=not reasons and details.get("reached", False),
        success_strict=not reasons and strict,
        **query,
        **details,
    )


def _describe(run: Rollout, outcome: Outcome, first: FirstPlan | None) -> list[dict[str, Any]]:
    """What happened in each trial that was executed, by the names of :class:`Trial`, and whether by the strict rule."""
    rows = []
    for i in range(len(run.steps)):
        row: dict[str, Any] = {
            "at_start": bool(outcome.at_start[i]),
            "reached": bool(outcome.reached[i]),
            "strict": bool(outcome.strict[i]),
            "released": bool(outcome.released[i]),
            "at_rest": bool(outcome.at_rest[i]),
            "on_floor": bool(outcome.on_floor[i]),
            "first_touch": int(outcome.first_touch[i]),
            "steps": int(run.steps[i]),
            "distance": float(outcome.distance[i]),
            "executed": run.cube_path[i, : run.steps[i] + 1, :2],
        }
        if first is not None:
            plan = first.plan
            until = min(plan.horizon, int(run.steps[i]) + 1)
            effector = run.effector_path[i, :until] - plan.effector_position[i, :until]
            cube = run.cube_path[i, :until] - plan.cube_position[i, :until]
            row |= {
                "plans": int(first.execution.plans[i]),
                "replans": int(first.execution.replans[i]),
                "effector_gap": float(np.linalg.norm(effector, axis=1).mean()),
                "cube_gap": float(np.linalg.norm(cube, axis=1).mean()),
                "start_jump": float(np.linalg.norm(plan.cube_position[i, 1] - plan.cube_position[i, 0])),
                "goal_jump": float(np.linalg.norm(plan.cube_position[i, -1] - plan.cube_position[i, -2])),
                "planned": plan.cube_position[i, :, :2],
            }
        rows.append(row)
    return rows
