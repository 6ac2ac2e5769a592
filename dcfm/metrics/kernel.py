"""Kernel distance: the squared maximum mean discrepancy under a cubic kernel (Binkowski et al. 2018, KID).

With ``k(a, b) = (a . b / d + 1)^3``, ``mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_ij k(x_i, y_j)``
is an unbiased estimate of a quantity that is zero for equal distributions, so that it may be negative. All pairs are
used, where ``torchmetrics`` averages random subsets. Under weights ``w`` a mean over pairs of *different* samples is
``sum_{i != j} w_i w_j k_ij / sum_{i != j} w_i w_j``: a sample that a bootstrap draws twice makes no pair with itself,
which keeps the draws unbiased too.

That holds for independent samples. Where each stratum (combination) has a fixed number of samples, pairs within
a stratum are rarer among ``i != j`` than among ``(x_i, y_j)``, and samples that share an origin (one digit in two
colours) make no pairs of independent samples: both shift the distance of equal distributions away from zero. With a
:class:`Design` the mean over pairs is taken stratum by stratum, over pairs of different origins, and weighted by the
strata's shares: unbiased again.
"""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dcfm.metrics.features import check_finite

BLOCK: Final = 1024
"""Rows of a kernel matrix that are held at once."""


@dataclass(frozen=True, eq=False)
class Design:
    """How samples were drawn.

    Attributes:
        strata: the stratum of each sample; their numbers of samples are fixed.
        origins: equal for samples that are not independent of each other.
    """

    strata: Int[Tensor, " n"]
    origins: Int[Tensor, " n"]


def cubic_kernel(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """``(a . b / d + 1)^3``."""
    base = (a / a.shape[1]) @ b.mT + 1
    return base * base * base  # a power of a float64 tensor takes ten times as long


def kernel_distance(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    design_x: Design | None = None,
    design_y: Design | None = None,
) -> float:
    """Unbiased squared MMD between two sets of features; about zero, of either sign, for equal distributions.

    Raises:
        ValueError: fewer than two samples of either, or of a stratum, or features that are not finite.
    """
    return float(kernel_draws(x, y, x.new_ones(1, len(x)), y.new_ones(1, len(y)), design_x, design_y)[0])


def kernel_draws(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    weights_x: Float[Tensor, "draws n"],
    weights_y: Float[Tensor, "draws m"],
    design_x: Design | None = None,
    design_y: Design | None = None,
) -> Float[Tensor, " draws"]:
    """The same under weights: how often each sample counts, see :mod:`dcfm.metrics.bootstrap`.

    Raises:
        ValueError: fewer than two samples of either, or of a stratum, or features that are not finite.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"{len(x)} and {len(y)} samples; the kernel distance needs at least two of each")
    check_finite(x=x, y=y)
    x, y, weights_x, weights_y = (tensor.double() for tensor in (x, y, weights_x, weights_y))
    across = _pair_sum(x, y, weights_x, weights_y) / (weights_x.sum(1) * weights_y.sum(1))
    return _inside(x, weights_x, design_x) + _inside(y, weights_y, design_y) - 2 * across


def _inside(x: Tensor, weights: Tensor, design: Design | None) -> Tensor:
    return _within(x, weights) if design is None else _within_design(x, weights, design)


def _within(x: Tensor, weights: Tensor) -> Tensor:
    same = weights.square() @ (x.square().sum(1) / x.shape[1] + 1).pow(3)
    whole = weights.sum(1) ** 2
    pairs = whole - weights.square().sum(1)
    alone = pairs <= 1e-12 * whole
    if not alone.any():
        return (_pair_sum(x, x, weights, weights) - same) / pairs
    # A draw may take one sample only, again and again: it then has the pairs of the samples themselves.
    return _within(x, torch.where(alone[:, None], 1.0, weights))


def _within_design(x: Tensor, weights: Tensor, design: Design) -> Tensor:
    order = design.strata.argsort(stable=True)
    _, strata, sizes = design.strata[order].unique_consecutive(return_inverse=True, return_counts=True)
    order, strata = order.to(x.device), strata.to(x.device)
    x, weights, origins = x[order], weights[:, order], design.origins.to(x.device)[order]
    shares = weights.new_zeros(len(weights), len(sizes)).index_add_(1, strata, weights)
    total, start = weights.new_zeros(len(weights)), 0
    for stratum, size in enumerate(sizes.tolist()):
        # With itself and those that come after it, which stand for those before it as well.
        means = _means_apart(x[start:], weights[:, start:], origins[start:], strata[start:] - stratum, size)
        both = 2 * (shares[:, stratum:] * means).sum(1) - shares[:, stratum] * means[:, 0]
        total += shares[:, stratum] * both
        start += size
    return total / weights.sum(1) ** 2


def _means_apart(x: Tensor, weights: Tensor, origins: Tensor, strata: Tensor, size: int) -> Tensor:
    """Each draw's mean kernel over pairs of different origins between the first stratum, ``size`` rows, and each."""
    everything = torch.cat([weights.new_ones(1, len(x)), weights])  # first the draw that takes every sample once
    total, pairs = (weights.new_zeros(len(everything), int(strata[-1]) + 1) for _ in range(2))
    for rows in torch.arange(size, device=x.device).split(BLOCK):
        apart = origins[rows][:, None] != origins
        for sums, values in ((total, cubic_kernel(x[rows], x) * apart), (pairs, apart.double())):
            sums.index_add_(1, strata, (everything[:, rows] @ values) * everything)
    if not (pairs[0] > 0).all():
        raise ValueError(
            "a stratum, or a pair of strata, has no two samples of different origins; give at least two samples of "
            "each stratum"
        )
    means = total / pairs.clamp(min=1e-12)
    # A draw may take nothing but one sample of a stratum: it then has the pairs of the samples themselves.
    return torch.where(pairs > 0, means, means[0])[1:]


def _pair_sum(x: Tensor, y: Tensor, weights_x: Tensor, weights_y: Tensor) -> Tensor:
    """``sum_ij w_i u_j k(x_i, y_j)`` of each draw."""
    total = weights_x.new_zeros(len(weights_x))
    for rows, weights in zip(x.split(BLOCK), weights_x.split(BLOCK, dim=1), strict=True):
        total += (weights * (cubic_kernel(rows, y) @ weights_y.mT).mT).sum(1)
    return total
