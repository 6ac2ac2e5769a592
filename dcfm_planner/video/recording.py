"""Rollouts remembered: where all joints were at every step, and which plan was followed from when on.

A recording is a trial of an evaluation: problem ``k`` of a pair is the same start, goal and noise as in
``scripts/plan_eval.py`` with that protocol and seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dcfm_envs.scene import CONTROL_PERIOD, CUBE_REST_HEIGHT, SUCCESS_RADIUS
from dcfm_planner.controllers import Controller
from dcfm_planner.evaluation.problems import CELLS, ProblemError, Problems, make_problems, read_given
from dcfm_planner.evaluation.rollout import MAX_STEPS
from dcfm_planner.evaluation.trials import Trial, Workbench
from dcfm_planner.execution import Execution, ExecutionOptions
from dcfm_planner.plan import Plan
from dcfm_planner.planner import Planner

CUBE_QPOS = slice(14, 17)
"""Where the cube's position lies among the joint positions, after 6 of the arm and 8 of the fingers."""


@dataclass(frozen=True)
class Recording:
    """One trial, step by step.

    Attributes:
        title: whose plan it is.
        trial: what was asked for and what came of it.
        qpos: joint positions before each step and after the last one; one row, the scene at rest, where nothing was
            executed.
        plans: plans of one row, each with the step from which on it was followed; the proposal where nothing was
            executed.
    """

    title: str
    trial: Trial
    qpos: Float[np.ndarray, "times positions"]
    plans: tuple[tuple[int, Plan], ...]

    @property
    def pair(self) -> str:
        """Source and target, e.g. ``TL-BR``."""
        return f"{self.trial.source}-{self.trial.target}"

    @property
    def executed(self) -> bool:
        """Whether a plan was executed: an infeasible one is where start and goal are given, and fails all the same."""
        return math.isfinite(self.trial.distance)

    @property
    def cube(self) -> Float[np.ndarray, "times 3"]:
        """Where the cube was (m)."""
        return self.qpos[:, CUBE_QPOS]

    @property
    def goal(self) -> Float[np.ndarray, "3"]:
        """Where it should go (m)."""
        return np.array([*self.trial.goal, CUBE_REST_HEIGHT])

    def plan_at(self, step: int) -> Plan:
        """The plan that is followed at a step."""
        return [plan for begun, plan in self.plans if begun <= step][-1]

    def distance_at(self, step: int) -> float:
        """m between cube and goal before a step."""
        return float(np.linalg.norm(self.cube[step] - self.goal))

    def status_at(self, step: int) -> str:
        """A line for people about a step."""
        if not self.executed:
            return "not executed"
        text = f"{CONTROL_PERIOD * step:4.1f} s   cube {100 * self.distance_at(step):4.1f} cm from the goal"
        if step == len(self.qpos) - 1:
            return text + ("   success" if self.trial.success else "   no success")
        return text + ("   within 4 cm" if self.distance_at(step) <= SUCCESS_RADIUS else "")


def choose_pairs(given: object) -> tuple[tuple[str, str], ...]:
    """Pairs of quadrants from what people write.

    Args:
        given: ``novel``, ``known``, ``all``, or names such as ``TL-BR``.

    Raises:
        ProblemError: an unknown word or pair.
    """
    everything = tuple(pair for pairs in CELLS.values() for pair in pairs)
    if not isinstance(given, Sequence):
        raise ProblemError(f"pairs={given}: give novel, known, all, or names such as TL-BR")
    if given == "all":
        return everything
    if isinstance(given, str) and given in CELLS:
        return CELLS[given]
    names = {f"{source}-{target}": (source, target) for source, target in everything}
    words = [given] if isinstance(given, str) else list(given)
    if unknown := [word for word in words if word not in names] or ([] if words else ["nothing"]):
        raise ProblemError(
            f"pairs: {', '.join(map(str, unknown))}; give novel, known, all, or some of {', '.join(names)}"
        )
    return tuple(names[word] for word in dict.fromkeys(words))


def choose_problem(pair: tuple[str, str], protocol: str, number: int, seed: int) -> Problems:
    """Problem ``number`` of a pair: one of those that an evaluation with that seed has.

    Raises:
        ProblemError: an unknown protocol, or a number that cannot be.
    """
    if number < 0 or seed < 0:
        raise ProblemError(f"problem={number}, seed={seed}: give 0 or more of both")
    cell = next(cell for cell, pairs in CELLS.items() if pair in pairs)
    index = CELLS[cell].index(pair) + number * len(CELLS[cell])
    if protocol == "given" and index >= (there := len(read_given()[cell])):
        raise ProblemError(
            f"problem={number}: of {'-'.join(pair)} there are {there // len(CELLS[cell])} given problems, from 0"
        )
    return make_problems(protocol, index + 1, seed)[cell].chunks(1)[index]


class Recorder:
    """Executes problems one at a time and remembers each step.

    Args:
        controller: from plan and observation to action.
        options: of the execution.
        max_steps: control steps, at most.
    """

    def __init__(
        self, planner: Planner, controller: Controller, options: ExecutionOptions, max_steps: int = MAX_STEPS
    ) -> None:
        self.bench = Workbench(planner, controller, options, 1, max_steps, watch=self._watch)
        self._qpos: list[np.ndarray] = []
        self._plans: list[tuple[int, Plan]] = []

    def use(self, planner: Planner) -> None:
        """Execute another planner's plans from now on; building the scene takes seconds, so it is kept."""
        self.bench.planner = planner

    def record(self, problem: Problems, title: str) -> Recording:
        """Plan, execute, and remember.

        Args:
            problem: one.
            title: whose plan it is, for captions.
        """
        self._qpos, self._plans = [], []
        trial = self.bench.run(problem)[0][0]
        if not self._plans:
            self._plans.append((0, self.bench.propose(problem, problem.labels)))
        if not self._qpos:
            self._qpos.append(self._at_rest(trial))
        elif len(self._qpos) <= trial.steps:  # out of steps: nobody acted after the last one
            self._qpos.append(self.bench.simulations.qpos(0))
        # The proposal is what is judged infeasible; where start and goal are given, it is the first plan with them.
        return Recording(title, trial, np.array(self._qpos), tuple(self._plans))

    def _at_rest(self, trial: Trial) -> Float[np.ndarray, " positions"]:
        """The scene where nothing is executed: the arm where a reset puts it, the cube where the plan starts."""
        simulations = self.bench.simulations
        simulations.environment.reset(seed=0)
        qpos = simulations.environment.data.qpos.copy()
        qpos[CUBE_QPOS] = [*trial.start, CUBE_REST_HEIGHT]
        return qpos

    def _watch(self, execution: Execution) -> None:
        made = int(execution.plans[0] + execution.replans[0])
        if made > len(self._plans):
            self._plans.append((len(self._qpos), execution.plan[0]))
        self._qpos.append(self.bench.simulations.qpos(0))
