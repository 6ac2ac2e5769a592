"""Intervals: of a share, which ``k`` successes of ``n`` trials estimate, and of a mean of several runs."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student_t
from statsmodels.stats.proportion import proportion_confint


def wilson(successes: int | float, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a probability (Wilson 1927), ``(low, high)`` within ``[0, 1]``.

    Unlike ``p +- z sqrt(p (1 - p) / n)`` it keeps its level near 0 and 1. No trials say nothing: ``(0, 1)``. It begins
    at 0 exactly where nothing succeeded, and ends at 1 exactly where everything did.

    Args:
        successes: ``k``, from 0 to ``trials``; a mean of several counts need not be whole.
        trials: ``n``.
        level: the confidence, between 0 and 1.

    Raises:
        ValueError: counts or level out of range.

    >>> [round(bound, 3) for bound in wilson(270, 300)]
    [0.861, 0.929]
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials; give 0 <= successes <= trials")
    if not 0 < level < 1:
        raise ValueError(f"level = {level}; give a confidence between 0 and 1, such as 0.95")
    if trials == 0:
        return 0.0, 1.0
    bounds = proportion_confint(successes, trials, alpha=1 - level, method="wilson")
    low, high = np.clip(np.asarray(bounds, dtype=float), 0, 1)
    # The formula's own 0 and 1 are off by a rounding error, outside of which the rate would lie.
    return 0.0 if successes == 0 else float(low), 1.0 if successes == trials else float(high)


def share(k: int, n: int) -> dict[str, Any]:
    """``k`` of ``n`` as plain data: with the rate, ``None`` of no trials, and its 95 % Wilson interval.

    >>> share(270, 300)["rate"]
    0.9
    """
    low, high = wilson(k, n)
    return {"k": k, "n": n, "rate": k / n if n else None, "low": low, "high": high}


def mean_interval(values: Sequence[float], level: float = 0.95) -> dict[str, float]:
    """Mean of runs with independent seeds, with Student's interval of it; of one run, the mean alone.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("a mean of no values was asked for; give at least one")
    mean = statistics.fmean(values)
    found = {"mean": mean, "least": min(values), "runs": len(values)}
    if len(values) > 1:
        half = float(student_t.ppf((1 + level) / 2, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
        found |= {"low": mean - half, "high": mean + half}
    return found
