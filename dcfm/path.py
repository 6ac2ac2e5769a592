"""The linear probability path (Eq. 3) and the relation between velocity and score on it (Eqs. 26-28).

``x_t = (1 - t) x_0 + t x_1`` with noise ``x_0 ~ N(0, I)`` at ``t = 0`` and data at ``t = 1``; target ``u = x_1 - x_0``.

An entry that is *held* carries its clean value at every time: its noise is set to its data, so that ``x_t = x_1`` and
``u = 0`` there without a special case anywhere else.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LATEST: Final = 0.02
"""``max(1 - t, LATEST)`` bounds what grows like ``1 / (1 - t)``; the same in network, losses and weights."""


def over(t: Float[Tensor, " batch"], x: Float[Tensor, " batch *shape"]) -> Float[Tensor, " batch *ones"]:
    """``t`` with the trailing axes that broadcast it over ``x``."""
    return t.reshape(-1, *(1,) * (x.ndim - 1))


def draw_noise(
    x1: Float[Tensor, " batch *shape"],
    held: Bool[Tensor, " batch *shape"] | None,
    generator: torch.Generator,
) -> Float[Tensor, " batch *shape"]:
    """Standard normal noise of ``x1``'s shape; held entries get the data's own value."""
    noise = torch.randn(x1.shape, generator=generator, device=x1.device, dtype=x1.dtype)
    return noise if held is None else torch.where(held, x1, noise)


def interpolate(
    x0: Float[Tensor, " batch *shape"], x1: Float[Tensor, " batch *shape"], t: Float[Tensor, " batch"]
) -> Float[Tensor, " batch *shape"]:
    """``x_t = (1 - t) x_0 + t x_1``, Eq. 3."""
    return torch.lerp(x0, x1, over(t, x0))


def target_velocity(
    x0: Float[Tensor, " batch *shape"], x1: Float[Tensor, " batch *shape"]
) -> Float[Tensor, " batch *shape"]:
    """``u = x_1 - x_0``, Eq. 3."""
    return x1 - x0


def score_from_velocity(
    v: Float[Tensor, " batch *shape"], x: Float[Tensor, " batch *shape"], t: Float[Tensor, " batch"]
) -> Float[Tensor, " batch *shape"]:
    """``grad log p_t = (v - x / t) * t / (1 - t)``: Eqs. 26-28 for the linear path, ``0 < t < 1``."""
    time = over(t, x)
    return (v - x / time) * time / (1 - time)


def velocity_from_score(
    score: Float[Tensor, " batch *shape"], x: Float[Tensor, " batch *shape"], t: Float[Tensor, " batch"]
) -> Float[Tensor, " batch *shape"]:
    """``v = x / t + (1 - t) / t * score``: Eqs. 26-28 for the linear path, ``0 < t < 1``."""
    time = over(t, x)
    return x / time + (1 - time) / time * score


def velocity_from_clean(
    x1: Float[Tensor, " batch *shape"], x: Float[Tensor, " batch *shape"], t: Float[Tensor, " batch"]
) -> Float[Tensor, " batch *shape"]:
    """``v = (x1_hat - x_t) / max(1 - t, LATEST)`` of a network that predicts the clean sample."""
    return (x1 - x) / over((1 - t).clamp(min=LATEST), x)
