"""The toy as a task: its attribute space and its network; nothing is ever held."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace
from dcfm.toy.mixture import toy_space
from dcfm.toy.network import PointNetwork


@dataclass(frozen=True)
class ToyTask:
    """Points in ``k`` dimensions with ``k`` binary attributes; a :class:`dcfm.task.Task`.

    Args:
        attributes: ``k``.
        width, depth: see :class:`~dcfm.toy.network.PointNetwork`.
    """

    attributes: int = 2
    width: int = 128
    depth: int = 3

    @property
    def space(self) -> AttributeSpace:
        return toy_space(self.attributes)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.attributes,)

    def network(self) -> nn.Module:
        """A fresh :class:`~dcfm.toy.network.PointNetwork`."""
        return PointNetwork(self.attributes, self.space.cardinalities, self.width, self.depth)

    def prepare(self, stored: Float[Tensor, "batch k"], y: Int[Tensor, "batch attributes"]) -> Float[Tensor, "batch k"]:
        """Points are stored as they are."""
        return stored

    def draw_held(self, x1: Float[Tensor, "batch k"], generator: torch.Generator) -> None:
        """Nothing: the toy does not inpaint."""
        return
