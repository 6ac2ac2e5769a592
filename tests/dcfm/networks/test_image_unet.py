"""The image U-Net: shapes, what starts at zero, gradients, labels, clean prediction, precision, compiled copies."""

import shutil
import subprocess
import sys
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from dcfm.fields import Field
from dcfm.networks.image_unet import Attention, ImageUNet
from dcfm.path import LATEST
from dcfm.trainers.loop import LoopConfig, fit

SHAPE = (3, 8, 8)
CARDINALITIES = (10, 4)


def network(seed: int = 0, **changes: Any) -> ImageUNet:
    """A small network moved away from the zeros that some layers start at."""
    torch.manual_seed(seed)
    net = ImageUNet(CARDINALITIES, SHAPE, **{"channels": (8, 16), "condition": 16, "heads": 2, **changes})
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


def batch(number: int = 4, shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    y = torch.stack([torch.randint(n + 1, (number,), generator=g) for n in CARDINALITIES], dim=1)
    return torch.randn(number, *shape, generator=g), torch.rand(number, generator=g), y


@pytest.mark.parametrize("fold", [1, 2, 4])
@pytest.mark.parametrize("blocks", [1, 2])
def test_it_is_a_field_of_its_shape(fold: int, blocks: int) -> None:
    net = network(fold=fold, blocks=blocks)
    x, t, y = batch()
    assert isinstance(net, Field)
    assert net(x, t, y).shape == x.shape
    held = torch.zeros_like(x, dtype=torch.bool)
    held[:, :, :4] = True
    assert (net(x, t, y, held)[held] == 0).all()
    torch.testing.assert_close(net(x, t, y, held)[~held], net(x, t, y)[~held])


def test_one_channel_and_many_attributes() -> None:
    torch.manual_seed(0)
    net = ImageUNet((2,) * 14, (1, 16, 8), channels=(8, 8, 16), condition=16)
    x, t = torch.randn(2, 1, 16, 8), torch.rand(2)
    assert net(x, t, torch.full((2, 14), 2)).shape == x.shape


def test_it_starts_at_the_constant_zero_and_every_parameter_gets_a_finite_gradient() -> None:
    torch.manual_seed(0)
    fresh = ImageUNet(CARDINALITIES, SHAPE, channels=(8, 16), condition=16, predict="velocity")
    x, t, y = batch()
    assert (fresh(x, t, y) == 0).all()
    net = network()
    net(x, t, y).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def test_samples_do_not_mix_and_labels_and_times_matter() -> None:
    net = network()
    x, t, y = batch()
    whole = net(x, t, y)
    torch.testing.assert_close(net(x[:1], t[:1], y[:1]), whole[:1], rtol=1e-4, atol=1e-5)
    for i, n in enumerate(CARDINALITIES):
        other = y.clone()
        other[:, i] = (y[:, i] + 1) % (n + 1)  # the null token is one of the values
        assert (net(x, t, other) - whole).abs().flatten(1).amax(1).min() > 1e-4
    assert not torch.allclose(net(x, t * 0.5, y), whole)


def test_clean_prediction_gives_the_velocity_towards_it() -> None:
    clean, plain = network(predict="clean"), network(predict="velocity")
    x, t, y = batch()
    t[0] = 1.0
    expected = (plain(x, t, y) - x) / (1 - t).clamp(min=LATEST)[:, None, None, None]
    torch.testing.assert_close(clean(x, t, y), expected)


def test_attention_sees_all_positions_and_starts_as_the_identity() -> None:
    torch.manual_seed(0)
    layer = Attention(16, heads=2)
    h = torch.randn(1, 16, 4, 4, requires_grad=True)
    assert torch.equal(layer(h), h)
    torch.nn.init.normal_(layer.leave.weight)
    (gradient,) = torch.autograd.grad(layer(h)[0, :, 0, 0].sum(), h)
    assert (gradient.abs().sum(1) > 0).all()


def test_bfloat16_keeps_weights_and_result_in_float32() -> None:
    x, t, y = batch()
    exact, rough = network(predict="velocity"), network(predict="velocity", precision="bfloat16")
    out = rough(x, t, y)
    assert out.dtype == torch.float32
    assert {p.dtype for p in rough.parameters()} == {torch.float32}
    error = (out - exact(x, t, y)).abs().max() / exact(x, t, y).abs().max()
    assert 0 < error < 0.05


def test_compiled_networks_copies_and_batches_agree_with_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    import dcfm.networks.image_unet as module

    seen: list[int] = []
    monkeypatch.setattr(module, "_compiled", lambda: lambda net, *rest: seen.append(1) or net.body(*rest))
    x, t, y = batch()
    for choice, used in (("never", 0), ("cuda", 0), ("always", 2)):
        seen.clear()
        net = network(compile=choice)
        torch.testing.assert_close(deepcopy(net)(x, t, y), network()(x, t, y))
        net(x[:2], t[:2], y[:2])
        assert len(seen) == used
    assert network(compile="always").state_dict().keys() == network().state_dict().keys()


def test_it_learns_a_mean_per_label() -> None:
    """With data that is constant given the label, the clean picture at t = 0 tends to that constant."""
    torch.manual_seed(0)
    net = ImageUNet((2,), (1, 4, 4), channels=(8,), condition=16, heads=1)
    values = torch.tensor([-0.7, 0.6])

    def loss(field: torch.nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        y = torch.randint(2, (32, 1), generator=generator)
        x1 = values[y[:, 0]][:, None, None, None].expand(-1, 1, 4, 4)
        x0, t = torch.randn(x1.shape, generator=generator), torch.rand(32, generator=generator)
        w = t[:, None, None, None]
        error = field(torch.lerp(x0, x1, w), t, y) - (x1 - x0)
        return {"loss": ((1 - w) ** 2 * error.square()).mean()}

    trained = fit(net, loss, LoopConfig(steps=60, learning_rate=1e-2, warmup=5, ema=0.8), seed=0)
    x, y = torch.randn(2, 1, 4, 4), torch.tensor([[0], [1]])
    clean = x + trained(x, torch.zeros(2), y)
    torch.testing.assert_close(clean.mean((1, 2, 3)), values, atol=0.15, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 3}, "divide"),
        ({"channels": (8, 8, 8, 8, 8)}, "divide"),
        ({"channels": (12,)}, "multiples of 8"),
        ({"heads": 3}, "multiple of heads=3"),
        ({"channels": ()}, "one level or more"),
        ({"predict": "noise"}, "velocity, clean"),
        ({"precision": "float16"}, "float32, bfloat16"),
        ({"compile": "yes"}, "never, cuda, always"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**changes)


GRADIENTS = """
import torch
from dcfm.networks.image_unet import ImageUNet

torch.set_num_threads(1)
found = []
for changes in ({}, {"precision": "bfloat16", "compile": "always"}):
    torch.manual_seed(0)
    net = ImageUNet((3,), (3, 8, 8), channels=(8, 16), condition=16, heads=2, fold=2, **changes)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, t, y = torch.randn(16, 3, 8, 8), torch.rand(16), torch.arange(16)[:, None] % 3
    (net(x, t, y) - torch.randn(x.shape)).square().mean().backward()
    found.append([(name, parameter.grad) for name, parameter in net.named_parameters()])
for (name, expected), (_, gradient) in zip(*found):
    error = float((gradient - expected).norm() / expected.norm())
    assert error < 0.1, (name, error)
print("close", len(found[0]))
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_gradients_compiled_under_bfloat16_are_those_of_float32() -> None:
    # In a process of its own: types checked at run time cannot be compiled.
    done = subprocess.run([sys.executable, "-c", GRADIENTS], capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("close"), done.stdout + done.stderr
