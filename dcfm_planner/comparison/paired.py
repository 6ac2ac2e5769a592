"""Two methods on the same problems: the exact McNemar test, Holm's correction, and an interval for the difference.

Of ``n`` problems let the first method alone succeed in ``b`` and the second alone in ``c``. If both are equally good,
each discordant problem is a fair coin: ``b ~ Binomial(b + c, 1/2)`` (McNemar 1947, exact). The difference of the
success rates is ``(b - c) / n``; its interval is Newcombe's (1998, method 10): Wilson's intervals of the two rates,
combined under their correlation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Bool
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

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Newcombe's interval of the difference; ``(-1, 1)`` without problems.

        Where the two are uncorrelated it is his interval for two independent samples.
        """
        a, b, c, d, n = self.both, self.first_only, self.second_only, self.neither, self.n
        if not n:
            return -1.0, 1.0
        p1, p2 = (a + b) / n, (a + c) / n
        (l1, u1), (l2, u2) = wilson(a + b, n, level), wilson(a + c, n, level)
        margins = (a + b) * (c + d) * (a + c) * (b + d)
        excess = a * d - b * c
        # A positive correlation is corrected for continuity, a negative one is not: Newcombe's own rule.
        phi = (max(excess - n / 2, 0) if excess > 0 else excess) / sqrt(margins) if margins else 0.0

        def spread(x: float, y: float) -> float:
            return sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

        middle = p1 - p2
        low, high = middle - spread(p1 - l1, u2 - p2), middle + spread(u1 - p1, p2 - l2)
        return max(low, -1.0), min(high, 1.0)


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
