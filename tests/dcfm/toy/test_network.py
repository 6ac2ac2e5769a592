"""dcfm/toy/network.py and task.py: a field whose labels matter, through which gradients flow."""

import pickle

import pytest
import torch

from dcfm.fields import Field
from dcfm.task import Task
from dcfm.toy.network import PointNetwork
from dcfm.toy.task import ToyTask


def test_a_task_with_a_field_as_its_network(generator: torch.Generator) -> None:
    task = ToyTask(3, width=16)
    network = task.network()
    assert isinstance(task, Task)
    assert isinstance(network, Field)
    assert pickle.loads(pickle.dumps(task)) == task
    x = torch.randn(5, 3, generator=generator)
    y = task.space.draw_combinations(5, generator)
    assert network(x, torch.rand(5, generator=generator), y).shape == (5, *task.shape)
    assert task.draw_held(x, generator) is None


def test_every_label_and_null_token_counts(generator: torch.Generator) -> None:
    network = ToyTask(2, width=16).network()
    x, t = torch.randn(1, 2, generator=generator).expand(9, 2), torch.full((9,), 0.5)
    y = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    with torch.no_grad():
        velocity = network(x, t, y)
    assert len(torch.unique(velocity, dim=0)) == 9


def test_gradients_reach_all_parameters_and_the_field_is_smooth(generator: torch.Generator) -> None:
    network = PointNetwork(2, (2, 2), width=16)
    x = torch.randn(32, 2, generator=generator, requires_grad=True)
    t = torch.rand(32, generator=generator)
    y = torch.randint(3, (32, 2), generator=generator)
    network(x, t, y).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_held_entries_do_not_move_and_weights_determine_the_field(generator: torch.Generator) -> None:
    one, other = (PointNetwork(2, (2, 2), width=16) for _ in range(2))
    other.load_state_dict(one.state_dict())
    x, t = torch.randn(8, 2, generator=generator), torch.rand(8, generator=generator)
    y = torch.zeros(8, 2, dtype=torch.long)
    held = torch.rand(8, 2, generator=generator) < 0.5
    assert torch.equal(one(x, t, y), other(x, t, y))
    assert not one(x, t, y, held)[held].any()


def test_impossible_networks() -> None:
    with pytest.raises(ValueError, match="width=0"):
        PointNetwork(2, (2, 2), width=0)
