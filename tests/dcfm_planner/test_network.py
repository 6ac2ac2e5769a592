"""The plan network: what is held stays and moves the plan with it; shapes, gradients, horizons."""

import pytest
import torch
from torch import Tensor

from dcfm.networks.embedding import sinusoidal_embedding
from dcfm.path import LATEST
from dcfm_planner.layout import COLUMNS, TRANSITION
from dcfm_planner.network import PlanNetwork, held_summary
from dcfm_planner.temporal_unet import ResidualBlock, TemporalUNet, check_horizon

HORIZON = 16


def network(seed: int = 0) -> PlanNetwork:
    torch.manual_seed(seed)
    net = PlanNetwork((4, 4), HORIZON, fold=4, channels=(16, 24), condition=16)
    for parameter in net.parameters():  # away from the zeros that some layers start at
        torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


def batch(number: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(number, HORIZON, TRANSITION, generator=g)
    return x, torch.rand(number, generator=g), torch.randint(5, (number, 2), generator=g)


def start_and_goal(x: Tensor) -> Tensor:
    held = torch.zeros_like(x, dtype=torch.bool)
    held[:, 0, :12] = True
    held[:, -1, COLUMNS["cube_position"].slice] = True
    return held


def test_velocity_is_zero_where_held_and_follows_from_the_clean_plan_elsewhere() -> None:
    net, (x, t, y) = network(), batch()
    held = start_and_goal(x)
    velocity, clean = net(x, t, y, held), net.clean(x, t, y, held)
    assert (velocity[held] == 0).all()
    expected = (clean - x) / (1 - t).clamp(min=LATEST)[:, None, None]
    torch.testing.assert_close(velocity[~held], expected[~held])


def test_velocity_is_finite_at_both_ends_of_time() -> None:
    net, (x, _, y) = network(), batch()
    for t in (0.0, 1.0):
        assert net(x, torch.full((3,), t), y).isfinite().all()


def test_a_held_goal_is_read_exactly_and_an_unheld_one_is_not() -> None:
    """With mixtures that pick the goal's anchor, the cube ends at the held position whatever the noise says."""
    net, (x, t, y) = network(), batch()
    torch.nn.init.zeros_(net.unet.leave.weight)
    with torch.no_grad():
        net.unet.leave.bias.zero_()
        outputs = net.unet.leave.bias.view(4, TRANSITION + 6)  # (steps of a position, outputs)
        outputs[:, TRANSITION + 3 + 1] = 50.0  # the cube's second anchor is where it ends
    held = start_and_goal(x)
    cube = net.clean(x, t, y, held)[..., COLUMNS["cube_position"].slice]
    torch.testing.assert_close(cube, x[:, -1:, COLUMNS["cube_position"].slice].expand_as(cube))
    free = net.clean(x, t, y)[..., COLUMNS["cube_position"].slice]
    assert (free - cube).abs().max() > 1e-2


def test_held_values_count_only_where_the_mask_says_so() -> None:
    """The same numbers, held or not, are different questions."""
    net, (x, t, y) = network(), batch()
    assert not torch.allclose(net.clean(x, t, y), net.clean(x, t, y, start_and_goal(x)))
    none = torch.zeros_like(x, dtype=torch.bool)
    torch.testing.assert_close(net(x, t, y, none), net(x, t, y))


def test_actions_are_offered_the_way_to_the_effector_s_next_step() -> None:
    """The one after; at the end there is none. Both numbers of a yaw make one of its action."""
    net, (x, t, y) = network(), batch()
    with torch.no_grad():
        net.action_gain.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
        for parameter in (net.unet.leave.weight, net.unet.leave.bias):  # of actions the plan itself says nothing
            parameter.view(4, TRANSITION + 6, -1)[:, COLUMNS["action"].slice] = 0
    clean = net.clean(x, t, y)
    way = torch.diff(clean[..., :5], dim=1) * net.action_gain
    expected = torch.zeros_like(clean[..., COLUMNS["action"].slice])
    expected[:, :-1, :3], expected[:, :-1, 3] = way[..., :3], way[..., 3] + way[..., 4]
    torch.testing.assert_close(clean[..., COLUMNS["action"].slice], expected)


def test_summary_tells_start_end_and_the_latest_held_step() -> None:
    x, *_ = batch(1)
    flags = torch.zeros_like(x)
    flags[:, :5, :12] = 1
    summary = held_summary(x, flags)
    torch.testing.assert_close(summary[:, :12], x[:, 0, :12])
    assert (summary[:, 24:48] == 0).all()  # nothing held at the end
    torch.testing.assert_close(summary[:, 48:60], x[:, 4, :12])
    assert float(summary[0, -1]) == pytest.approx(5 / HORIZON)
    assert (held_summary(x, torch.zeros_like(x)) == 0).all()


def test_samples_of_a_batch_do_not_touch_each_other() -> None:
    net, (x, t, y) = network(), batch(4)
    held = start_and_goal(x)
    together = net(x, t, y, held)
    alone = torch.cat([net(x[i : i + 1], t[i : i + 1], y[i : i + 1], held[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_finite_gradient() -> None:
    net, (x, t, _) = network(), batch(64)
    labels = torch.randint(5, (64, 2), generator=torch.Generator().manual_seed(1))
    net.train()(x, t, labels, start_and_goal(x)).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("horizon", "fold", "levels"), [(90, 8, 2), (0, 4, 1), (24, 8, 3)])
def test_horizons_that_do_not_divide(horizon: int, fold: int, levels: int) -> None:
    with pytest.raises(ValueError, match=f"horizon {horizon} .*choose a multiple"):
        check_horizon(horizon, fold, levels)


def test_unet_keeps_time_in_order() -> None:
    """A change in one time step reaches the output of that step's own position through the skip path."""
    torch.manual_seed(0)
    net = TemporalUNet(3, 2, horizon=32, fold=4, channels=(8, 8), condition=4)
    torch.nn.init.normal_(net.leave.weight)
    x = torch.randn(1, 32, 3)
    moved = x.clone()
    moved[0, 20] += 1
    change = (net(moved, torch.zeros(1, 4))[0] - net(x, torch.zeros(1, 4))[0]).abs().sum(-1)[0]
    assert int(change.argmax()) // 4 == 20 // 4


@pytest.mark.parametrize("part", [slice(0, 8), slice(8, 16)], ids=["scale", "shift"])
def test_a_block_is_scaled_and_shifted_by_its_condition(part: slice) -> None:
    torch.manual_seed(0)
    block, h, condition = ResidualBlock(8, 8, 4), torch.randn(2, 8, 6), torch.randn(2, 4)
    torch.nn.init.zeros_(block.modulation.weight)
    torch.nn.init.zeros_(block.modulation.bias)
    plain = block(h, condition)
    with torch.no_grad():
        block.modulation.bias[part] = 1.0
    assert not torch.allclose(block(h, condition), plain)


def test_embedding_tells_times_apart() -> None:
    t = torch.linspace(0, 1, 101)
    rows = sinusoidal_embedding(t, 64)
    assert rows.shape == (101, 64)
    assert torch.pdist(rows).min() > 1e-2
