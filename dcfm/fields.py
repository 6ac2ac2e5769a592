"""Fields: everything that generates is a velocity ``v(x, t, y) -> dx/dt``, and fields make fields.

A network is a field; so are the composition of a field's marginals (:class:`Composed`, Eq. 5), a composition whose
terms are served by several experts according to what their silos hold (:class:`Routed`, Eq. 12 at inference), and a
field with some coordinates held (:class:`Held`, the outermost of them, since its mask has the batch's rows). Nobody
needs to know what is inside the field that they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm.attributes import check_whole
from dcfm.silos import LabelHistogram


@runtime_checkable
class Field(Protocol):
    """A velocity field.

    Args of a call: ``x`` of shape ``(batch, *shape)``; times ``t`` in ``[0, 1]``; labels ``y`` with null tokens; and,
    for fields that can inpaint, ``held``: true where ``x`` carries its clean value, with velocity zero.
    """

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]: ...


def evaluate_labels(
    field: Field,
    x: Float[Tensor, " batch *shape"],
    t: Float[Tensor, " batch"],
    labels: Int[Tensor, "variants batch k"],
    held: Bool[Tensor, " batch *shape"] | None = None,
) -> Float[Tensor, "variants batch *shape"]:
    """The field at the same points under several labels each, as one call on one large batch."""
    v = labels.shape[0]
    velocity = field(
        repeat(x, "b ... -> (v b) ...", v=v),
        repeat(t, "b -> (v b)", v=v),
        rearrange(labels, "v b k -> (v b) k"),
        None if held is None else repeat(held, "b ... -> (v b) ...", v=v),
    )
    return rearrange(velocity, "(v b) ... -> v b ...", v=v)


def marginal_labels(y: Int[Tensor, "batch k"], null: Int[Tensor, " k"]) -> Int[Tensor, "variants batch k"]:
    """The labels of Eq. 5's terms: first all null, then ``y`` with all but the i-th null, for each ``i``."""
    k = y.shape[1]
    kept = torch.cat([torch.zeros(1, k), torch.eye(k)]).bool().to(y.device, non_blocking=True)
    return torch.where(kept[:, None], y, null.to(y.device, non_blocking=True))


def combine(
    base: Float[Tensor, " batch *shape"],
    marginals: Sequence[Float[Tensor, " batch *shape"]] | Float[Tensor, "k batch *shape"],
    weights: Sequence[float] | None = None,
) -> Float[Tensor, " batch *shape"]:
    """``v(0) + sum_i w_i (v(y_i) - v(0))``, Eq. 5."""
    total = base
    for i, marginal in enumerate(marginals):
        total = total + (1.0 if weights is None else weights[i]) * (marginal - base)
    return total


def composed_velocity(
    field: Field,
    x: Float[Tensor, " batch *shape"],
    t: Float[Tensor, " batch"],
    y: Int[Tensor, "batch k"],
    null: Int[Tensor, " k"],
    held: Bool[Tensor, " batch *shape"] | None = None,
    weights: Sequence[float] | None = None,
) -> Float[Tensor, " batch *shape"]:
    """``v_hat(x_t, y)`` of Eq. 5, its ``k + 1`` evaluations in one batch. A null ``y_i`` contributes nothing."""
    velocities = evaluate_labels(field, x, t, marginal_labels(y, null), held)
    return combine(velocities[0], velocities[1:], weights)


def check_values(y: Int[Tensor, "batch k"], null: Int[Tensor, " k"]) -> None:
    """Raise ``ValueError`` unless there is a column an attribute, and every entry one of its values or its null token;
    a network may take others without a word, and answer something else."""
    null = null.to(y.device)
    if y.ndim != 2 or y.shape[1] != len(null):  # one column would be taken for all attributes
        raise ValueError(f"labels of shape {tuple(y.shape)}; give (n, {len(null)}), a column an attribute")
    check_whole(y)
    if (beyond := (y < 0) | (y > null)).any():
        row, i = (int(place) for place in beyond.nonzero()[0])
        raise ValueError(f"label {int(y[row, i])} of attribute {i}, which has 0 to {int(null[i]) - 1} and null")


@dataclass(frozen=True)
class Checked:
    """A field that refuses labels which are neither values nor null tokens, see :func:`check_values`."""

    field: Field
    null: Int[Tensor, " k"]

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        check_values(y, self.null)
        if len(y) != len(x):
            raise ValueError(f"{len(y)} labels for {len(x)} samples; give one a sample")
        return self.field(x, t, y, held)


def _check_guidance(weights: Sequence[float] | None, null: Int[Tensor, " k"]) -> None:
    if weights is not None and len(weights) != len(null):
        raise ValueError(f"guidance {list(weights)} has {len(weights)} weights; give one an attribute, {len(null)}")


@dataclass(frozen=True)
class Composed:
    """A field sampled through its own marginals: Eq. 5 with guidance weights ``w`` (one each, all 1 in the paper)."""

    field: Field
    null: Int[Tensor, " k"]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check_guidance(self.weights, self.null)

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        check_values(y, self.null)
        return composed_velocity(self.field, x, t, y, self.null, held, self.weights)


