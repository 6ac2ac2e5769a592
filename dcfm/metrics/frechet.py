"""Frechet distance between Gaussians fitted to two sets of features (Heusel et al. 2017, FID).

``FID = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` with sample means and unbiased sample covariances. The eigenvalues
of ``C1 C2`` are those of the symmetric ``A^T C2 A`` with ``C1 = A A^T``, so no square root of an indefinite product is
taken. ``torchmetrics`` computes the same from the product; a test holds one against the other. It is not used here
because the bootstrap needs the value under many weightings of the same features.

From ``n`` samples the distance is too large by about a constant over ``n`` (Chong & Forsyth 2020): compare numbers
of the same ``n`` only.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dcfm.metrics.features import check_finite


class SampleSizeError(ValueError):
    """Too few samples for what is to be estimated from them."""


def check_sample_size(samples: int, dimension: int, what: str) -> None:
    """Raise :class:`SampleSizeError` unless ``samples > dimension``: a covariance of fewer is singular.

    Args:
        samples: ``n``.
        dimension: of the features.
        what: the samples, in words, for the error.
    """
    if samples <= dimension:
        raise SampleSizeError(
            f"{samples} {what} cannot estimate the covariance of {dimension} features; give at least {dimension + 1}, "
            "or choose a feature space of lower dimension"
        )


def gaussian_frechet(
    mean1: Float[Tensor, "*batch d"],
    covariance1: Float[Tensor, "*batch d d"],
    mean2: Float[Tensor, "*batch d"],
    covariance2: Float[Tensor, "*batch d d"],
) -> Float[Tensor, "*batch"]:
    """The squared Frechet (2-Wasserstein) distance between Gaussians (Dowson & Landau 1982)."""
    values, vectors = torch.linalg.eigh(covariance1)
    root = vectors * values.clamp(min=0).sqrt()[..., None, :]
    product = root.mT @ covariance2 @ root
    cross = torch.linalg.eigvalsh((product + product.mT) / 2).clamp(min=0).sqrt().sum(-1)
    traces = covariance1.diagonal(dim1=-2, dim2=-1).sum(-1) + covariance2.diagonal(dim1=-2, dim2=-1).sum(-1)
    # Rounding can leave a distance of zero slightly negative.
    return ((mean1 - mean2).square().sum(-1) + traces - 2 * cross).clamp(min=0)


def frechet_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """Frechet distance between two sets of features.

    Raises:
        SampleSizeError: ``n <= d`` or ``m <= d``.
        ValueError: features that are not finite.
    """
    ones_x, ones_y = x.new_ones(1, len(x)), y.new_ones(1, len(y))
    return float(frechet_draws(x, y, ones_x, ones_y)[0])


def frechet_draws(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    weights_x: Float[Tensor, "draws n"],
    weights_y: Float[Tensor, "draws m"],
) -> Float[Tensor, " draws"]:
    """The same under weights: how often each sample counts, see :mod:`dcfm.metrics.bootstrap`.

    Raises:
        SampleSizeError: ``n <= d`` or ``m <= d``.
        ValueError: features that are not finite.
    """
    check_sample_size(len(x), x.shape[1], "samples")
    check_sample_size(len(y), y.shape[1], "reference samples")
    check_finite(x=x, y=y)
    x, y = x.double(), y.double()
    found = []
    for wx, wy in zip(weights_x.double(), weights_y.double(), strict=True):
        found.append(gaussian_frechet(*_moments(x, wx), *_moments(y, wy)))
    return torch.stack(found)


def _moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    total = weights.sum()
    mean = weights @ x / total
    centred = x - mean
    return mean, (centred * weights[:, None]).mT @ centred / (total - 1)
