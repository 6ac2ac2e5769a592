"""What of a task two trainings of one result must agree in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from dcfm.task import task_settings
from dcfm.toy.task import ToyTask


@dataclass(frozen=True)
class _Part:
    rate: float = 0.5
    compile: str = "never"
    rule: Callable[[int], int] = abs


@dataclass(frozen=True)
class _Composite(ToyTask):
    channels: tuple[int, ...] = (8, 16)
    part: _Part = _Part()
    precision: str = "float32"
    nothing: str | None = None


def test_settings_are_plain_and_nested() -> None:
    expected = {"attributes": 2, "width": 128, "depth": 3}
    assert task_settings(ToyTask()) == expected
    assert task_settings(_Composite()) == expected | {"channels": [8, 16], "part": {"rate": 0.5}}


class _Kind(Enum):
    NEAR = 1


def test_settings_of_any_plain_kind_count() -> None:
    """What a task's preparation may use must tell two trainings apart."""
    options = {"scale": np.float32(0.5), "inner": {"rates": [1, 2]}, "kind": _Kind.NEAR, "at": Path("a/b"), "rule": abs}
    found = task_settings(_Optional(options=options))["options"]
    assert found == {"scale": 0.5, "inner": {"rates": [1, 2]}, "kind": "_Kind.NEAR", "at": "a/b"}


@dataclass(frozen=True)
class _Optional(ToyTask):
    options: Mapping[str, Any] = field(default_factory=dict)


def test_how_a_network_is_computed_is_not_which_one() -> None:
    assert task_settings(_Composite(precision="bfloat16")) == task_settings(_Composite())
    assert task_settings(replace(_Composite(), part=_Part(rate=0.1))) != task_settings(_Composite())
    assert task_settings(replace(_Composite(), part=_Part(compile="graphs"))) == task_settings(_Composite())
