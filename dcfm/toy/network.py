"""A small network for points: a multilayer perceptron of point, time and labels."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class PointNetwork(nn.Module):
    """A velocity field ``v(x, t, y)`` on points, a :class:`dcfm.fields.Field`.

    Point, time and one-hot labels (one entry an attribute for its null token) enter the first layer together. Hidden
    layers have the smooth SiLU, so that the field goes on smoothly to where no data lies.

    Args:
        dimensions: of a point.
        cardinalities: ``|Y_i|``; each attribute has a null token besides.
        width: of the hidden layers.
        depth: number of hidden layers.
    """

    def __init__(self, dimensions: int, cardinalities: tuple[int, ...], width: int = 128, depth: int = 3) -> None:
        super().__init__()
        if min(dimensions, width, depth, len(cardinalities)) < 1:
            raise ValueError(
                f"dimensions={dimensions}, width={width}, depth={depth} and the number of attributes, "
                f"{len(cardinalities)}, must be at least 1"
            )
        values = max(cardinalities) + 1
        self.values: Tensor
        self.register_buffer("values", torch.arange(values), persistent=False)
        layers: list[nn.Module] = [nn.Linear(dimensions + 1 + len(cardinalities) * values, width), nn.SiLU()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, dimensions))

    def forward(
        self,
        x: Float[Tensor, "batch d"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, "batch d"] | None = None,
    ) -> Float[Tensor, "batch d"]:
        labels = torch.eq(y[:, :, None], self.values).flatten(1).to(x.dtype)
        velocity = self.layers(torch.cat([x, t[:, None], labels], dim=1))
        return velocity if held is None else velocity.masked_fill(held, 0)
