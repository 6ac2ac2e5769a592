"""Membership inference: can one tell which samples a velocity field was trained on?

The attack calls a sample a member if the field's flow-matching loss on it is below a threshold (Yeom et al. 2018; of
diffusion models, with times and noise chosen once for all samples, Matsumoto et al. 2023; Duan et al. 2023, SecMI):

    s(x, y) = mean over (t, x_0) of || v(x_t, t, y) - (x - x_0) ||^2,    x_t = (1 - t) x_0 + t x

Reported are the AUC, 0.5 for nothing told, and the true positive rate where few non-members are accused (Carlini et al.
2022): an attack that is sure of a few members is a leak that an AUC hides. It is a *lower* bound on what leaks, by one
simple attack on one model: an AUC of 0.5 does not prove that nothing does.

Members and non-members must be alike in all else. Labels are: samples are weighted such that every combination has the
members' share of both, and only combinations that occur in both are used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dcfm.fields import Field
from dcfm.metrics.bootstrap import Estimate, clustered_weights, stratified_weights
from dcfm.path import interpolate, target_velocity

TIMES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
FALSE_POSITIVES: Final = (0.01, 0.001)
"""Rates at which the true positive rate is reported, where there are enough non-members for at least one of them."""
DRAWS: Final = 1000
"""Of the bootstrap."""
BATCH: Final = 512


@torch.no_grad()
def matching_scores(
    field: Field,
    x: Float[Tensor, " n *shape"],
    y: Int[Tensor, "n k"],
    *,
    times: Sequence[float] = TIMES,
    noises: int = 4,
    seed: int = 0,
) -> Float[Tensor, "times n"]:
    """The loss of each sample at each time, over the same ``noises`` draws of noise for all samples."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(noises, *x.shape[1:], generator=generator).to(x)
    found = torch.zeros(len(times), len(x))
    for rows in torch.arange(len(x)).split(BATCH):
        part, labels = x[rows], y[rows]
        for i, time in enumerate(times):
            t = torch.full((len(rows),), time, dtype=x.dtype, device=x.device)
            for one in noise:
                x0 = one.expand_as(part)
                error = field(interpolate(x0, part, t), t, labels) - target_velocity(x0, part)
                found[i, rows] += error.square().flatten(1).mean(1).cpu() / noises
    return found


FEWEST: Final = 4
SPARSE: Final = 0.25
"""Combinations of fewer samples than the first may have at most this share of the weight, for an interval to be one."""


