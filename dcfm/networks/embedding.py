"""How a number becomes a vector that a network can be conditioned on."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoidal_embedding(t: Float[Tensor, " batch"], size: int, highest: float = 1000.0) -> Float[Tensor, "batch size"]:
    """Sines and cosines of ``t`` in [0, 1] at ``size / 2`` frequencies from 1 to ``highest`` rad."""
    frequency = torch.exp(torch.linspace(0, math.log(highest), size // 2, device=t.device, dtype=t.dtype))
    angle = t[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
