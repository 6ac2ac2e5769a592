"""Label histograms that say less: small counts left out, or all counts noised.

Suppression leaves out combinations with fewer than a threshold of samples; it hides rare combinations but proves
nothing. The geometric mechanism (Ghosh, Roughgarden & Sundararajan 2009) adds to the count of *every* combination,
occurring or not, the difference of two geometric variables, ``P(d) ~ exp(-epsilon |d|)``, and keeps what is at least 1:
the histogram is then epsilon-differentially private as to adding or removing one sample. Both say nothing about the
weights, which are trained on all samples.
"""

import math
from typing import Final

import torch

from dcfm.silos import LabelHistogram

MOST_COMBINATIONS: Final = 100_000
"""Largest attribute space whose every combination is noised."""


class NothingLeftError(ValueError):
    """Noise leaves no count above 0."""


def check_epsilon(epsilon: float) -> float:
    """The same, if it is one.

    Raises:
        ValueError: it is not finite and above 0. Zero or NaN would add no noise at all.
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon={epsilon} of the label histogram's noise; give a finite number above 0, or null")
    return epsilon


def suppressed(histogram: LabelHistogram, suppress: int) -> LabelHistogram:
    """The histogram without counts below ``suppress``.

    Raises:
        ValueError: nothing is left.
    """
    keep = histogram.counts >= max(suppress, 1)
    if not keep.any():
        raise ValueError(
            f"no combination has {max(suppress, 1)} samples or more, so nothing is left of the label histogram; lower "
            "suppress, or raise epsilon"
        )
    return LabelHistogram(histogram.combinations[keep], histogram.counts[keep], histogram.cardinalities)


def noised(histogram: LabelHistogram, epsilon: float, generator: torch.Generator) -> LabelHistogram:
    """The histogram with the geometric mechanism's noise on all counts.

    Args:
        epsilon: of the mechanism.
        generator: of the noise. It must be secret, and its noise drawn once: averages of new noise reveal the count.

    Raises:
        NothingLeftError: no count is above 0.
        ValueError: no epsilon, or the attribute space is too large for noise.
    """
    check_epsilon(epsilon)
    number = math.prod(histogram.cardinalities)
    if number > MOST_COMBINATIONS:
        raise ValueError(
            f"{number} combinations are too many to noise each (at most {MOST_COMBINATIONS}); use suppress"
        )
    combinations = torch.cartesian_prod(*(torch.arange(n) for n in histogram.cardinalities)).reshape(number, -1)
    uniform = torch.rand(2, number, generator=generator, dtype=torch.float64)
    geometric = (torch.log1p(-uniform) / -epsilon).floor().long()  # P(g >= n) = exp(-epsilon n)
    counts = histogram.count(combinations) + geometric[0] - geometric[1]
    keep = counts >= 1
    if not keep.any():
        raise NothingLeftError(f"epsilon={epsilon} leaves no combination with a positive count; raise it")
    return LabelHistogram(combinations[keep], counts[keep], histogram.cardinalities)
