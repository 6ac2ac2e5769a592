"""A task: what makes a problem trainable.

The planner, images and X-rays are tasks in importable modules; trainers, scripts and federation see only this.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace
from dcfm.weights import Weights, fingerprint


@runtime_checkable
class Task(Protocol):
    """What a trainer needs to know of a problem; a dataclass, so that its fields tell two trainings apart.

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

    def prepare(self, stored: Shaped[Tensor, "batch ..."], y: Int[Tensor, "batch k"]) -> Float[Tensor, " batch *shape"]:
        """A batch of samples as a silo stores them, e.g. as bytes, in the coordinates that are generated."""
        ...

    def draw_held(
        self, x1: Float[Tensor, " batch *shape"], generator: torch.Generator
    ) -> Bool[Tensor, " batch *shape"] | None:
        """Entries that training holds at their clean value, or ``None`` where the task never inpaints."""
        ...


@dataclass(frozen=True)
class WithOtherNetwork(ABC):
    """A task that is the ``inner`` one in all but its network."""

    inner: Task

    @property
    def space(self) -> AttributeSpace:
        return self.inner.space

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    @abstractmethod
    def network(self) -> nn.Module: ...

    def prepare(self, stored: Shaped[Tensor, "batch ..."], y: Int[Tensor, "batch k"]) -> Float[Tensor, " batch *shape"]:
        return self.inner.prepare(stored, y)

    def draw_held(
        self, x1: Float[Tensor, " batch *shape"], generator: torch.Generator
    ) -> Bool[Tensor, " batch *shape"] | None:
        return self.inner.draw_held(x1, generator)


def check_network(task: Task) -> None:
    """Raise ``ValueError`` unless the task's network is called as a field is, and gives velocities of a sample's shape.

    Others would train: shapes that broadcast are compared as if they were equal. Draws nothing from torch's generator.
    """
    with torch.random.fork_rng(devices=[]):
        network = task.network().eval()
    try:
        inspect.signature(network.forward).bind("x", "t", "y", "held")
    except TypeError as error:
        raise ValueError(
            f"the task's network, a {type(network).__name__}, cannot be called with (x, t, y, held) ({error}); give "
            "its forward these four, the last of them None where nothing is held"
        ) from error
    x, y = torch.zeros(2, *task.shape), task.space.null.repeat(2, 1)
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        velocity = network(x, torch.full((2,), 0.5), y, None)
    if velocity.shape != x.shape:
        raise ValueError(
            f"the task's network, a {type(network).__name__}, gives velocities of shape {tuple(velocity.shape)} for "
            f"samples of shape {tuple(x.shape)}; they must be equal"
        )


def parameter_names(task: Task) -> frozenset[str]:
    """Of the entries of the network's ``state_dict()`` those that are trained; others are statistics and constants."""
    return frozenset(name for name, _ in task.network().named_parameters())


def build_network(task: Task, weights: Weights, device: torch.device | str = "cpu") -> nn.Module:
    """The task's network with these weights; draws nothing from torch's generator.

    Raises:
        RuntimeError: they are of another architecture.
    """
    with torch.random.fork_rng(devices=[]):
        network = task.network()
    network.load_state_dict(weights)
    return network.to(device)


def frozen_networks(task: Task, weights: Sequence[Weights], device: torch.device | str = "cpu") -> list[nn.Module]:
    """The task's networks with these weights, to sample from: nothing in them moves or is drawn."""
    return [build_network(task, part, device).requires_grad_(False).eval() for part in weights]


def release(network: nn.Module, task: Task) -> nn.Module:
    """Let the parameters of one of the task's networks move where those of a fresh one may; returns the network."""
    for parameter, fresh in zip(network.parameters(), task.network().parameters(), strict=True):
        parameter.requires_grad_(fresh.requires_grad)
    return network


EXECUTION: Final = ("precision", "compile")
"""Settings of tasks that say how a network is computed, not which one: a training may go on on another machine."""


def task_settings(task: Task) -> dict[str, Any]:
    """A task's own settings as plain data, what two trainings of one result must agree in.

    Its fields, dataclasses, lists and mappings in them included, tensors and arrays by their hash, without
    :data:`EXECUTION`. What else is not plain data (a domain's functions) is left out and must tell by the data that it
    makes.

    Raises:
        ValueError: the task is no dataclass.
    """
    if not is_dataclass(task):
        raise ValueError(
            f"the task is a {type(task).__name__}, which is no dataclass, so that its settings cannot be told from "
            "another's; make it one, what it is set by its fields"
        )
    return _plain(task) or {}


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value)} if is_dataclass(value) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        return fingerprint([{"value": value}])
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    named = {str(name): item for name, item in value.items()} if isinstance(value, Mapping) else _fields(value)
    inner = {name: _plain(item) for name, item in named.items() if name not in EXECUTION}
    return {name: item for name, item in inner.items() if item is not None} or None
