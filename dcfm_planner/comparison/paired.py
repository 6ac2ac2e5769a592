"""Two methods on the same problems: the exact McNemar test, Holm's correction, and an interval for the difference.

Of ``n`` problems let the first method alone succeed in ``b`` and the second alone in ``c``. If both are equally good,
each discordant problem is a fair coin: ``b ~ Binomial(b + c, 1/2)`` (McNemar 1947, exact). The difference of the
success rates is ``(b - c) / n``; its interval is Newcombe's (1998, method 10): Wilson's intervals of the two rates,
combined under their correlation.

After several trainings the problems are the same, so that what a problem decides it decides several times over. Then
the problems, not their trials, are what is independent: if both methods are equally good, the sum of a problem's
differences over all trainings is as likely as its negative. The sign-flip test (Fisher 1935) is exact under that, and
McNemar's where there is one training. What it is about are the networks that were trained, tried on other problems: a
training's luck moves all its problems at once, so where two methods are equally good but their trainings differ, p is
small far too often. Of another training the interval alone tells (:mod:`dcfm_planner.comparison.bootstrap`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Bool, Int
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar

from dcfm.metrics.intervals import wilson


@dataclass(frozen=True)
class Counts:
    """Problems by who succeeds in them."""

    both: int
    first_only: int
    second_only: int
    neither: int

    @classmethod
    def of(cls, first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]) -> "Counts":
        """Count successes on the same ``n`` problems."""
        return cls(
            int((first & second).sum()),
            int((first & ~second).sum()),
            int((~first & second).sum()),
            int((~first & ~second).sum()),
        )

    @property
    def n(self) -> int:
        """Problems."""
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def difference(self) -> float | None:
        """The first's success rate minus the second's; ``None`` without problems."""
        return (self.first_only - self.second_only) / self.n if self.n else None

    def p_value(self) -> float:
        """Two-sided, of the exact McNemar test; 1 where no problem is discordant."""
        square = [[self.both, self.first_only], [self.second_only, self.neither]]
        return float(mcnemar(square, exact=True).pvalue)  # type: ignore[union-attr]

    def interval(self, level: float = 0.95, problems: int | None = None) -> tuple[float, float]:
        """Newcombe's interval of the difference; ``(-1, 1)`` without problems.

        Where the two are uncorrelated it is his interval for two independent samples.

        Args:
            level: the confidence, between 0 and 1.
            problems: how many the same shares are to be of, where trials of several trainings are counted.
        """
        if not self.n:
            return -1.0, 1.0
        n = self.n if problems is None else problems
        a, b, c, d = (n * x / self.n for x in (self.both, self.first_only, self.second_only, self.neither))
        k1, k2 = (n * (self.both + x) / self.n for x in (self.first_only, self.second_only))
        p1, p2 = k1 / n, k2 / n
        (l1, u1), (l2, u2) = wilson(k1, n, level), wilson(k2, n, level)
        margins = (a + b) * (c + d) * (a + c) * (b + d)
        excess = a * d - b * c
        # A positive correlation is corrected for continuity, a negative one is not: Newcombe's own rule.
        phi = (max(excess - n / 2, 0) if excess > 0 else excess) / sqrt(margins) if margins else 0.0

        def spread(x: float, y: float) -> float:
            return sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

        middle = p1 - p2
        low, high = middle - spread(p1 - l1, u2 - p2), middle + spread(u1 - p1, p2 - l2)
        return max(low, -1.0), min(high, 1.0)


def sign_flip(differences: Int[np.ndarray, " problems"]) -> float:
    """Two-sided p-value of the exact test that each problem's difference is as likely as its negative.

    >>> round(sign_flip(np.array([2, 1, 1, 0])), 3), round(sign_flip(np.array([1, 1, 1, 1, -1])), 3)
    (0.25, 0.375)
    """
    # Of m problems of one size s, a sum of b positive ones is s (2 b - m): a binomial, and the whole a convolution.
    sizes, numbers = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of the sums -(len - 1), ..., len - 1 in steps of 2
    for size, number in zip(sizes.tolist(), numbers.tolist(), strict=True):
        of_size = np.zeros(size * number + 1)
        of_size[::size] = binom.pmf(np.arange(number + 1), number, 0.5)
        chances = np.convolve(chances, of_size)
    sums, found = 2 * np.arange(len(chances)) - (len(chances) - 1), abs(int(differences.sum()))
    return min(1.0, float(chances[np.abs(sums) >= found].sum())) if found else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction of a family of tests, in the order given: the ``i``-th smallest of ``m``
    p-values times ``m - i + 1``, never below the one before it nor above 1.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = given.argsort(kind="stable")
    raised = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    corrected = np.empty_like(given)
    corrected[order] = raised.clip(max=1)
    return corrected.tolist()