@dataclass(frozen=True)
class Guided:
    """A field whose whole labels are stressed, ``v(0) + w (v(y) - v(0))``: classifier-free guidance (Ho 2022).

    With ``weight=1`` this is the field itself, at twice the evaluations; of one attribute it is :class:`Composed`.
    """

    field: Field
    null: Int[Tensor, " k"]
    weight: float

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        check_values(y, self.null)
        none = self.null.to(y.device).expand_as(y)
        base, given = evaluate_labels(self.field, x, t, torch.stack([none, y]), held)
        return combine(base, given[None], [self.weight])


@dataclass(frozen=True)
class Held:
    """A field with some coordinates held: the mask is bound, so that only ``(x, t, y)`` is left to give."""

    field: Field
    mask: Bool[Tensor, " batch *shape"]

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        mask = self.mask if held is None else self.mask | held
        return self.field(x, t, y, mask)


def value_weights(histograms: Sequence[LabelHistogram], y: Int[Tensor, "batch k"]) -> Float[Tensor, "terms batch n"]:
    """Which share of Eq. 5's terms each silo serves, from label statistics alone.

    Row 0 is ``p(a|0) = n_a / sum_b n_b``; row ``i + 1`` is ``p(a|y_i) = n_a(y_i) / sum_b n_b(y_i)``, and ``p(a|0)``
    where ``y_i`` is null. The sum over the ``n`` silos is one.

    Raises:
        ValueError: a value that no silo holds, or that is none of its attribute's.
    """
    check_values(y, torch.tensor(histograms[0].cardinalities))
    y = y.long()  # other types of whole numbers are no places in a tensor, or masks
    totals = torch.tensor([float(h.total) for h in histograms], device=y.device)
    rows = [(totals / totals.sum()).expand(len(y), -1)]
    for i in range(y.shape[1]):
        # One more entry for the null token, served like the unconditional term.
        counts = torch.stack([h.marginal(i).to(y.device) for h in histograms]).float()
        counts = torch.cat([counts, totals[:, None]], dim=1)
        held_by = counts[:, y[:, i]].T
        if (held_by.sum(1) == 0).any():
            value = int(y[held_by.sum(1) == 0][0, i])
            raise ValueError(
                f"no silo holds value {value} of attribute {i}, so no expert can serve it; ask for a value that some "
                "silo holds, or the null token"
            )
        rows.append(held_by / held_by.sum(1, keepdim=True))
    return torch.stack(rows)


def joint_weights(
    histograms: Sequence[LabelHistogram], y: Int[Tensor, "batch k"]
) -> tuple[Float[Tensor, "batch n"], Bool[Tensor, " batch"]]:
    """``p(a|y)`` from the counts of whole combinations, and where any silo holds the combination at all."""
    counts = torch.stack([h.count(y) for h in histograms], dim=1).float()
    total = counts.sum(1, keepdim=True)
    return counts / total.clamp(min=1), total[:, 0] > 0


@dataclass(frozen=True)
class Routed:
    """DCFM-A at inference: each term of Eq. 5 is served by the experts whose silos hold that value, softly mixed.

    Args:
        experts: one field a silo.
        histograms: their label statistics, in the same order.
        null: the null tokens.
        weights: guidance ``w`` of Eq. 5.
        joint: serve a combination that some silo holds by those experts' joint ``v(x, y)`` (Eq. 5 otherwise);
            ``False`` composes every combination. Say which rule a number was made with.

    With one expert and ``joint=False`` this is :class:`Composed`.
    """

    experts: Sequence[Field]
    histograms: Sequence[LabelHistogram]
    null: Int[Tensor, " k"]
    weights: tuple[float, ...] | None = None
    joint: bool = True

    def __post_init__(self) -> None:
        if not self.experts or len(self.experts) != len(self.histograms):
            raise ValueError(
                f"{len(self.experts)} experts and {len(self.histograms)} histograms; give one histogram an expert"
            )
        _check_guidance(self.weights, self.null)

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        labels = torch.cat([marginal_labels(y, self.null), y[None]])
        shares, known = joint_weights(self.histograms, y)
        known = known & self.joint
        terms = value_weights(self.histograms, y)
        # Term weights in the final sum: w_i for a marginal, 1 - sum w_i for the base; all on the joint where known.
        k = y.shape[1]
        guidance = torch.tensor([1.0] * k if self.weights is None else self.weights, device=x.device)
        outer = torch.cat([1 - guidance.sum()[None], guidance])[:, None] * (~known).float()
        share = torch.cat([outer[..., None] * terms, (shares * known[:, None])[None]]).to(x.dtype)
        out = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            term, row = share[..., index].nonzero(as_tuple=True)
            if len(row):
                velocity = expert(x[row], t[row], labels[term, row], None if held is None else held[row])
                weight = share[term, row, index].reshape(-1, *(1,) * (x.ndim - 1))
                out = out.index_add(0, row, weight * velocity)
        return out
