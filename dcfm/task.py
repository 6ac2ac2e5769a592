"""A task: what makes a problem trainable.

The planner, images and X-rays are tasks in importable modules; trainers, scripts and federation see only this.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace


@runtime_checkable
class Task(Protocol):
    """What a trainer needs to know of a problem.

    Attributes:
        space: the attributes.
        shape: shape of one sample, as it is generated.
    """

    @property
    def space(self) -> AttributeSpace: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def network(self) -> nn.Module:
        """A freshly initialised velocity network, a :class:`dcfm.fields.Field`; seed torch before for its weights."""
        ...

    def prepare(self, stored: Shaped[Tensor, "batch ..."], y: Int[Tensor, "batch k"]) -> Float[Tensor, "batch *shape"]:
        """A batch of samples as a silo stores them, e.g. as bytes, in the coordinates that are generated."""
        ...

    def draw_held(
        self, x1: Float[Tensor, "batch *shape"], generator: torch.Generator
    ) -> Bool[Tensor, "batch *shape"] | None:
        """Entries that training holds at their clean value, or ``None`` where the task never inpaints."""
        ...
