"""The residual network over trajectories of any layout: what is held, asked for and the time all matter."""

import pytest
import torch
from torch import Tensor

from dcfm_planner.trajectory_network import TrajectoryNetwork

HORIZON, COLUMNS = 6, 3


@pytest.fixture
def network() -> TrajectoryNetwork:
    torch.manual_seed(0)
    return TrajectoryNetwork((4, 4), HORIZON, COLUMNS, widths=(16, 16), condition=8).eval()


@pytest.fixture
def x(generator: torch.Generator) -> Tensor:
    return torch.randn(2, HORIZON, COLUMNS, generator=generator)


T = torch.tensor([0.2, 0.7])
LABELS = torch.tensor([[0, 1], [2, 3]])


def test_velocity_is_zero_where_held_and_held_numbers_are_another_question(
    network: TrajectoryNetwork, x: Tensor
) -> None:
    held = torch.zeros_like(x, dtype=torch.bool)
    held[:, 0], held[:, -1, :2] = True, True
    velocity, free = network(x, T, LABELS, held), network(x, T, LABELS)
    assert (velocity[held] == 0).all()
    assert (free[held] != 0).all()
    assert not torch.allclose(velocity[~held], free[~held])
    torch.testing.assert_close(network(x, T, LABELS, torch.zeros_like(held)), free)


def test_every_attribute_and_the_time_count(network: TrajectoryNetwork, x: Tensor) -> None:
    clean = x + (1 - T)[:, None, None] * network(x, T, LABELS)
    for labels in (torch.tensor([[1, 1], [1, 3]]), torch.tensor([[0, 2], [2, 2]])):
        assert not torch.allclose(x + (1 - T)[:, None, None] * network(x, T, labels), clean)
    later = T + 0.1
    assert not torch.allclose(x + (1 - later)[:, None, None] * network(x, later, LABELS), clean)


def test_what_leaves_is_ordered_as_what_enters(network: TrajectoryNetwork, x: Tensor) -> None:
    """Step by step, in each of them column by column."""
    order = torch.arange(HORIZON * COLUMNS, dtype=torch.float32)
    with torch.no_grad():
        network.leave.weight.zero_()
        network.leave.bias.copy_(order)
    velocity = network(x, torch.zeros(2), LABELS)
    torch.testing.assert_close(x + velocity, order.view(1, HORIZON, COLUMNS).expand_as(x))


def test_blocks_add_to_what_they_are_given(network: TrajectoryNetwork, x: Tensor) -> None:
    """Blocks that say nothing let the trajectory through."""
    with torch.no_grad():
        for down in network.down:
            down.weight.zero_()
            down.bias.zero_()
    clean = x + network(x, torch.zeros(2), LABELS[:1].expand(2, -1))
    assert not torch.allclose(clean[0], clean[1])


def test_every_parameter_gets_a_finite_gradient(network: TrajectoryNetwork, generator: torch.Generator) -> None:
    x = torch.randn(64, HORIZON, COLUMNS, generator=generator)
    labels = torch.randint(5, (64, 2), generator=generator)
    network(x, torch.rand(64, generator=generator), labels).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
