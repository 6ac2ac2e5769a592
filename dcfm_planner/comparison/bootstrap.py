"""The hierarchical bootstrap: an interval that holds for another training, not only for another trial.

Trials of one training share its weights, so trials of several trainings are no independent sample. Each draw takes as
many trainings as there are, with replacement, and within each of these as many trials as it has, with replacement
(Davison & Hinkley 1997, Section 3.8); the interval is the percentiles of the draws' means over all their trials. With
two or three trainings it is narrower than it should be (their spread is underestimated by a factor ``(S - 1) / S`` in
variance): read it as a lower bound on what is not known.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

DRAWS = 10_000


def hierarchical_interval(
    groups: Sequence[Float[np.ndarray, " _"]], generator: np.random.Generator, draws: int = DRAWS, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of all trials.

    Args:
        groups: each training's trials: 0 and 1 for successes, -1 to 1 for differences.
        generator: of the draws.
        draws: how many.
        level: the confidence, between 0 and 1.

    Raises:
        ValueError: no groups, a group without trials, or a level out of range.
    """
    if not groups or any(len(group) == 0 for group in groups):
        raise ValueError(f"groups of {[len(g) for g in groups]} trials; give one or more, each with trials")
    if not 0 < level < 1:
        raise ValueError(f"level = {level}; give a confidence between 0 and 1, such as 0.95")
    size = len(groups)
    times = generator.multinomial(size, np.full(size, 1 / size), size=draws)  # how often each training is drawn
    total = np.zeros(draws)
    for group, drawn in zip(groups, times.T, strict=True):
        # n of n trials with replacement, m times over, are one multinomial draw of m n over the distinct values.
        values, counts = np.unique(group, return_counts=True)
        total += generator.multinomial(drawn * len(group), counts / len(group)) @ values
    trials = times @ np.array([len(group) for group in groups])
    low, high = np.quantile(total / trials, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
