"""How near generated pictures are to real ones: Frechet and kernel distance with test images of the same label sets.

Generated pictures are equally many of every set; test images are as nature has them. A generated picture therefore
counts as often as its set's test images say: with ``n_S`` of these and ``m_S`` pictures, ``n_S / m_S``. Features are of
the classifier trained on real pictures, the same for all methods. Where there are no more samples than features, the
Frechet distance is ``null`` and the kernel distance stands alone.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dcfm.metrics.bootstrap import Estimate, clustered_weights, stratified_weights
from dcfm.metrics.frechet import frechet_draws
from dcfm.metrics.kernel import kernel_draws
from dcfm_xray.problem import Pictures


def keys_of(labels: Int[Tensor, "n 14"]) -> Int[Tensor, " n"]:
    """A number for each set of findings."""
    return (labels * 2 ** torch.arange(labels.shape[1])).sum(1)


def shares(generated: Int[Tensor, " n"], real: Int[Tensor, " m"]) -> Float[Tensor, " n"]:
    """How often each generated picture counts, given the keys of both: a set's real images over its generated ones."""
    keys, place, made = torch.unique(generated, return_inverse=True, return_counts=True)
    there = (real[None] == keys[:, None]).sum(1)
    return (there.double() / made.double())[place].float()


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
    """Frechet and kernel distance over some sets of findings, as plain data; ``None`` where there are under two images.

    Args:
        generated, x: pictures and their features.
        real, y: test images and their features.
        sets: those that are compared, exactly.
        draws, seed: of the bootstrap: pictures within their set, test images by patient.
    """
    a, b, wanted = keys_of(generated.labels), keys_of(real.labels), keys_of(sets)
    rows = (torch.isin(a, wanted) & torch.isin(a, b)).nonzero()[:, 0]
    others = (torch.isin(b, wanted) & torch.isin(b, a)).nonzero()[:, 0]
    found: dict[str, Any] = {"generated": len(rows), "real": len(others), "sets": len(a[rows].unique())}
    if min(len(rows), len(others)) < 2:
        return None
    x, y, a, b = x[rows], y[others], a[rows], b[others]
    each = shares(a, b)
    generator = torch.Generator().manual_seed(seed)
    wx = stratified_weights(a, draws, generator) * each
    wy = clustered_weights(real.patients[others], draws, generator)
    once = each[None], torch.ones(1, len(y))
    if min(len(x), len(y)) > x.shape[1]:
        value = float(frechet_draws(x, y, *once)[0])
        found["fid"] = Estimate.centred(value, frechet_draws(x, y, wx, wy), least=0.0).as_dict(draws=True)
    else:
        found["fid"] = None
    value = float(kernel_draws(x, y, *once)[0])
    found["kid"] = Estimate.centred(value, kernel_draws(x, y, wx, wy)).as_dict(draws=True)
    return found
