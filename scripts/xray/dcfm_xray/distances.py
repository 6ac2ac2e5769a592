"""How near generated pictures are to real ones: Frechet and kernel distance with test images of the same label sets.

Generated pictures are equally many of every set; test images are as nature has them. A generated picture therefore
counts as often as its set's test images say: with ``n_S`` of these and ``m_S`` pictures, ``n_S / m_S``. Both sides then
have the same, fixed share of every set, so the kernel distance is taken set by set, over images of different patients
(:class:`~dcfm.metrics.kernel.Design`); without that it lies below zero for equal distributions.

Features are of the classifier trained on real pictures, the same for all methods. Where there are no more pictures or
test images than features, the Frechet distance is ``null`` and the kernel distance stands alone. That counts pictures
and not their weight: most of it is on the few pictures of the commonest sets, so that a covariance rests on about
``generated_effective = (sum w)^2 / sum w^2`` pictures, which may be fewer than features. A Frechet distance is then too
large by an amount that all methods share, and only those of equal numbers compare.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dcfm.metrics.bootstrap import Estimate, clustered_weights, stratified_weights
from dcfm.metrics.frechet import frechet_draws
from dcfm.metrics.kernel import Design, kernel_draws
from dcfm_xray.problem import Pictures


def keys_of(labels: Int[Tensor, "n 14"]) -> Int[Tensor, " n"]:
    """A number for each set of findings."""
    return (labels * 2 ** torch.arange(labels.shape[1])).sum(1)


def shares(
    generated: Int[Tensor, " n"], real: Int[Tensor, " m"], weights: Float[Tensor, "draws m"]
) -> Float[Tensor, "draws n"]:
    """How often each generated picture counts, given the keys of both and how often each real one does: a set's real
    images over its generated ones."""
    keys, place, made = torch.unique(generated, return_inverse=True, return_counts=True)
    there = weights @ (real[:, None] == keys).to(weights.dtype)
    return (there / made)[:, place]


def designs(
    generated: Int[Tensor, " n"], real: Int[Tensor, " m"], patients: Int[Tensor, " m"]
) -> tuple[Design, Design]:
    """How generated pictures and test images were drawn, given the keys of both, of the same sets, and patients.

    A set's test images are as many as its weighted pictures: with the shares of one side made those of the other, both
    are fixed. A set that one patient alone has gives no pair of independent images; it joins the set that most patients
    have, which moves the distance by about a test image's square share.
    """
    held = torch.unique(torch.stack([real, patients], 1), dim=0)[:, 0]
    keys, number = torch.unique(held, return_counts=True)
    lonely = torch.isin(real, keys[number < 2])
    strata = torch.where(lonely, keys[number.argmax()], real)
    return Design(generated, torch.arange(len(generated))), Design(strata, patients)


def distances(
    generated: Pictures,
    x: Float[Tensor, "n d"],
    real: Pictures,
    y: Float[Tensor, "m d"],
    sets: Int[Tensor, "k 14"],
    *,
    draws: int = 200,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Frechet and kernel distance over some sets of findings, as plain data.

    ``None`` where there are under two pictures, or test images of under two patients.

    Args:
        generated, x: pictures and their features.
        real, y: test images and their features.
        sets: those that are compared, exactly.
        draws, seed: of the bootstrap: pictures within their set, test images by patient.

    Raises:
        ValueError: a set with a single generated picture.
    """
    a, b, wanted = keys_of(generated.labels), keys_of(real.labels), keys_of(sets)
    rows = (torch.isin(a, wanted) & torch.isin(a, b)).nonzero()[:, 0]
    others = (torch.isin(b, wanted) & torch.isin(b, a)).nonzero()[:, 0]
    found: dict[str, Any] = {"generated": len(rows), "real": len(others), "sets": len(a[rows].unique())}
    patients = real.patients[others]
    if min(len(rows), len(patients.unique())) < 2:
        return None
    x, y, a, b = x[rows], y[others], a[rows], b[others]
    everyone = torch.ones(1, len(y))
    each = shares(a, b, everyone)
    found["generated_effective"] = float(each.sum() ** 2 / each.square().sum())
    generator = torch.Generator().manual_seed(seed)
    wx = stratified_weights(a, draws, generator)
    wy = clustered_weights(patients, draws, generator)
    wx = wx * shares(a, b, wy)  # other patients have other sets: the pictures follow them, as in the value itself
    once = each, everyone
    if min(len(x), len(y)) > x.shape[1]:
        value = float(frechet_draws(x, y, *once)[0])
        found["fid"] = Estimate.centred(value, frechet_draws(x, y, wx, wy), least=0.0).as_dict(draws=True)
    else:
        found["fid"] = None
    drawn = designs(a, b, patients)
    value = float(kernel_draws(x, y, *once, *drawn)[0])
    found["kid"] = Estimate.centred(value, kernel_draws(x, y, wx, wy, *drawn)).as_dict(draws=True)
    return found
