"""How well an autoencoder keeps phantoms that it was not trained on: its error, and what is left of each finding.

The *contrast kept* of a finding: a phantom is drawn twice, with the finding and without, all else equal; both are
encoded and decoded. With ``d`` the difference of the two originals and ``r`` that of the two reconstructions, the share
of ``d`` that is found again in ``r`` is ``<r, d> / <d, d>``: 1 if the finding survives whole, 0 if it is gone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from dcfm.artefacts import atomically
from dcfm_xray.autoencoder import numbers_of, read_all
from dcfm_xray.cache import Encoder
from dcfm_xray.findings import FINDINGS
from dcfm_xray.phantom import draw_phantoms
from dcfm_xray.sources import PhantomSource

Z = 1.959964
"""Of a 95 % interval."""


@torch.no_grad()
def reconstruct(network: Encoder, pictures: UInt8[Tensor, "n size size"]) -> UInt8[Tensor, "n size size"]:
    """Encode and decode, in parts."""
    parts = [network.decode(network.encode(pictures[rows])) for rows in numbers_of(len(pictures))]  # type: ignore[attr-defined]
    return torch.cat(parts)


def mean_with_interval(values: Float[Tensor, " n"]) -> Mapping[str, float | int]:
    """Mean, its 95 % interval by the normal approximation, and n."""
    mean, half = float(values.mean()), Z * float(values.std()) / len(values) ** 0.5
    return {"value": mean, "low": mean - half, "high": mean + half, "n": len(values)}


def measure(network: Encoder, *, measured: int, contrasts: int, seed: int) -> dict[str, Any]:
    """Mean absolute error in grey levels of 255, and the contrast kept of each finding, on phantoms of this seed.

    Args:
        network: an encoder that decodes too.
        measured: phantoms with label sets as frequent as in the NIH table.
        contrasts: phantoms of each finding, which has no other.
        seed: of the phantoms; another one than that of the training.

    Raises:
        ValueError: fewer than two of either.
    """
    if min(measured, contrasts) < 2:
        raise ValueError(f"measured={measured} and contrasts={contrasts} phantoms; an interval needs two of each")
    pictures = read_all(PhantomSource(measured, seed), network.size)
    error = (reconstruct(network, pictures).float() - pictures.float()).abs().mean(dim=(1, 2))
    kept = {}
    numbers = seed + torch.arange(contrasts)
    nothing = torch.zeros(contrasts, len(FINDINGS), dtype=torch.long)
    without = draw_phantoms(nothing, numbers, numbers, network.size)
    base = reconstruct(network, without).float()
    for i, finding in enumerate(FINDINGS):
        labels = nothing.clone()
        labels[:, i] = 1
        having = draw_phantoms(labels, numbers, numbers, network.size)
        d = (having.float() - without.float()).flatten(1)
        r = (reconstruct(network, having).float() - base).flatten(1)
        kept[finding] = mean_with_interval((r * d).sum(1) / d.square().sum(1))
    return {
        "what": "error: mean absolute error a picture, grey levels of 255; contrast_kept: see dcfm_xray.reconstruction",
        "interval": "95 %, normal approximation",
        "seed": seed,
        "error": mean_with_interval(error),
        "contrast_kept": kept,
    }


def picture(network: Encoder, path: Path, *, seed: int, scale: int = 2) -> None:
    """A picture file: one phantom of each finding and one of none, the originals above, reconstructions below."""
    labels = torch.cat([torch.zeros(1, len(FINDINGS), dtype=torch.long), torch.eye(len(FINDINGS), dtype=torch.long)])
    numbers = seed + torch.arange(len(labels))
    originals = draw_phantoms(labels, numbers, numbers, network.size)
    rows = [torch.cat(list(images), dim=1) for images in (originals, reconstruct(network, originals))]
    whole = torch.cat(rows).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    with atomically(path) as temporary:
        Image.fromarray(whole.numpy()).save(temporary, format="PNG")
