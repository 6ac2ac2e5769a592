"""Controls: the same problems by other means, so that what composition adds can be told from what is given anyway.

===========  ==========================================================================================================
``oracle``   OGBench's scripted oracle from the same start to the same goal: what the arm and the rules allow at best
``random``   the planner is asked for quadrants drawn at random and judged by the query: what luck gives
``null``     start and goal held, no quadrants asked for: what the given positions do alone
``wrong``    start and goal held, both quadrants wrong: whether the labels matter once positions are given
``actions``  the planned actions executed as they are, in place of tracking the planned effector path
===========  ==========================================================================================================
"""

import time
from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Int

from dcfm_envs.collection import ORACLE_NOISE, ORACLE_NOISE_SMOOTHING, seeded_global_numpy
from dcfm_planner.evaluation.rollout import MAX_STEPS, Rollout
from dcfm_planner.evaluation.simulation import Simulations, Starts
from dcfm_planner.layout import STATE_COLUMNS, state_features
from dcfm_planner.quadrants import QUADRANTS

CONTROLS: Final = ("oracle", "random", "null", "wrong", "actions")


def control_labels(
    control: str,
    labels: Int[np.ndarray, "n k"],
    seeds: Int[np.ndarray, " n"],
    cardinalities: Sequence[int] = (len(QUADRANTS), len(QUADRANTS)),
) -> Int[np.ndarray, "n k"]:
    """The labels that a control's planner is given in place of the query's.

    Args:
        control: ``random`` (uniform), ``wrong`` (uniform among those wrong in all), ``null``; others keep the query's.
        labels: the query's.
        seeds: of each problem.
        cardinalities: values of each attribute.
    """
    if control == "null":
        return np.broadcast_to(np.asarray(cardinalities), labels.shape).copy()
    if control not in ("random", "wrong"):
        return labels
    least = 0 if control == "random" else 1
    generators = [np.random.default_rng([int(seed), CONTROLS.index(control)]) for seed in seeds]
    drawn = np.array([[g.integers(least, n) for n in cardinalities] for g in generators]).reshape(labels.shape)
    return drawn if control == "random" else (labels + drawn) % np.asarray(cardinalities)


def replay_oracle(
    simulations: Simulations, starts: Starts, seeds: Int[np.ndarray, " n"], max_steps: int = MAX_STEPS
) -> Rollout:
    """OGBench's plan oracle, with the noise that play data is collected with, from given starts to given goals.

    Where a pick-and-place is over, the cube is not at the goal and steps are left, it begins another one, as the
    planner does.
    """
    from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

    env = simulations.environment
    oracle = CubePlanOracle(env=env, noise=ORACLE_NOISE, noise_smoothing=ORACLE_NOISE_SMOOTHING)
    states = np.empty((len(starts), max_steps + 1, STATE_COLUMNS))
    steps = np.zeros(len(starts), dtype=np.int64)
    acting = stepping = 0.0
    for row, seed in enumerate(seeds):
        with seeded_global_numpy(int(seed) % 2**32):
            observation, info = env.reset(seed=0, options=starts.options(row))
            oracle.reset(observation, info)
            states[row] = state_features(observation)
            for step in range(max_steps):
                begin = time.perf_counter()
                action = oracle.select_action(observation, info)
                acted = time.perf_counter()
                observation, _, _, _, info = env.step(action)
                steps[row] += 1
                states[row, step + 1 :] = state_features(observation)
                acting, stepping = acting + acted - begin, stepping + time.perf_counter() - acted
                if oracle.done:
                    if info["success"]:
                        break
                    oracle.reset(observation, info)
    return Rollout(states, steps, acting, stepping)
