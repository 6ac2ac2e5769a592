"""A U-Net over images, conditioned on time and attributes: a velocity field ``v(x, t, y)`` for pictures and latents.

``fold x fold`` pixels are first folded into channels (pixel unshuffle): positions are what costs time, above all on a
CPU. Each level has residual blocks (group norm, SiLU, 3 x 3 convolution, twice), the condition scales and shifts what
the second norm gives (FiLM, Perez et al. 2018; as in Dhariwal & Nichol 2021), and halves the positions; at the lowest
resolution the positions attend to one another. The last convolution starts at zero.

The condition is an embedding of ``t`` plus one embedding a attribute, with one row more each for the null token.

The network's output is the velocity, or, with ``predict="clean"``, the clean picture ``x1_hat``, and
``v = (x1_hat - x_t) / max(1 - t, 0.02)`` (see :mod:`dcfm.path`).
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dcfm.networks.cuda_graphs import Replays
from dcfm.networks.embedding import sinusoidal_embedding
from dcfm.path import velocity_from_clean

PREDICTIONS: Final = ("velocity", "clean")
PRECISIONS: Final = ("float32", "bfloat16")
COMPILE: Final = ("never", "cuda", "always", "graphs")
GROUP: Final = 8
"""Channels of a normalisation group."""

FREQUENCIES: Final = 64
"""Size of the embedding of time."""


class ResidualBlock(nn.Module):
    """``h + conv(SiLU(FiLM(norm(conv(SiLU(norm(h)))))))``; the second convolution starts at zero."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(c // GROUP, c) for c in (inputs, outputs))
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = _zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.modulation = nn.Linear(condition, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(
        self, h: Float[Tensor, "batch inputs height width"], condition: Float[Tensor, "batch condition"]
    ) -> Float[Tensor, "batch outputs height width"]:
        out = self.first(functional.silu(self.norms[0](h)))
        scale, shift = self.modulation(condition)[..., None, None].chunk(2, dim=1)
        return self.skip(h) + self.second(functional.silu(self.norms[1](out) * (1 + scale) + shift))


class Attention(nn.Module):
    """Every position attends to every other; starts as the identity."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(channels // GROUP, channels)
        self.enter = nn.Conv2d(channels, 3 * channels, 1)
        self.leave = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, h: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        q, k, v = rearrange(
            self.enter(self.norm(h)), "b (three heads c) y x -> three b heads (y x) c", three=3, heads=self.heads
        )
        out = functional.scaled_dot_product_attention(q, k, v)
        return h + self.leave(rearrange(out, "b heads (y x) c -> b (heads c) y x", y=h.shape[2]))


class ImageUNet(nn.Module):
    """A class-conditional velocity field over images; a :class:`dcfm.fields.Field`.

    Args:
        cardinalities: values of each attribute, any number of them.
        shape: of a picture: channels, height, width; height and width must divide by ``fold * 2**(levels - 1)``.
        channels: of each level, multiples of 8.
        blocks: residual blocks of a level, each way.
        fold: pixels along an edge that share a position.
        condition: size of the embedding of time and attributes.
        heads: of the attention; must divide the last level's channels.
        predict: ``velocity`` or ``clean``.
        precision: ``float32``, or ``bfloat16`` for what autocast runs so; weights and the result stay float32.
        compile: ``never``; ``cuda``: compile where the input lies on a GPU; ``always``; ``graphs``: do not compile, but
            on a GPU launch a call's kernels as one (:mod:`dcfm.networks.cuda_graphs`).

    Raises:
        ValueError: sizes that do not fit one another, or an unknown option.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        shape: Sequence[int],
        *,
        channels: Sequence[int] = (64, 128),
        blocks: int = 1,
        fold: int = 1,
        condition: int = 128,
        heads: int = 4,
        predict: str = "clean",
        precision: str = "float32",
        compile: str = "never",
    ) -> None:
        super().__init__()
        check_shape(shape, channels, fold, blocks, heads, condition)
        for name, value, allowed in (
            ("predict", predict, PREDICTIONS),
            ("precision", precision, PRECISIONS),
            ("compile", compile, COMPILE),
        ):
            if value not in allowed:
                raise ValueError(f"{name}={value!r}; it is one of {', '.join(allowed)}")
        self.fold, self.predict, self.precision, self.compiled = fold, predict, precision, compile
        self.time = nn.Sequential(nn.Linear(FREQUENCIES, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.labels = nn.ModuleList(nn.Embedding(n + 1, condition) for n in cardinalities)
        folded, last = shape[0] * fold**2, channels[-1]
        self.enter = nn.Conv2d(folded, channels[0], 3, padding=1)
        self.down, self.shrink, self.up, self.grow = (nn.ModuleList() for _ in range(4))
        skips: list[int] = []
        width = channels[0]
        for level, c in enumerate(channels):
            for _ in range(blocks):
                self.down.append(ResidualBlock(width, c, condition))
                width = c
                skips.append(width)
            if level < len(channels) - 1:
                self.shrink.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
        self.middle = nn.ModuleList(ResidualBlock(last, last, condition) for _ in range(2))
        self.attention = Attention(last, heads)
        for level, c in reversed(list(enumerate(channels))):
            for _ in range(blocks):
                self.up.append(ResidualBlock(width + skips.pop(), c, condition))
                width = c
            if level > 0:
                self.grow.append(nn.Conv2d(width, width, 3, padding=1))
        self.norm = nn.GroupNorm(width // GROUP, width)
        self.leave = _zero(nn.Conv2d(width, folded, 3, padding=1))
        self.blocks = blocks
        self.replays = Replays()

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, "batch channels height width"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """The velocity at ``x`` and ``t`` for labels ``y`` (null tokens allowed); zero where ``held``, of which the
        network is not told."""
        if self.compiled == "graphs" and x.is_cuda:
            out = self.replays(_evaluate, self, x, t, y)
        else:
            compiled = self.compiled == "always" or (self.compiled == "cuda" and x.is_cuda)
            out = _evaluate(self, x, t, y, body=_compiled() if compiled else _body)
        if self.predict == "clean":
            out = velocity_from_clean(out, x, t)
        return out if held is None else out.masked_fill(held, 0.0)

    def body(
        self, x: Float[Tensor, "batch channels height width"], t: Float[Tensor, " batch"], y: Int[Tensor, "batch k"]
    ) -> Float[Tensor, "batch channels height width"]:
        """What the U-Net gives: a velocity, or a clean picture."""
        condition = self.time(sinusoidal_embedding(t, FREQUENCIES))
        for i, table in enumerate(self.labels):
            condition = condition + table(y[:, i])
        condition = functional.silu(condition)
        # Channels last: forward and backward take about a tenth less time so on a CPU. By axes, since vmap, which takes
        # gradients sample by sample, cannot copy into a memory format.
        folded = functional.pixel_unshuffle(x, self.fold).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        h = self.enter(folded)
        skips = []
        for index, block in enumerate(self.down):
            h = block(h, condition)
            skips.append(h)
            level, place = divmod(index + 1, self.blocks)
            if place == 0 and level <= len(self.shrink):
                h = self.shrink[level - 1](h)
        h = self.middle[1](self.attention(self.middle[0](h, condition)), condition)
        for index, block in enumerate(self.up):
            h = block(torch.cat([h, skips.pop()], dim=1), condition)
            level, place = divmod(index + 1, self.blocks)
            if place == 0 and level <= len(self.grow):
                h = self.grow[level - 1](_double(h))
        return functional.pixel_shuffle(self.leave(functional.silu(self.norm(h))), self.fold)


def check_shape(
    shape: Sequence[int], channels: Sequence[int], fold: int, blocks: int, heads: int, condition: int
) -> None:
    """Raise ``ValueError`` unless a network of these sizes can take pictures of that shape."""
    if len(shape) != 3 or not channels or min(*shape, *channels, fold, blocks, heads, condition) < 1:
        raise ValueError(
            f"shape={list(shape)} is channels, height and width; channels={list(channels)} of one level or more, "
            f"fold={fold}, blocks={blocks}, heads={heads} and condition={condition} are at least 1"
        )
    unit = fold * 2 ** (len(channels) - 1)
    if shape[1] % unit or shape[2] % unit:
        raise ValueError(
            f"pictures of {shape[1]} x {shape[2]} pixels do not divide by fold * 2**(levels - 1) = {fold} * "
            f"2**{len(channels) - 1} = {unit}; choose multiples of {unit}, another fold or fewer levels"
        )
    if any(c % GROUP for c in channels) or channels[-1] % heads:
        raise ValueError(
            f"channels={list(channels)} must be multiples of {GROUP}, and the last a multiple of heads={heads}"
        )


def _double(h: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels rows columns"]:
    """Every position four times, channels last. As ``functional.interpolate(h, scale_factor=2)``, whose gradient torch
    2.13 loses on a CPU when it is compiled under bfloat16."""
    return repeat(h, "b c y x -> b (y 2) (x 2) c").permute(0, 3, 1, 2)


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _body(network: ImageUNet, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return network.body(x, t, y)


def _evaluate(network: ImageUNet, x: Tensor, t: Tensor, y: Tensor, body: Callable[..., Tensor] = _body) -> Tensor:
    # A call uses a weight once: its half-precision copy need not be kept, and could not be where a graph is recorded.
    bfloat16 = network.precision == "bfloat16"
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False):
        return body(network, x, t, y).to(x.dtype)


@cache
def _compiled() -> Callable[..., Any]:
    # A function of the network, not the network's own method: copies (EMA, frozen peers, teachers) share its code.
    return torch.compile(_body)
