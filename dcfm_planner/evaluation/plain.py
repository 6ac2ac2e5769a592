"""Trials of any domain that can check a plan and execute it: one plan a problem, executed to its end, judged.

``protocol=paper``: the plan proposes its own start and goal. ``protocol=given``: the domain draws both, and they are
held. Controls: ``random`` (asked for values drawn at random), ``null`` (for none) and ``wrong`` (for wrong ones), each
judged by the query.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int

from dcfm_planner.controllers import TrackEffector
from dcfm_planner.domain import Executable, lacking, split
from dcfm_planner.evaluation.controls import control_labels
from dcfm_planner.evaluation.picture import draw_paths
from dcfm_planner.evaluation.problems import PROTOCOLS, ProblemError, Problems, spread
from dcfm_planner.evaluation.success import NEVER
from dcfm_planner.evaluation.trials import PLANNER_ARM, Timing
from dcfm_planner.execution import ExecutionOptions
from dcfm_planner.planner import HeldEntries, Planner

if TYPE_CHECKING:
    from dcfm_planner.evaluation.run import EvaluationSettings

NAN: Final = float("nan")


@dataclass(frozen=True)
class PlainTrial:
    """One problem by one arm; see :class:`~dcfm_planner.evaluation.trials.Trial` for what is named as there.

    Attributes:
        combination: what was asked for, its values joined by ``-``.
        distance: between the layout's goal columns at the plan's end and after the last step.
        start, goal: the first two numbers of the goal's column where the plan starts and ends.
        planned, executed: the same all along.
    """

    arm: str
    cell: str
    index: int
    combination: str
    noise_seed: int
    feasible: bool
    reasons: tuple[str, ...]
    at_start: bool = False
    reached: bool = False
    success: bool = False
    success_strict: bool = False
    first_touch: int = NEVER
    steps: int = 0
    distance: float = NAN
    start: tuple[float, float] = (NAN, NAN)
    goal: tuple[float, float] = (NAN, NAN)
    planned: Float[np.ndarray, "horizon 2"] = field(default_factory=lambda: np.empty((0, 2)), repr=False)
    executed: Float[np.ndarray, "times 2"] = field(default_factory=lambda: np.empty((0, 2)), repr=False)


@dataclass(frozen=True)
class PlainEvaluation:
    """A :class:`dcfm_planner.domain.Evaluation` of a domain that is :class:`~dcfm_planner.domain.Executable`."""

    domain: Executable

    def __post_init__(self) -> None:
        if missing := lacking(self.domain, Executable):
            raise ProblemError(
                f"{type(self.domain).__name__} has no {', '.join(missing)}, which its PlainEvaluation asks for; "
                "dcfm_planner.domain.Executable says what they are"
            )

    @property
    def controls(self) -> tuple[str, ...]:
        return ("random", "null", "wrong")

    @property
    def max_steps(self) -> int:
        return self.domain.max_steps

    @property
    def kinds(self) -> tuple[str, ...]:
        return ()

    @property
    def gaps(self) -> tuple[str, ...]:
        return ()

    @property
    def reasons(self) -> Mapping[str, str]:
        return {}

    def problems(self, settings: "EvaluationSettings") -> dict[str, Problems]:
        goal = self.domain.layout.columns[self.domain.layout.goal]
        if goal.stop - goal.start < 2:  # start, goal and paths are shown and kept as points of the plane
            raise ProblemError(
                f"{self.domain.name}: the goal column {goal.name!r} has one number; give it two, the second of which "
                "may be 0 everywhere"
            )
        if settings.protocol not in PROTOCOLS:
            raise ProblemError(f"unknown protocol {settings.protocol!r}; the protocols are {', '.join(PROTOCOLS)}")
        asked = (settings.controller, settings.lookahead, settings.options)
        if asked != ("track", TrackEffector.lookahead, ExecutionOptions()):
            raise ProblemError(
                "controller, lookahead, replan_every, warm_start and stray_distance are the cube's: "
                f"{self.domain.name} executes a plan by its own controller, to its end"
            )
        cells = {cell: labels.numpy() for cell, labels in split(self.domain).items()}
        return spread(cells, settings.trials, settings.seed)

    def bench(self, planner: Planner, settings: "EvaluationSettings", batch: int) -> "PlainBench":
        return PlainBench(self.domain, planner, settings.protocol == "given", settings.limit)

    def describe(self, settings: "EvaluationSettings") -> dict[str, Any]:
        return {}

    def draw(self, trials: Sequence[PlainTrial], path: Path) -> None:
        draw_paths(trials, path, self.domain.scene)


@dataclass(frozen=True)
class PlainBench:
    """A :class:`dcfm_planner.domain.Bench`.

    Args:
        domain: whose plans are tried.
        planner: to be judged.
        given: hold starts and goals that the domain draws.
        max_steps: control steps a trial.
    """

    domain: Executable
    planner: Planner
    given: bool
    max_steps: int

    def run(self, problems: Problems, arms: Sequence[str] = (PLANNER_ARM,)) -> tuple[list[PlainTrial], Timing]:
        """All arms on the same problems; the timing is the planner's own."""
        trials: list[PlainTrial] = []
        timing = Timing()
        held = self._held(problems) if self.given else None
        for arm in arms:
            begin = time.perf_counter()
            asked = control_labels(arm, problems.labels, problems.noise_seed, self.domain.space.cardinalities)
            noise = [torch.Generator().manual_seed(int(seed)) for seed in problems.noise_seed]
            plans = self.domain.layout.parts(self.planner.trajectories(torch.from_numpy(asked), noise, held))
            planned = time.perf_counter()
            found = [self._trial(arm, problems, i, {n: p[i] for n, p in plans.items()}) for i in range(len(problems))]
            trials += found
            if arm == PLANNER_ARM:
                seconds, steps = time.perf_counter() - planned, sum(trial.steps for trial in found)
                # Where start and goal are held, the cost of acting has the plan in it, as the cube's has.
                planning = planned - begin
                timing += Timing(planning, len(problems), planning if self.given else 0.0, seconds, steps)
        return trials, timing

    def _held(self, problems: Problems) -> HeldEntries:
        """Starts and goals that depend on a problem's cell and number alone, not on the noise's seed."""
        cell = list(split(self.domain)).index(problems.cell)
        rngs = [np.random.default_rng([cell, int(index)]) for index in problems.index]
        ends = [self.domain.draw_ends(row, rng) for row, rng in zip(problems.labels.tolist(), rngs, strict=True)]
        starts, goals = (np.stack([np.asarray(pair[i], dtype=np.float64) for pair in ends]) for i in (0, 1))
        if not (np.isfinite(starts).all() and np.isfinite(goals).all()):
            raise ProblemError(f"{self.domain.name}: draw_ends() gave starts or goals that are not finite")
        none = HeldEntries.none(len(problems), self.planner.horizon, self.domain.layout)
        return none.with_history(starts[:, None]).with_goal(goals)

    def _reasons(self, plan: Mapping[str, np.ndarray], labels: Int[np.ndarray, " k"]) -> tuple[str, ...]:
        found = self.domain.check(plan, labels.tolist())
        if isinstance(found, str) or not isinstance(found, Sequence) or any(not isinstance(r, str) for r in found):
            raise ProblemError(
                f"{self.domain.name}: check() gave {found!r}; it gives a sequence of reasons, perhaps empty"
            )
        return tuple(found)

    def _check_run(self, states: np.ndarray, reached: np.ndarray) -> None:
        """An execution that is not what it says would make a wrong table."""
        least = self.domain.layout.columns[self.domain.layout.goal].stop
        wide = states.ndim == 2 and states.shape[1] >= least
        if not wide or reached.shape != states.shape[:1] or not 1 <= len(reached) <= self.max_steps + 1:
            raise ProblemError(
                f"{self.domain.name}: execute() gave states of shape {states.shape}, reached of shape {reached.shape}; "
                f"both have a row a time, 1 to {self.max_steps + 1}, and a state at least {least} numbers"
            )

    def _trial(self, arm: str, problems: Problems, i: int, plan: Mapping[str, np.ndarray]) -> PlainTrial:
        labels: Int[np.ndarray, " k"] = problems.labels[i]
        layout = self.domain.layout
        column = layout.columns[layout.goal].slice
        path = plan[layout.goal]
        reasons = self._reasons(plan, labels)
        details: dict[str, Any] = {}
        if not reasons:
            done = self.domain.execute(plan, labels.tolist(), self.max_steps)
            reached = np.asarray(done.reached)
            self._check_run(np.asarray(done.states), reached)
            details = {
                "at_start": bool(reached[0]),
                "reached": bool(reached[-1]),
                "success": bool(reached[-1]),
                "success_strict": bool(done.strict),
                "first_touch": int(reached.argmax()) if reached.any() else NEVER,
                "steps": len(reached) - 1,
                "distance": float(np.linalg.norm(done.states[-1, column] - path[-1])),
                "executed": done.states[:, column][:, :2],
            }
        return PlainTrial(
            arm=arm,
            cell=problems.cell,
            index=int(problems.index[i]),
            combination="-".join(v[n] for v, n in zip(self.domain.space.values, labels.tolist(), strict=True)),
            noise_seed=int(problems.noise_seed[i]),
            feasible=not reasons,
            reasons=reasons,
            start=(float(path[0, 0]), float(path[0, 1])),
            goal=(float(path[-1, 0]), float(path[-1, 1])),
            planned=path[:, :2],
            **details,
        )
