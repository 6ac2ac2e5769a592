"""A task small enough to train in a test: four Gaussian modes in the plane, one of which no silo holds."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace

SPACE = AttributeSpace.from_cardinalities(2, 2)
DISTANCE, SPREAD = 1.5, 0.4


class Mlp(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.labels = nn.ModuleList(nn.Embedding(3, 16) for _ in range(2))
        self.layers = nn.Sequential(nn.Linear(2 + 1 + 32, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        embedded = torch.cat([table(y[:, i]) for i, table in enumerate(self.labels)], dim=1)
        velocity = self.out(self.layers(torch.cat([x, t[:, None], embedded], dim=1)))
        return velocity if held is None else velocity.masked_fill(held, 0.0)


@dataclass(frozen=True)
class ToyTask:
    width: int = 64
    holds: bool = False

    @property
    def space(self) -> AttributeSpace:
        return SPACE

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def network(self) -> nn.Module:
        return Mlp(self.width)

    def prepare(self, stored: Tensor, y: Tensor) -> Tensor:
        return stored

    def draw_held(self, x1: Tensor, generator: torch.Generator) -> Tensor | None:
        if not self.holds:
            return None
        return torch.rand(x1.shape, generator=generator) < 0.3


def draw(y: Tensor, generator: torch.Generator) -> Tensor:
    """Samples of the modes at ``(+-1.5, +-1.5)``; attribute i acts on coordinate i."""
    return DISTANCE * (2.0 * y - 1) + SPREAD * torch.randn(len(y), 2, generator=generator)


def silo_data(combinations: list[list[int]], number: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.tensor(combinations).repeat(number, 1)
    return draw(y, generator), y
