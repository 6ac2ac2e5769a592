"""CUDA graphs of a network's calls: the same values and gradients as without, whatever the order of calls. Most need a
GPU; without one, that nothing of this changes a network is left."""

import pickle
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from dcfm.networks.cuda_graphs import SEEN, SHAPES, Replays
from dcfm.networks.image_unet import ImageUNet

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def networks(count: int = 1, **changes: Any) -> list[ImageUNet]:
    """The same weights each, none of them zero."""
    torch.manual_seed(0)
    first = ImageUNet((3,), (3, 8, 8), channels=(8, 16), condition=16, heads=2, fold=2, **changes)
    for parameter in first.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return [first, *(deepcopy(first) for _ in range(count - 1))]


def batch(rows: int, seed: int = 0, device: str = "cuda") -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, t = torch.randn(rows, 3, 8, 8, generator=generator), torch.rand(rows, generator=generator)
    return x.to(device), t.to(device), torch.randint(0, 4, (rows, 1), generator=generator).to(device)


def pair() -> tuple[ImageUNet, ImageUNet]:
    """With graphs and without, on the GPU."""
    replayed, plain = (networks(compile=choice)[0].cuda() for choice in ("graphs", "never"))
    return replayed, plain


def assert_gradients_agree(replayed: ImageUNet, plain: ImageUNet) -> None:
    for (name, a), b in zip(replayed.named_parameters(), plain.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_on_a_cpu_nothing_is_recorded() -> None:
    replayed, plain = (networks(compile=choice)[0] for choice in ("graphs", "never"))
    for _ in range(SEEN + 2):
        assert torch.equal(replayed(*batch(4, device="cpu")), plain(*batch(4, device="cpu")))
    assert not replayed.replays.training
    assert not replayed.replays.inference


def test_copies_and_pickles_begin_with_nothing() -> None:
    replays = Replays()
    replays.seen["a shape"] = 5
    for other in (deepcopy(replays), pickle.loads(pickle.dumps(replays))):
        assert not other.seen
    assert networks()[0].state_dict().keys() == networks(compile="graphs")[0].state_dict().keys()


@gpu
def test_gradients_over_several_steps_and_calls() -> None:
    """Two shapes a step, one of them twice before the step goes back; weights move in place in between."""
    both = pair()
    for step in range(SEEN + 4):
        for network in both:
            network.zero_grad(set_to_none=True)
            one, two, three = (network(*batch(rows, seed)) for rows, seed in ((8, step), (5, step), (8, step + 100)))
            (one.square().mean() + two.abs().mean() + (three - 1).square().mean()).backward()
        assert_gradients_agree(*both)
        with torch.no_grad():
            for network in both:
                for parameter, other in zip(network.parameters(), both[1].parameters(), strict=True):
                    parameter -= 0.01 * other.grad  # type: ignore[operator]
    assert len(both[0].replays.training) == 2


@gpu
def test_without_a_gradient_any_number_of_rows() -> None:
    replayed, plain = pair()
    with torch.no_grad():
        for rows in (1, 63, 64, 65, 200, 1, 1500):
            torch.testing.assert_close(replayed(*batch(rows)), plain(*batch(rows)), rtol=1e-3, atol=1e-4)
        kept = replayed(*batch(3))
        replayed(*batch(3, seed=1))
        torch.testing.assert_close(kept, plain(*batch(3)), rtol=1e-3, atol=1e-4)  # results are the caller's own
        for network in (replayed, plain):
            network.leave.weight.mul_(2.0)
        torch.testing.assert_close(replayed(*batch(3)), plain(*batch(3)), rtol=1e-3, atol=1e-4)
    assert len(replayed.replays.inference) == 4


@gpu
def test_recording_goes_on_after_all_recorded_networks_are_gone() -> None:
    """A process trains one silo after the other: the second one is recorded when nothing of the first one is left."""
    for _ in range(2):
        replayed, plain = pair()
        with torch.no_grad():
            torch.testing.assert_close(replayed(*batch(7)), plain(*batch(7)), rtol=1e-3, atol=1e-4)
        del replayed, plain


@gpu
def test_sizes_that_change_are_not_recorded_for_ever() -> None:
    replayed, _ = pair()
    for rows in range(2, 2 * SHAPES + 4):
        for _ in range(SEEN + 1):
            replayed(*batch(rows)).mean().backward()
    assert len(replayed.replays.training) == SHAPES
