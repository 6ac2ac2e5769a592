"""Scoring a field on the toy: samples of each combination, their share in the queried mode, their distance to it."""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm.fields import Field
from dcfm.metrics.intervals import wilson
from dcfm.solvers import integrate
from dcfm.toy.mixture import Mixture, sliced_wasserstein


@dataclass(frozen=True)
class Sampling:
    """How a field is sampled for scoring.

    Args:
        draws: samples of each combination.
        steps: of the midpoint solver.

    Raises:
        ValueError: fewer than one of either.
    """

    draws: int = 2000
    steps: int = 10

    def __post_init__(self) -> None:
        if self.draws < 1 or self.steps < 1:
            raise ValueError(f"draws={self.draws} and steps={self.steps} must be at least 1")


@torch.no_grad()
def sample(
    field: Field, combinations: Int[Tensor, "m k"], sampling: Sampling, generator: torch.Generator
) -> Float[Tensor, "m draws k"]:
    """``draws`` samples of each combination, from noise of the generator."""
    y = combinations.repeat_interleave(sampling.draws, dim=0)
    noise = torch.randn(y.shape, generator=generator)
    x = integrate(field, noise, y, steps=sampling.steps)
    return x.reshape(len(combinations), sampling.draws, combinations.shape[1])


def hits(mixture: Mixture, combinations: Int[Tensor, "m k"], x: Float[Tensor, "m draws k"]) -> Bool[Tensor, "m draws"]:
    """Which samples lie in the queried mode."""
    y = combinations.repeat_interleave(x.shape[1], dim=0)
    return mixture.within(x.flatten(0, 1), y).reshape(x.shape[:2])


FARTHEST: Final = torch.finfo(torch.float32).max
"""What counts as the distance of samples that a field which diverged has carried beyond all numbers."""


def _finite(distance: float) -> float:
    return distance if distance < FARTHEST else FARTHEST


def score_samples(
    mixture: Mixture,
    combinations: Int[Tensor, "m k"],
    known: Bool[Tensor, " m"],
    x: Float[Tensor, "m draws k"],
    generator: torch.Generator,
) -> list[dict[str, object]]:
    """One record a combination: label, known or novel, share in the queried mode with its 95 % Wilson interval, and
    sliced Wasserstein distance to as many fresh samples of the true mode."""
    records = []
    inside = hits(mixture, combinations, x)
    for row, y in enumerate(combinations):
        n = x.shape[1]
        k = int(inside[row].sum())
        low, high = wilson(k, n)
        truth = mixture.sample(y.repeat(n, 1), generator)
        records.append(
            {
                "label": y.tolist(),
                "known": bool(known[row]),
                "k": k,
                "n": n,
                "share": k / n,
                "low": low,
                "high": high,
                "sliced_wasserstein": _finite(sliced_wasserstein(x[row], truth, generator)),
            }
        )
    return records
