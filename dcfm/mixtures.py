"""Mixtures of independently trained experts: DDM, weighted by label statistics, and DFD, weighted by energy.

Both are fields: the velocities of one expert a silo, summed with weights that are one in total. Sampled as they are,
they answer a combination *jointly*, ``sum_a w_a v_a(x, y)``; wrapped in :class:`~dcfm.fields.Composed` they answer it
by Eq. 5 over the mixture, ``v_hat = v(0) + sum_i w_i (v(y_i) - v(0))`` with every term mixed by its own weights. A DDM
composed in this way is :class:`~dcfm.fields.Routed` with ``joint=False``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm.fields import Field, check_values, value_weights
from dcfm.silos import LabelHistogram

PRIORS = ("labels", "size")


def label_weights(histograms: Sequence[LabelHistogram], y: Int[Tensor, "batch k"]) -> Float[Tensor, "batch n"]:
    """``p(a | y)`` from *marginal* label statistics, as a router without sight of the joint counts has it:
    proportional to ``n_a prod_i n_a(y_i) / n_a`` over the given attributes.

    No attribute given: ``p(a|0)``; one: ``p(a|y_i)``, the rows of :func:`~dcfm.fields.value_weights`. Where no silo
    holds all the given values, the mean of the ``p(a|y_i)``, so that somebody answers.

    Raises:
        ValueError: a value that no silo holds.
    """
    terms = value_weights(histograms, y)
    null = torch.tensor(histograms[0].cardinalities, device=y.device)
    given = (y != null).T[..., None]
    totals = torch.tensor([float(h.total) for h in histograms], dtype=torch.float64, device=y.device)
    # p(a|y_i) / p(a) is proportional to n_a(y_i) / n_a. In log space, since many attributes overflow otherwise.
    logs = totals.log() + torch.where(given, (terms[1:].double() / totals).log(), 0.0).sum(0)
    mean = (terms[1:] * given).sum(0) / given.sum(0).clamp(min=1)
    weights = torch.where(logs.isfinite().any(1, keepdim=True), logs.softmax(1).to(mean.dtype), mean)
    return weights / weights.sum(1, keepdim=True)


def _answers(
    experts: Sequence[Field],
    asked: Bool[Tensor, "batch n"],
    x: Float[Tensor, " batch *shape"],
    t: Float[Tensor, " batch"],
    y: Int[Tensor, "batch k"],
    held: Bool[Tensor, " batch *shape"] | None,
) -> Float[Tensor, "n batch *shape"]:
    """Each expert's velocity where it is asked, zero elsewhere."""
    velocities = torch.zeros(len(experts), *x.shape, dtype=x.dtype, device=x.device)
    for index, expert in enumerate(experts):
        rows = asked[:, index].nonzero()[:, 0]
        if len(rows):
            velocities[index, rows] = expert(x[rows], t[rows], y[rows], None if held is None else held[rows])
    return velocities


def _mix(velocities: Float[Tensor, "n batch *shape"], weights: Float[Tensor, "batch n"]) -> Float[Tensor, " batch *_"]:
    share = weights.T.to(velocities.dtype)
    return (share.reshape(*share.shape, *(1,) * (velocities.ndim - 2)) * velocities).sum(0)


def _check(experts: Sequence[Field], histograms: Sequence[LabelHistogram]) -> None:
    if not experts or len(experts) != len(histograms):
        raise ValueError(f"{len(experts)} experts and {len(histograms)} histograms; give one histogram an expert")


@dataclass(frozen=True)
class LabelMixture:
    """DDM: ``v(x, t, y) = sum_a p(a|y) v_a(x, t, y)`` with :func:`label_weights` (McAllister et al. 2025, the clusters'
    router replaced by label statistics).

    Args:
        experts: one field a silo.
        histograms: their label statistics, in the same order.
    """

    experts: Sequence[Field]
    histograms: Sequence[LabelHistogram]

    def __post_init__(self) -> None:
        _check(self.experts, self.histograms)

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        weights = label_weights(self.histograms, y)
        return _mix(_answers(self.experts, weights > 0, x, t, y, held), weights)


def energy_weights(
    velocities: Float[Tensor, "n batch *shape"],
    prior: Float[Tensor, "batch n"],
    x: Float[Tensor, " batch *shape"],
    t: Float[Tensor, " batch"],
    scale: float,
    held: Bool[Tensor, " batch *shape"] | None = None,
) -> Float[Tensor, "batch n"]:
    """``softmax_a(log w0_a - s / 2 ||eps_a||^2)``, in log space throughout (Hahn & Lee 2025).

    ``eps_a = x_t - t v_a`` is the noise that expert ``a`` reads off the point on the linear path: small where the point
    is likely to that expert. Held entries tell the experts nothing apart and are left out. The softmax
    subtracts the least energy first, so that energies of thousands (long trajectories) neither overflow nor give 0/0.
    """
    epsilon = x - t.reshape(-1, *(1,) * (x.ndim - 1)) * velocities
    if held is not None:
        epsilon = epsilon.masked_fill(held, 0.0)
    whole = epsilon.to(torch.promote_types(epsilon.dtype, torch.float32))  # half precision loses what tells them apart
    energy = whole.flatten(2).square().sum(2).T
    return (prior.to(energy.dtype).log() - 0.5 * scale * energy).softmax(1).to(x.dtype)


@dataclass(frozen=True)
class EnergyMixture:
    """DFD: experts weighted by the energy of their own noise estimate, see :func:`energy_weights` (Hahn & Lee 2025; its
    adaptation to flows is reconstructed).

    Args:
        experts: one field a silo.
        histograms: their label statistics, in the same order.
        scale: ``s``; 2 in the source. At 0 the prior alone weighs: with ``labels`` this is :class:`LabelMixture`.
        prior: ``w0``: ``labels`` takes :func:`label_weights`, ``size`` the silos' shares of the data.
    """

    experts: Sequence[Field]
    histograms: Sequence[LabelHistogram]
    scale: float = 2.0
    prior: str = "labels"

    def __post_init__(self) -> None:
        _check(self.experts, self.histograms)
        if self.prior not in PRIORS or not 0 <= self.scale < math.inf:
            raise ValueError(
                f"prior={self.prior!r} must be one of {', '.join(PRIORS)}, and scale={self.scale} finite, not negative"
            )

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        if self.prior == "labels":
            prior = label_weights(self.histograms, y)
        else:
            check_values(y, torch.tensor(self.histograms[0].cardinalities))
            totals = torch.tensor([float(h.total) for h in self.histograms], device=x.device)
            prior = (totals / totals.sum()).expand(len(y), -1)
        velocities = _answers(self.experts, prior > 0, x, t, y, held)
        return _mix(velocities, energy_weights(velocities, prior, x, t, self.scale, held))
