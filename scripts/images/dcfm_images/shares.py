"""Shares as plain data."""

from typing import Any

from dcfm.metrics.intervals import wilson


def share(k: int, n: int) -> dict[str, Any]:
    """``k`` of ``n`` with the rate and its 95 % Wilson interval.

    >>> share(270, 300)["rate"]
    0.9
    """
    low, high = wilson(k, n)
    return {"k": k, "n": n, "rate": k / n, "low": low, "high": high}
