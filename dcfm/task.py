"""A task: what makes a problem trainable.

The planner, images and X-rays are tasks in importable modules; trainers, scripts and federation see only this.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
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


EXECUTION: Final = ("precision", "compile")
"""Settings of tasks that say how a network is computed, not which one: a training may go on on another machine."""


def task_settings(task: Task) -> dict[str, Any]:
    """A task's own settings as plain data, what two trainings of one result must agree in.

    Of a task that is a dataclass, its fields, dataclasses, lists and mappings in them included, without
    :data:`EXECUTION`. What is not plain data (a domain's functions) is left out and must tell by the data that it
    makes.
    """
    return _plain(task) or {}


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value)} if is_dataclass(value) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    named = {str(name): item for name, item in value.items()} if isinstance(value, Mapping) else _fields(value)
    inner = {name: _plain(item) for name, item in named.items() if name not in EXECUTION}
    return {name: item for name, item in inner.items() if item is not None} or None
