"""What of a task two trainings of one result must agree in, and what its network must be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dcfm.decentralized import Federation
from dcfm.silos import Silo
from dcfm.task import check_network, frozen_networks, release, task_settings
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


def test_tensors_and_arrays_tell_two_tasks_apart() -> None:
    first, second = ({"mean": torch.zeros(2), "scale": np.ones(2)} | change for change in ({}, {"scale": np.zeros(2)}))
    assert task_settings(_Optional(options=first)) == task_settings(_Optional(options=dict(first)))
    assert task_settings(_Optional(options=first)) != task_settings(_Optional(options=second))
    assert task_settings(_Optional(options=first)) != task_settings(_Optional(options=first | {"mean": torch.ones(2)}))


def test_a_task_without_settings_that_can_be_told_is_refused() -> None:
    """Else a changed task's training would count as finished, and the old one's network be returned."""

    class Plain(ToyTask):
        pass

    class Bare:
        space, shape = ToyTask().space, (2,)
        network, prepare, draw_held = ToyTask.network, ToyTask.prepare, ToyTask.draw_held

    assert task_settings(Plain()) == task_settings(ToyTask())
    with pytest.raises(ValueError, match="a Bare, which is no dataclass"):
        task_settings(Bare())  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Networked(ToyTask):
    kind: str = "whole"

    def network(self) -> nn.Module:
        return {"whole": super().network, "narrow": _Narrow, "three": _Three, "frozen": _frozen}[self.kind]()


class _Narrow(nn.Linear):
    """One number for each sample, which broadcasts against two."""

    def __init__(self) -> None:
        super().__init__(2, 1)

    def forward(self, x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:  # type: ignore[override]
        return super().forward(x)


class _Three(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 2)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)


def _frozen() -> nn.Module:
    network = ToyTask(width=8).network()
    next(network.parameters()).requires_grad_(False)
    return network


@pytest.mark.parametrize(("kind", "said"), [("narrow", r"velocities of shape \(2, 1\)"), ("three", "give its forward")])
def test_a_network_that_is_no_field_is_refused_before_any_training(kind: str, said: str, tmp_path: Path) -> None:
    y = ToyTask().space.combinations()
    with pytest.raises(ValueError, match=said):
        Federation(_Networked(kind=kind), [Silo("a", y.float(), y)], tmp_path)


def test_the_check_of_a_network_draws_nothing() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    check_network(_Networked())
    assert torch.equal(torch.rand(3), expected)


def test_a_network_moves_where_a_fresh_one_does() -> None:
    """An average is frozen as a whole, and what a task freezes stays so."""
    average = _frozen().requires_grad_(False)
    flags = [parameter.requires_grad for parameter in release(average, _Networked(kind="frozen")).parameters()]
    assert flags == [False] + [True] * (len(flags) - 1)


def test_frozen_networks_answer_alike_and_do_not_move() -> None:
    task = ToyTask(width=8, depth=1)
    trained = [task.network(), task.network()]
    weights, state = [network.state_dict() for network in trained], torch.get_rng_state()
    frozen = frozen_networks(task, weights)
    assert torch.equal(torch.get_rng_state(), state)  # whoever loads a model has a run of their own
    x, t, y = torch.randn(3, *task.shape), torch.rand(3), task.space.null.repeat(3, 1)
    for network, copy in zip(trained, frozen, strict=True):
        assert torch.equal(network(x, t, y), copy(x, t, y))
        assert not copy.training
        assert not any(parameter.requires_grad for parameter in copy.parameters())
        with torch.no_grad():
            next(network.parameters()).add_(1)
        assert not torch.equal(network(x, t, y), copy(x, t, y))


def test_weights_of_another_architecture_make_no_network() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        frozen_networks(ToyTask(width=8, depth=1), [ToyTask(width=9, depth=1).network().state_dict()])
