"""Rollouts: a policy and a batch of simulations in lock step, and the paths that came of it."""

import time
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from dcfm_planner.evaluation.simulation import Simulations, Starts
from dcfm_planner.layout import COLUMNS, state_features

MAX_STEPS: Final = 200
"""OGBench's limit for one cube."""


@runtime_checkable
class Policy(Protocol):
    """What a rollout executes; :class:`dcfm_planner.execution.Execution` is one.

    ``finished`` tells, after a call of ``act``, which rows have nothing left to do.
    """

    @property
    def finished(self) -> Bool[np.ndarray, " batch"]: ...

    def act(
        self, observation: Float[np.ndarray, "batch 28"], active: Bool[np.ndarray, " batch"] | None = None
    ) -> Float[np.ndarray, "batch 5"]: ...


@dataclass(frozen=True)
class Rollout:
    """What happened in a batch of trials.

    Attributes:
        states: state columns (SI units, ``dcfm_planner.layout``) before each step and after the last one; a trial that
            ended early stays at its last state.
        steps: control steps taken by each trial.
        seconds_acting: spent in the policy, by all trials together.
        seconds_stepping: spent in the environment.
    """

    states: Float[np.ndarray, "batch times 12"]
    steps: Int[np.ndarray, " batch"]
    seconds_acting: float
    seconds_stepping: float

    @property
    def cube_path(self) -> Float[np.ndarray, "batch times 3"]:
        """m."""
        return self.states[..., COLUMNS["cube_position"].slice]

    @property
    def effector_path(self) -> Float[np.ndarray, "batch times 3"]:
        """m."""
        return self.states[..., COLUMNS["effector_position"].slice]


def rollout(
    simulations: Simulations,
    starts: Starts,
    policy: Policy,
    max_steps: int = MAX_STEPS,
    observations: Float[np.ndarray, "batch 28"] | None = None,
) -> Rollout:
    """Execute a policy from given starts until every trial is finished or out of steps.

    Args:
        simulations: at least as many as starts.
        starts: where the trials start.
        policy: begun, one row a start.
        max_steps: at most so many control steps a trial.
        observations: of simulations that are at their starts already; they are reset if not given.
    """
    batch = len(starts)
    current = simulations.reset(starts) if observations is None else observations.copy()
    states = np.empty((batch, max_steps + 1, state_features(current).shape[-1]))
    states[:, 0] = state_features(current)
    steps = np.zeros(batch, dtype=np.int64)
    active = np.ones(batch, dtype=bool)
    acting = stepping = 0.0
    for step in range(max_steps):
        begin = time.perf_counter()
        actions = policy.act(current, active)
        active &= ~policy.finished
        acted = time.perf_counter()
        for row in np.flatnonzero(active):
            current[row] = simulations.step(int(row), actions[row])
        steps[active] += 1
        states[:, step + 1] = state_features(current)
        acting, stepping = acting + acted - begin, stepping + time.perf_counter() - acted
        if not active.any():
            states[:, step + 2 :] = states[:, step + 1 : step + 2]
            break
    return Rollout(states, steps, acting, stepping)
