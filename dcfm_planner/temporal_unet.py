"""A temporal U-Net over folded time (after Diffuser, Janner et al. 2022), conditioned by feature-wise modulation.

``fold`` consecutive time steps are one position of the U-Net: the same work buys several times the channels. Each
residual block is ``conv -> group norm -> modulate -> SiLU`` twice, with kernel 5; each level halves the positions.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

KERNEL = 5
GROUPS = 8


class ResidualBlock(nn.Module):
    """Two convolutions with group norm; the condition scales and shifts the first one's result."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, outputs, KERNEL, padding=KERNEL // 2)
        self.second = nn.Conv1d(outputs, outputs, KERNEL, padding=KERNEL // 2)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, outputs) for _ in range(2))
        self.modulation = nn.Linear(condition, 2 * outputs)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.act = nn.SiLU()

    def forward(
        self, h: Float[Tensor, "batch inputs positions"], condition: Float[Tensor, "batch condition"]
    ) -> Float[Tensor, "batch outputs positions"]:
        scale, shift = rearrange(self.modulation(self.act(condition)), "b (two c) -> two b c 1", two=2)
        out = self.act(self.norms[0](self.first(h)) * (1 + scale) + shift)
        return self.skip(h) + self.act(self.norms[1](self.second(out)))


class TemporalUNet(nn.Module):
    """Maps ``(batch, horizon, inputs)`` to ``(batch, horizon, outputs)`` and a summary of the whole.

    Args:
        inputs, outputs: columns of a time step.
        horizon: time steps; must divide by ``fold * 2**(levels - 1)``.
        fold: time steps of one position.
        channels: channels of each level.
        condition: size of the condition vector.

    Raises:
        ValueError: the horizon does not divide.
    """

    def __init__(
        self, inputs: int, outputs: int, horizon: int, fold: int, channels: Sequence[int], condition: int
    ) -> None:
        super().__init__()
        check_horizon(horizon, fold, len(channels))
        self.fold = fold
        widths = [channels[0], *channels]
        self.enter = nn.Conv1d(fold * inputs, channels[0], KERNEL, padding=KERNEL // 2)
        self.down = nn.ModuleList(ResidualBlock(widths[i], widths[i + 1], condition) for i in range(len(channels)))
        self.shrink = nn.ModuleList(nn.Conv1d(c, c, 3, stride=2, padding=1) for c in channels[:-1])
        self.middle = ResidualBlock(channels[-1], channels[-1], condition)
        self.up = nn.ModuleList(
            ResidualBlock(2 * channels[i], widths[i], condition) for i in reversed(range(len(channels)))
        )
        self.grow = nn.ModuleList(nn.ConvTranspose1d(c, c, 4, stride=2, padding=1) for c in reversed(channels[:-1]))
        self.leave = nn.Conv1d(channels[0], fold * outputs, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        self.summary_size = channels[-1] * (horizon // (fold * 2 ** (len(channels) - 1)))

    def forward(
        self, h: Float[Tensor, "batch horizon inputs"], condition: Float[Tensor, "batch condition"]
    ) -> tuple[Float[Tensor, "batch horizon outputs"], Float[Tensor, "batch summary"]]:
        """The output of each time step, and the flattened bottleneck (``summary_size`` numbers)."""
        h = self.enter(rearrange(h, "b (p f) c -> b (f c) p", f=self.fold))
        skips = []
        for level, block in enumerate(self.down):
            h = block(h, condition)
            skips.append(h)
            if level < len(self.shrink):
                h = self.shrink[level](h)
        h = self.middle(h, condition)
        summary = h.flatten(1)
        for level, block in enumerate(self.up):
            h = block(torch.cat([h, skips.pop()], dim=1), condition)
            if level < len(self.grow):
                h = self.grow[level](h)
        return rearrange(self.leave(h), "b (f c) p -> b (p f) c", f=self.fold), summary


def check_horizon(horizon: int, fold: int, levels: int) -> None:
    """Raise ``ValueError`` unless a network of that fold and depth can take plans of ``horizon`` steps."""
    unit = fold * 2 ** (levels - 1)
    if horizon < unit or horizon % unit:
        raise ValueError(
            f"horizon {horizon} does not divide by fold * 2**(levels - 1) = {fold} * 2**{levels - 1} = {unit}; "
            f"choose a multiple of {unit}, e.g. {max(unit, round(horizon / unit) * unit)}"
        )
