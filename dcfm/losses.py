"""The losses of the paper, each a plain function of fields and a batch.

All are mean squared differences of velocities, weighted over time by :class:`TimeWeight`. Held entries have velocity
zero in every field and in every target, so they add nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm.fields import Field, combine, evaluate_labels, marginal_labels
from dcfm.path import LATEST


@dataclass(frozen=True)
class TimeWeight:
    """``max(1 - t, LATEST)^power``: 0 weighs velocities evenly, 2 weighs clean-sample errors evenly, since
    ``v - u = (x1_hat - x1) / (1 - t)``."""

    power: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.power):
            raise ValueError(f"time_power = {self.power}; give a finite number, e.g. 1")

    def __call__(self, t: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        return (1 - t).clamp(min=LATEST) ** self.power


def squared_difference(
    a: Float[Tensor, " batch *shape"],
    b: Float[Tensor, " batch *shape"],
    t: Float[Tensor, " batch"],
    weight: TimeWeight,
) -> Float[Tensor, ""]:
    """``E w(t) ||a - b||^2`` as a mean over batch and entries."""
    return (weight(t) * (a - b).square().flatten(1).mean(1)).mean()


def matching_loss(
    field: Field,
    target: Float[Tensor, " batch *shape"],
    x: Float[Tensor, " batch *shape"],
    t: Float[Tensor, " batch"],
    y: Int[Tensor, "batch k"],
    held: Bool[Tensor, " batch *shape"] | None = None,
    weight: TimeWeight = TimeWeight(),
) -> Float[Tensor, ""]:
    """Flow matching, Eq. 9, with ``target = x_1 - x_0``; peer matching, Eq. 15, with a frozen teacher's velocity.

    ``y`` is already masked (Eq. 8).
    """
    return squared_difference(field(x, t, y, held), target, t, weight)


def independence_loss(
    field: Field,
    x: Float[Tensor, " batch *shape"],
    t: Float[Tensor, " batch"],
    y: Int[Tensor, "batch k"],
    null: Int[Tensor, " k"],
    held: Bool[Tensor, " batch *shape"] | None = None,
    weight: TimeWeight = TimeWeight(),
) -> Float[Tensor, ""]:
    """Conditional independence, ``E || v(x_t, y) - v_hat(x_t, y) ||^2``: Eq. 10 on a silo's own data, Eq. 16 for the
    student. ``y`` are full labels; nothing is detached; ``k + 2`` evaluations in one batch."""
    velocities = evaluate_labels(field, x, t, torch.cat([marginal_labels(y, null), y[None]]), held)
    composed = combine(velocities[0], velocities[1:-1])
    return squared_difference(velocities[-1], composed, t, weight)


def pairwise_independence_loss(
    field: Field,
    x: Float[Tensor, " batch *shape"],
    t: Float[Tensor, " batch"],
    terms: Int[Tensor, "4 batch k"],
    held: Bool[Tensor, " batch *shape"] | None = None,
    weight: TimeWeight = TimeWeight(),
) -> Float[Tensor, ""]:
    """``E || v(y_i, y_j) - v(y_i) - v(y_j) + v(0) ||^2`` on one pair ``i != j`` a sample, whose four labels are
    ``terms`` (:func:`pair_labels`): four evaluations whatever ``k`` (form from CoInD).

    With all other attributes null and two attributes this is :func:`independence_loss`. Between whole labels it is the
    *contrast* ``v(y_i, y_j, z) - v(y_i, y'_j, z) - v(y'_i, y_j, z) + v(y'_i, y'_j, z)``, zero under Eq. 1 as well:
    ``log p(x|y) = sum_i log p(y_i|x) + log p(x) + const``, of which only ``i`` and ``j`` do not cancel, and these do
    between the two pairs of terms."""
    none, first, second, both = evaluate_labels(field, x, t, terms, held)
    return squared_difference(both, first + second - none, t, weight)


def draw_pairs(y: Int[Tensor, "batch k"], generator: torch.Generator) -> Int[Tensor, "batch 2"]:
    """Two different attributes for each sample, drawn uniformly."""
    batch, k = y.shape
    if k < 2:
        raise ValueError(f"a pair of attributes is needed; this space has {k}")
    return torch.rand(batch, k, generator=generator, device=generator.device).argsort(1)[:, :2].to(y.device)


def pair_labels(
    y: Int[Tensor, "batch k"], base: Int[Tensor, " k"] | Int[Tensor, "batch k"], pair: Int[Tensor, "batch 2"]
) -> Int[Tensor, "4 batch k"]:
    """``base``, e.g. the null tokens; with the first of the pair's values of ``y``; with the second; with both."""
    labels = base.to(y.device).expand(4, *y.shape).clone()
    value = y.gather(1, pair).to(labels.dtype)
    labels[1].scatter_(1, pair[:, :1], value[:, :1])
    labels[2].scatter_(1, pair[:, 1:], value[:, 1:])
    labels[3].scatter_(1, pair, value)
    return labels


def peer_independence_loss(
    own: Field,
    peers: Sequence[Field],
    routing: Int[Tensor, "batch terms"],
    index: int | None,
    x: Float[Tensor, " batch *shape"],
    t: Float[Tensor, " batch"],
    y: Int[Tensor, "batch k"],
    null: Int[Tensor, " k"],
    held: Bool[Tensor, " batch *shape"] | None = None,
    weight: TimeWeight = TimeWeight(),
    pair: Int[Tensor, "4 batch k"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-peer CI, Eqs. 12 and 13: the silo's own joint velocity against a composition whose terms are served as
    ``routing`` says (column 0 the unconditional term), by the silo's own network where it names ``index`` and by the
    frozen peer of that number, without gradient, elsewhere. ``index=None`` is a network that is no silo's, a student
    whose teachers compose.

    With the four labels of a ``pair`` of attributes a sample (:func:`pair_labels`) instead of ``y``, the last is the
    joint and three terms are routed, not ``k + 1``: what Eq. 12 says of the attributes ``(y_i, y_j)`` alone."""
    labels, joint = (marginal_labels(y, null), y) if pair is None else (pair[:-1], pair[-1])
    terms, batch, _ = labels.shape
    slots = routing.T
    served = torch.zeros(terms, *x.shape, dtype=x.dtype, device=x.device)
    for silo in range(len(peers)):
        if silo == index:
            continue
        term, row = (slots == silo).nonzero(as_tuple=True)
        if len(row):
            with torch.no_grad():
                velocity = peers[silo](x[row], t[row], labels[term, row], None if held is None else held[row])
            served[term, row] = velocity
    # One batch through the own network: its slots of the composition and the joint.
    term, row = (slots == (-1 if index is None else index)).nonzero(as_tuple=True)
    everyone = torch.arange(batch, device=x.device)
    rows = torch.cat([row, everyone])
    velocity = own(x[rows], t[rows], torch.cat([labels[term, row], joint]), None if held is None else held[rows])
    served = served.index_put((term, row), velocity[: len(row)])
    return squared_difference(velocity[len(row) :], combine(served[0], served[1:]), t, weight)
