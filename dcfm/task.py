"""A task: what makes a problem trainable.

The planner, images and X-rays are tasks in importable modules; trainers, scripts and federation see only this.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace


@runtime_checkable
class Task(Protocol):
    """What a trainer needs to know of a problem.

    Attributes:
        space: the attributes.
        shape: shape of one sample.
    """

    @property
    def space(self) -> AttributeSpace: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def network(self) -> nn.Module:
        """A freshly initialised velocity network, a :class:`dcfm.fields.Field`; seed torch before for its weights."""
        ...

    def draw_held(
        self, x1: Float[Tensor, "batch *shape"], generator: torch.Generator
    ) -> Bool[Tensor, "batch *shape"] | None:
        """Entries that training holds at their clean value, or ``None`` where the task never inpaints."""
        ...
