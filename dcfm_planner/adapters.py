"""The agent under the signatures that other libraries call, for their evaluation loops.

========================  =============================================================================================
:class:`OGBenchPolicy`    ``sample_actions(observations, goals, seed, temperature)``, as OGBench's agents have it
:class:`PredictPolicy`    ``predict(observation, state, episode_start, deterministic)``, as Stable-Baselines3's have it
========================  =============================================================================================

Neither library is needed. Both loops call a policy that has no memory and do not say when an episode begins (OGBench)
or say it late (Stable-Baselines3 keeps an old flag in rows that it counts no more); the agent follows a plan and has to
know. So a row begins an episode where its goal is another one than before, where ``episode_start`` turns true, and
where the arm's joint velocities are exactly zero: a reset puts them there, and no simulated step does.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from dcfm_planner.agent import Action, PlannerAgent
from dcfm_planner.query import at_reset, batched, goal_positions


class _Memory:
    """What an agent has to remember between the calls of a loop that tells it nothing."""

    def __init__(self, agent: PlannerAgent) -> None:
        self.agent = agent
        self._goals = np.empty((0, 3))
        self._flags = np.empty(0, dtype=bool)
        self._shape: tuple[int, ...] = ()

    def forget(self) -> None:
        """Let every row begin at the next call."""
        self._shape = ()

    def act(
        self, observation: Float[np.ndarray, "*batch 28"], goal: Any, flags: np.ndarray | None, seed: int | None
    ) -> Action:
        observations, _ = batched(observation)
        goals = goal_positions(goal, len(observations))
        flags = np.zeros(len(observations), dtype=bool) if flags is None else np.asarray(flags, dtype=bool)
        if flags.shape != (len(observations),):
            raise ValueError(f"episode_start of shape {flags.shape} for {len(observations)} rows; give one a row")
        if self._shape != observation.shape:
            self.agent.reset(observation, goal=goals, seed=seed)
        else:
            begun = at_reset(observations) | (goals != self._goals).any(axis=1) | (flags & ~self._flags)
            if begun.all():
                self.agent.reset(observation, goal=goals, seed=seed)
            elif begun.any():
                self.agent.reset(observation, goal=goals, seed=seed, mask=begun)
        self._shape, self._goals, self._flags = observation.shape, goals, flags
        return self.agent.act(observation)


class OGBenchPolicy:
    """The agent as OGBench's evaluation loop calls its own (``impls/utils/evaluation.py``).

    That loop compiles the agent with ``jax.jit``; a torch agent needs the loop without (``actor_fn`` calls
    ``agent.sample_actions`` and nothing else), as in :mod:`dcfm_planner.evaluation.ogbench`.

    Args:
        agent: made, not yet reset.
    """

    def __init__(self, agent: PlannerAgent) -> None:
        self.agent = agent
        self._memory = _Memory(agent)

    def reset(self) -> None:
        """Begin anew at the next call, for loops that can say so."""
        self._memory.forget()

    def sample_actions(
        self,
        observations: Float[np.ndarray, "*batch 28"],
        goals: Any = None,
        seed: Any = None,
        temperature: float | int = 1.0,
    ) -> Action:
        """The next action, or one a row.

        Args:
            observations: OGBench's state vector, or a batch.
            goals: a goal observation (or a cube position, m), one for all or one a row.
            seed: an integer or a JAX key, read where an episode begins; without one, the agent's noise goes on.
            temperature: not used: a plan is a sample, and there is no cheap mode of a flow.

        Raises:
            ValueError: no goal, wrong shapes, or a seed that is none.
        """
        if goals is None:
            raise ValueError("no goals: pass goals=info['goal'] of the environment's reset")
        try:
            entropy = None if seed is None else np.asarray(seed, dtype=np.uint64).ravel().tolist()
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"seed={seed!r}: give an integer of at least 0, or a JAX key") from error
        number = None if entropy is None else int(np.random.SeedSequence(entropy).generate_state(1, np.uint32)[0])
        return self._memory.act(np.asarray(observations), goals, None, number)


class PredictPolicy:
    """The agent as Stable-Baselines3's loops call a model, ``evaluate_policy`` among them.

    Args:
        agent: made, not yet reset.
        goal: where the cube should go: a goal observation or a position (m), one for all rows or one a row, or a
            function of no arguments that returns such. Not needed where observations are dictionaries with
            ``observation`` and ``desired_goal``.
    """

    def __init__(self, agent: PlannerAgent, goal: Any | Callable[[], Any] = None) -> None:
        self.agent = agent
        self.goal = goal
        self._memory = _Memory(agent)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[Float32[np.ndarray, "*batch 5"], tuple[np.ndarray, ...] | None]:
        """The next action, or one a row, and ``state`` as it was given: the agent remembers by itself.

        Args:
            observation: OGBench's state vector, a batch, or a dictionary of ``observation`` and ``desired_goal``.
            state: passed through.
            episode_start: rows whose episode begins, if known.
            deterministic: not used: a plan is a sample, and its seed is the agent's.

        Raises:
            ValueError: no goal, or wrong shapes.
        """
        goal = self.goal() if callable(self.goal) else self.goal
        if isinstance(observation, dict):
            if "observation" not in observation:
                raise ValueError(f"an observation of {', '.join(observation)}; it needs 'observation', OGBench's state")
            goal = observation.get("desired_goal", goal)
            observation = observation["observation"]
        if goal is None:
            raise ValueError("no goal: make PredictPolicy(agent, goal=...), or give observations with 'desired_goal'")
        return self._memory.act(np.asarray(observation), goal, episode_start, None), state
