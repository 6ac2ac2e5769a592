"""The hierarchical bootstrap: an interval that holds for another training and other problems, not only for other noise.

Trials of one training share its weights, and trials of one problem what makes it hard: all trainings are tried on the
same problems, where success goes together. So trials of several trainings are no independent sample. Each draw takes as
many trainings as there are, with replacement, and as many problems as there are, with replacement, the same ones for
every training that it took (Davison & Hinkley 1997, Section 3.8, for the former); the interval is the percentiles of
the draws' means over all their trials. Of two or three trainings it is too narrow where they differ by more than their
trials' noise, since of the variance between ``S`` trainings it has ``(S - 1) / S``, and too wide where they do not: the
trials' own noise counts ``(3 S - 2) / S`` times, twice of two; what a problem decides for all trainings counts once.
"""

import numpy as np
from jaxtyping import Bool, Float

DRAWS = 10_000


def hierarchical_interval(
    values: Float[np.ndarray, "trainings problems"],
    counted: Bool[np.ndarray, "trainings problems"],
    generator: np.random.Generator,
    draws: int = DRAWS,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the mean of all trials that count.

    Args:
        values: each training's trials, by problem: 0 and 1 for successes, -1 to 1 for differences.
        counted: which trials count.
        generator: of the draws.
        draws: how many.
        level: the confidence, between 0 and 1.

    Raises:
        ValueError: no trainings, one without trials that count, or a level out of range.
    """
    if not counted.any(1).all() or not len(counted):
        raise ValueError(f"trainings of {counted.sum(1).tolist()} trials; give one or more, each with trials")
    if not 0 < level < 1:
        raise ValueError(f"level = {level}; give a confidence between 0 and 1, such as 0.95")
    size, asked = len(counted), counted.any(0)
    times = generator.multinomial(size, np.full(size, 1 / size), size=draws)  # how often each training is drawn
    # n of n problems with replacement are one multinomial draw of n over the distinct columns of outcomes.
    columns = np.concatenate([np.where(counted, values, 0.0), counted])[:, asked]
    distinct, number = np.unique(columns, axis=1, return_counts=True)
    drawn = generator.multinomial(asked.sum(), number / asked.sum(), size=draws)
    total, trials = ((times * (drawn @ part.T)).sum(1) for part in np.split(distinct, 2))
    some = trials > 0  # of few problems, a draw may take those alone that count in no training that it took
    low, high = np.quantile(total[some] / trials[some], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
