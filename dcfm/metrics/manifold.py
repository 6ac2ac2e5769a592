"""Improved precision and recall (Kynkaanniemi et al. 2019): how much of one set lies in the manifold of the other.

A set's manifold is the union of balls around its points, each reaching to the point's ``k``-th nearest neighbour in the
set, itself left out, boundary included. Precision is the share of generated samples in the real manifold, recall the
share of real samples in the generated one. Both depend on the sizes of the two sets: compare equal ones only.
"""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dcfm.metrics.features import check_finite

NEIGHBOURS: Final = 3
"""``k`` of the paper."""

BLOCK: Final = 512
"""Rows of a distance matrix that are held at once."""


@dataclass(frozen=True, eq=False)
class Membership:
    """Which generated samples lie in the real manifold, and which real ones in the generated manifold."""

    generated: Bool[Tensor, " n"]
    real: Bool[Tensor, " m"]

    @property
    def precision(self) -> float:
        """Share of the generated."""
        return float(self.generated.double().mean())

    @property
    def recall(self) -> float:
        """Share of the real."""
        return float(self.real.double().mean())


def radii(x: Float[Tensor, "n d"], k: int = NEIGHBOURS) -> Float[Tensor, " n"]:
    """Distance of each point to its ``k``-th nearest other point.

    Raises:
        ValueError: ``k < 1``, or no ``k`` other points.
    """
    if not 1 <= k < len(x):
        raise ValueError(f"k = {k} neighbours among {len(x)} points; give 1 <= k < number of points")
    found = []
    for start in range(0, len(x), BLOCK):
        distances = _distances(x[start : start + BLOCK], x)
        own = torch.arange(len(distances), device=x.device)
        distances[own, start + own] = torch.inf
        found.append(distances.kthvalue(k, dim=1).values)
    return torch.cat(found)


def membership(generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"], k: int = NEIGHBOURS) -> Membership:
    """Precision and recall of generated features against real ones, point by point.

    Raises:
        ValueError: ``k < 1``, a set without ``k`` other points, or features that are not finite.
    """
    check_finite(generated=generated, real=real)
    generated, real = generated.double(), real.double()
    generated_radii, real_radii = radii(generated, k), radii(real, k)
    in_real, in_generated = [], torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for rows, reach in zip(generated.split(BLOCK), generated_radii.split(BLOCK), strict=True):
        distances = _distances(rows, real)
        in_real.append((distances <= real_radii).any(1))
        in_generated |= (distances <= reach[:, None]).any(0)
    return Membership(torch.cat(in_real), in_generated)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # By differences, not by a matrix product: a point's distance to its own copy is exactly zero.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
