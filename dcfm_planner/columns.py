"""The columns of a transition, by name: what a domain says of its trajectories, and all that planning knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, SupportsFloat

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Column:
    """A named group of columns of a transition: where it lies, its unit, and its normalising constants."""

    name: str
    start: int
    stop: int
    unit: str
    offset: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def slice(self) -> slice:
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Layout:
    """Named columns side by side, the state's first.

    Normalised columns are ``(value - offset) / scale`` with constants of the scene alone, so that silos share
    coordinates without having pooled anything.

    Args:
        columns: by name.
        goal: the name of the column that is held at the last step where a goal is given.
        action: the name of the action's column, the last one; ``None`` where plans are made of states alone.
    """

    columns: dict[str, Column]
    goal: str
    action: str | None = None

    @classmethod
    def of(
        cls,
        rows: Sequence[tuple[str, str, Sequence[SupportsFloat], Sequence[SupportsFloat]]],
        *,
        goal: str,
        action: str | None = None,
    ) -> Layout:
        """From rows of (name, unit, offsets, scales), in the order of the columns.

        Raises:
            ValueError: not one scale an offset, numbers that are not finite, no such goal, or an action that is not
                the last.
        """
        columns, start = {}, 0
        for name, unit, offsets, scales in rows:
            # An artefact stores them as JSON, which takes no number of NumPy's.
            offset, scale = tuple(map(float, offsets)), tuple(map(float, scales))
            if len(offset) != len(scale) or not all(s > 0 for s in scale):
                raise ValueError(f"column {name!r}: give one scale above 0 an offset, not {len(offset)} and {scale}")
            if not all(map(isfinite, (*offset, *scale))):
                raise ValueError(f"column {name!r}: give finite numbers, not offsets {offset} and scales {scale}")
            columns[name] = Column(name, start, start + len(offset), unit, offset, scale)
            start += len(offset)
        if goal not in columns or action not in (None, list(columns)[-1]):
            raise ValueError(f"goal={goal!r}, action={action!r}: the columns are {list(columns)}, the action the last")
        return cls(columns, goal, action)

    @property
    def width(self) -> int:
        """Columns of a transition."""
        return max(column.stop for column in self.columns.values())

    @property
    def state(self) -> int:
        """Columns ``[:state]`` are the state, the rest the action."""
        return self.width if self.action is None else self.columns[self.action].start

    @cached_property
    def _constants(self) -> tuple[Tensor, Tensor]:
        columns = self.columns.values()
        return torch.tensor([o for c in columns for o in c.offset]), torch.tensor([s for c in columns for s in c.scale])

    def normalise(self, transitions: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch columns"]:
        """From SI units to normalised; the columns may be all of a transition or its state alone."""
        offset, scale = self._constants
        width = transitions.shape[-1]
        return (transitions - offset[:width].to(transitions)) / scale[:width].to(transitions)

    def denormalise(self, transitions: Float[Tensor, "*batch columns"]) -> Float[Tensor, "*batch columns"]:
        """From normalised to SI units: the inverse of :meth:`normalise`."""
        offset, scale = self._constants
        width = transitions.shape[-1]
        return transitions * scale[:width].to(transitions) + offset[:width].to(transitions)

    def parts(self, normalised: Float[Tensor, "*batch columns"]) -> dict[str, Float[np.ndarray, "*batch width"]]:
        """SI arrays by name of normalised transitions."""
        values = self.denormalise(normalised.detach().cpu().double()).numpy()
        return {name: values[..., column.slice] for name, column in self.columns.items()}

    def coordinates(self) -> dict[str, Any]:
        """The constants as plain values, for an artefact."""
        return {
            c.name: {"offset": list(c.offset), "scale": list(c.scale), "unit": c.unit} for c in self.columns.values()
        }