@dataclass(frozen=True, eq=False)
class Contest:
    """Scores of members and non-members in comparable numbers; low scores speak for membership.

    Attributes:
        members, others: scores.
        member_strata, other_strata: the combination of each.
        sources: of members and of others; equal numbers are of one, as images of a patient are, and a draw of the
            bootstrap takes all of one together. Each sample is drawn by itself where it is ``None``.

    Raises:
        ValueError: no combination occurs among both.
    """

    members: Float[Tensor, " n"]
    others: Float[Tensor, " m"]
    member_strata: Int[Tensor, " n"]
    other_strata: Int[Tensor, " m"]
    sources: tuple[Int[Tensor, " n"], Int[Tensor, " m"]] | None = None

    def __post_init__(self) -> None:
        if set(self.member_strata.tolist()) != set(self.other_strata.tolist()) or not len(self.members):
            raise ValueError("members and non-members must be of the same combinations; use Contest.of")

    @classmethod
    def of(
        cls,
        members: Float[Tensor, " n"],
        others: Float[Tensor, " m"],
        member_labels: Int[Tensor, "n k"],
        other_labels: Int[Tensor, "m k"],
        sources: tuple[Int[Tensor, " n"], Int[Tensor, " m"]] | None = None,
    ) -> "Contest":
        """From scores, labels and sources; combinations that one side lacks are left out on the other.

        Raises:
            ValueError: no combination occurs among both.
        """
        labels = torch.cat([member_labels, other_labels])
        strata = torch.unique(labels, dim=0, return_inverse=True)[1]
        first, second = strata[: len(members)], strata[len(members) :]
        a, b = torch.isin(first, second), torch.isin(second, first)
        if not a.any():
            raise ValueError(
                f"none of the members' {len(first.unique())} combinations is among the non-members' "
                f"{len(second.unique())}; hold out samples of combinations that were trained on"
            )
        kept = None if sources is None else (sources[0][a], sources[1][b])
        return cls(members[a], others[b], first[a], second[b], kept)

    def weights(
        self, first: Float[Tensor, "draws n"], second: Float[Tensor, "draws m"]
    ) -> tuple[Float[Tensor, "draws n"], Float[Tensor, "draws m"]]:
        """Weights that add up to one on either side, with the members' share of every combination on both.

        Args:
            first, second: how often each member and each other sample counts."""
        # In single precision the sums are so far from one that an AUC comes out above 1.
        first, balanced = first.double(), second.to(torch.float64, copy=True)
        for stratum in self.member_strata.unique():
            share = (self.member_strata == stratum).double().mean()
            rows = self.other_strata == stratum
            balanced[:, rows] *= share / balanced[:, rows].sum(1, keepdim=True)
        return first / first.sum(1, keepdim=True), balanced

    def roc(
        self, first: Float[Tensor, "draws n"], second: Float[Tensor, "draws m"], rates: Sequence[float]
    ) -> Float[Tensor, "statistics draws"]:
        """AUC, then the true positive rate at each false positive rate, of each draw of weights."""
        a, b = self.weights(first, second)
        values, place = torch.unique(torch.cat([self.members, self.others]), return_inverse=True)
        mass = a.new_zeros(2, len(a), len(values))
        mass[0].index_add_(1, place[: a.shape[1]], a)
        mass[1].index_add_(1, place[a.shape[1] :], b)
        true, false = mass.cumsum(2)  # accused when the score is at most the value
        # P(member < other) + P(equal) / 2, as Mann and Whitney count ties.
        found = [(mass[1] * (true - mass[0] / 2)).sum(1)]
        for rate in rates:
            accused = (false <= rate + 1e-9).sum(1, keepdim=True)
            padded = torch.cat([true.new_zeros(len(true), 1), true], dim=1)
            found.append(padded.gather(1, accused)[:, 0])
        return torch.stack(found)

    def result(self, seed: int = 0) -> Mapping[str, Any]:
        """AUC and true positive rates, each with the 95 % percentile interval of a bootstrap within combinations, of
        sources where they are known. The interval is all of [0, 1], ``too_few``, where combinations of fewer than
        :data:`FEWEST` samples on a side weigh more than :data:`SPARSE`: one that is drawn for itself does not vary."""
        generator = torch.Generator().manual_seed(seed)
        rates = [rate for rate in FALSE_POSITIVES if rate * len(self.others) >= 1]
        values = self.roc(torch.ones(1, len(self.members)), torch.ones(1, len(self.others)), rates)[:, 0]
        blocks = []
        for _ in range(DRAWS // 100):
            blocks.append(self.roc(*self._drawn(100, generator), rates))
        draws = torch.cat(blocks, dim=1)
        names = ["auc", *(f"tpr_at_fpr_{rate:g}" for rate in rates)]
        found = {name: _interval(float(v), d) for name, v, d in zip(names, values, draws, strict=True)}
        if self._few():
            found = {name: {**estimate, "low": 0.0, "high": 1.0, "too_few": True} for name, estimate in found.items()}
        numbers = {"members": len(self.members), "non_members": len(self.others)}
        if self.sources is not None:
            numbers |= {f"{name}_sources": len(s.unique()) for name, s in zip(numbers, self.sources, strict=True)}
        return {**numbers, **found}

    def _few(self) -> bool:
        counted = [strata.unique(return_counts=True) for strata in (self.member_strata, self.other_strata)]
        scarce = torch.cat([values[counts < FEWEST] for values, counts in counted])
        return bool(torch.isin(self.member_strata, scarce).double().mean() > SPARSE)

    def _drawn(
        self, draws: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "draws n"], Float[Tensor, "draws m"]]:
        strata = self.member_strata, self.other_strata
        if self.sources is None:
            return stratified_weights(strata[0], draws, generator), stratified_weights(strata[1], draws, generator)
        first, second = (clustered_weights(s, draws, generator, of) for s, of in zip(self.sources, strata, strict=True))
        return first, second


def _interval(value: float, draws: Float[Tensor, " draws"]) -> dict[str, float]:
    estimate = Estimate.centred(value, draws)
    # A share is at most 1; sums of rounded weights may be a little more.
    ends = {"value": value, "low": estimate.low, "high": estimate.high}
    return {name: min(max(end, 0.0), 1.0) for name, end in ends.items()}
