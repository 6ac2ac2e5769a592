"""The bootstrap (Efron 1979) for statistics of two sets of samples, as weights: how often a draw takes each sample.

Generated samples are drawn with replacement within strata (the combinations, whose numbers are fixed by design).
Reference samples that come from one source (a digit in several colours) are drawn together, source by source: they are
no independent samples. Where their strata have fixed numbers too, a draw is weighted to keep these: otherwise
differences between strata, which are the same in any other sample of the design, would pass for uncertainty.

A Frechet distance of ``n`` samples is larger than that of the distributions by about ``b(n)``. A draw from a sample
has this bias once more, so percentiles of the draws lie too high and may leave out the value itself. The interval here
is the draws' percentiles moved so that the draws' mean falls on the value: the uncertainty of the distance *at this n*,
the quantity in which methods are compared. The move is reported as :attr:`Estimate.bias`: an estimate of ``b(n)``, not
subtracted. For unbiased statistics it is about zero, and the interval the usual percentile interval.

Samples of one training share its weights. Where there are several trainings, :meth:`Estimate.over_trainings` draws
these too, so that its interval holds for another training: the hierarchical bootstrap (Davison & Hinkley 1997, Section
3.8).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval, and how far the bootstrap's mean lies above it.

    Attributes:
        draws: the statistic of each draw, for ratios and differences of statistics that share draws.
    """

    value: float
    low: float
    high: float
    bias: float
    draws: tuple[float, ...] = ()

    @classmethod
    def centred(
        cls, value: float, draws: Float[Tensor, " draws"], *, level: float = 0.95, least: float | None = None
    ) -> "Estimate":
        """The centred percentile interval, see the module.

        Args:
            value: the statistic of the samples.
            draws: of each bootstrap draw.
            level: the confidence, between 0 and 1.
            least: the smallest value that the statistic can have.

        Raises:
            ValueError: no draws, or a level out of range.
        """
        if not len(draws) or not 0 < level < 1:
            raise ValueError(f"{len(draws)} draws at level {level}; give at least one draw and 0 < level < 1")
        draws = draws.double()
        bias = float(draws.mean()) - value
        ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=draws.device)
        low, high = (float(end) - bias for end in draws.quantile(ends))
        if least is not None:
            low = max(low, least)
        return cls(value, low, high, bias, tuple(draws.tolist()))

    @classmethod
    def over_trainings(
        cls, values: Sequence[float], draws: Float[Tensor, "trainings draws"], *, least: float | None = None
    ) -> "Estimate":
        """The mean over trainings, with an interval that holds for another training.

        Each draw takes as many trainings as there are, with replacement, and the mean of this draw of theirs: what
        trainings share, the reference, stays shared. Of few trainings the interval is too narrow where they differ by
        more than their noise, since of the variance between ``S`` trainings it has ``(S - 1) / S``, and too wide where
        they do not: the variance within a training counts ``(3 S - 2) / S`` times, twice of two. Which trainings a draw
        takes depends on the shape of ``draws`` alone, so draws of two methods belong together.

        Args:
            values: the statistic of each training.
            draws: its bootstrap draws, a row a training.
            least: the smallest value that the statistic can have.

        Raises:
            ValueError: not one row of draws a training, or none.
        """
        size, number = draws.shape
        if not 0 < size == len(values):
            raise ValueError(f"{len(values)} values and draws of {size} trainings; give one of each a training")
        taken = torch.randint(size, (size, number), generator=torch.Generator().manual_seed(0))
        return cls.centred(mean(values), draws.cpu().double().gather(0, taken).mean(0), least=least)

    def as_dict(self, *, draws: bool = False) -> Mapping[str, Any]:
        """Plain data; with the draws if asked."""
        plain: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high, "bootstrap_bias": self.bias}
        return plain | ({"draws": list(self.draws)} if draws else {})


def stratified_weights(strata: Int[Tensor, " n"], draws: int, generator: torch.Generator) -> Float[Tensor, "draws n"]:
    """How often each sample is taken, where every stratum gives as many samples as it has; on the CPU.

    Args:
        strata: the stratum of each sample, any integers.
        draws: how many.
        generator: of the CPU.
    """
    weights = torch.zeros(draws, len(strata))
    for stratum in strata.unique():
        rows = (strata == stratum).nonzero()[:, 0]
        drawn = torch.randint(len(rows), (draws, len(rows)), generator=generator)
        counts = torch.zeros(draws, len(rows)).scatter_add_(1, drawn, torch.ones(drawn.shape))
        weights[:, rows] = counts
    return weights


def clustered_weights(
    clusters: Int[Tensor, " n"],
    draws: int,
    generator: torch.Generator,
    strata: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, "draws n"]:
    """How often each sample is taken, where all samples of a cluster are taken together; on the CPU.

    A draw takes as many clusters as there are; its number of samples varies where clusters differ in size.

    Args:
        clusters: the cluster of each sample, any integers.
        draws: how many.
        generator: of the CPU.
        strata: where given, what a draw takes of a stratum is scaled to the stratum's size (post-stratification); a
            stratum of which it takes nothing stays as it is.
    """
    names, place = torch.unique(clusters, return_inverse=True)
    counts = stratified_weights(torch.zeros(len(names), dtype=torch.long), draws, generator)[:, place]
    if strata is None:
        return counts
    _, stratum, sizes = torch.unique(strata, return_inverse=True, return_counts=True)
    taken = torch.zeros(draws, len(sizes)).index_add_(1, stratum, counts)[:, stratum]
    return torch.where(taken > 0, counts * sizes[stratum] / taken.clamp(min=1.0), 1.0)


def ratio(above: Estimate, below: Estimate, *, level: float = 0.95) -> Estimate:
    """The ratio of two positive statistics whose draws belong together, its interval made on the logarithm.

    Each statistic's draws are moved onto its value first: the bias that draws have once more would be in numerator and
    denominator, and make the draws' ratios differ by less than those of other samples. Where a draw so moved is not
    positive, the logarithms are taken linearly about the values.

    Raises:
        ValueError: values or draws that are not positive, or of different numbers.
    """
    if not (len(above.draws) == len(below.draws) > 0):
        raise ValueError(f"{len(above.draws)} and {len(below.draws)} draws; a ratio needs as many of both, and some")
    values = torch.tensor([[above.value], [below.value]], dtype=torch.float64)
    draws = torch.tensor([above.draws, below.draws], dtype=torch.float64)
    if not (values > 0).all() or not (draws > 0).all():
        raise ValueError("a ratio is taken of positive values only; here some value or draw is not")
    moved = (draws - draws.mean(1, keepdim=True)) / values  # of the value
    logs = torch.log1p(moved) if (moved > -1).all() else moved
    found = Estimate.centred(0.0, logs[0] - logs[1], level=level)
    middle = (values[0] / values[1]).squeeze()
    low, high = (float(middle * torch.tensor(end, dtype=torch.float64).exp()) for end in (found.low, found.high))
    return Estimate(float(middle), low, high, found.bias, tuple((middle * (logs[0] - logs[1]).exp()).tolist()))
