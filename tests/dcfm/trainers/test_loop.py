"""The loop: exact resume, the schedule, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dcfm.trainers.loop import LoopConfig, ResumeError, TrainingError, fit

CONFIG = LoopConfig(steps=40, batch=16, warmup=5, checkpoint_every=10, ema=0.9)


def regression(network: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
    x = torch.randn(CONFIG.batch, 3, generator=generator)
    return {"loss": (network(x)[:, 0] - x.sum(1) ** 2).square().mean()}


def fresh() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("killed_at", [10, 23])
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, killed_at: int) -> None:
    whole, resumed, checkpoint = fresh(), fresh(), tmp_path / "run.safetensors"
    average = fit(whole, regression, CONFIG, seed=1)
    fit(fresh(), regression, CONFIG, seed=1, checkpoint=checkpoint, stop_after=killed_at)
    resumed_average = fit(resumed, regression, CONFIG, seed=1, checkpoint=checkpoint)
    assert equal(whole, resumed)
    assert equal(average, resumed_average)
    assert not equal(whole, average)


def drawing() -> nn.Module:
    """A network with running statistics, and a layer that draws from torch's own generator."""
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))


def test_a_network_that_draws_for_itself_resumes_too(tmp_path: Path) -> None:
    """And starts alike whatever was drawn before; what it returns has the statistics of its data."""
    averages, checkpoint = [], tmp_path / "run.safetensors"
    fit(drawing(), regression, CONFIG, seed=1, checkpoint=checkpoint, stop_after=23)
    for kept in (None, checkpoint):
        network = drawing()
        torch.rand(7)
        averages.append(fit(network, regression, CONFIG, seed=1, checkpoint=kept))
        assert torch.equal(averages[-1][0].running_var, network[0].running_var)
    assert equal(*averages)
    assert averages[0][0].num_batches_tracked == CONFIG.steps
    assert not torch.equal(averages[0][0].running_var, torch.ones(3))


def test_another_seed_is_another_run() -> None:
    a, b = fresh(), fresh()
    fit(a, regression, CONFIG, seed=1)
    fit(b, regression, CONFIG, seed=2)
    assert not equal(a, b)


@pytest.mark.parametrize(
    ("config", "seed", "settings"),
    [(LoopConfig(steps=41, batch=16), 1, None), (CONFIG, 2, None), (CONFIG, 1, {"weight": 2.0})],
)
def test_checkpoint_of_another_run_is_refused(tmp_path: Path, config: LoopConfig, seed: int, settings: dict) -> None:
    checkpoint = tmp_path / "run.safetensors"
    fit(fresh(), regression, CONFIG, seed=1, checkpoint=checkpoint, stop_after=5)
    before = checkpoint.read_bytes()
    with pytest.raises(ResumeError, match="delete"):
        fit(fresh(), regression, config, seed=seed, settings=settings, checkpoint=checkpoint)
    assert checkpoint.read_bytes() == before


def test_checkpoint_of_another_origin_is_refused(tmp_path: Path) -> None:
    """Other data or other first weights, same settings; a checkpoint of before origins were kept is resumed."""
    checkpoint = tmp_path / "run.safetensors"

    def train(origin: dict[str, str] | None, stop_after: int) -> None:
        fit(fresh(), regression, CONFIG, seed=1, origin=origin, checkpoint=checkpoint, stop_after=stop_after)

    train(None, 5)
    train({"data": "one"}, 10)
    train({"data": "one"}, 15)
    with pytest.raises(ResumeError, match="delete"):
        train({"data": "two"}, 20)


def test_checkpoint_of_another_kind_of_device_is_refused(tmp_path: Path) -> None:
    """A GPU's random numbers are others: the state of its generator has 16 bytes."""
    checkpoint = tmp_path / "run.safetensors"
    fit(fresh(), regression, CONFIG, seed=1, checkpoint=checkpoint, stop_after=5)
    with safe_open(checkpoint, framework="pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "sha256"}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    save_file(tensors | {"generator": torch.zeros(16, dtype=torch.uint8)}, checkpoint, metadata)
    with pytest.raises(ResumeError, match=r"another kind of device than cpu.* device= as it was, or delete"):
        fit(fresh(), regression, CONFIG, seed=1, checkpoint=checkpoint)


def test_a_checkpoint_that_was_damaged_is_refused(tmp_path: Path) -> None:
    """A bit of a tensor is another one; or, in one of before hashes were kept, the random numbers' state is gone."""
    checkpoint = tmp_path / "run.safetensors"
    fit(fresh(), regression, CONFIG, seed=1, checkpoint=checkpoint, stop_after=5)
    content = bytearray(checkpoint.read_bytes())
    content[-5] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(ResumeError, match="was changed or damaged since it was written"):
        fit(fresh(), regression, CONFIG, seed=1, checkpoint=checkpoint)
    with safe_open(checkpoint, framework="pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "sha256"}
        tensors = {key: file.get_tensor(key) for key in file.keys() if key != "generator"}  # noqa: SIM118 - not a dict
    save_file(tensors, checkpoint, metadata)
    with pytest.raises(ResumeError, match="lacks its random numbers' state"):
        fit(fresh(), regression, CONFIG, seed=1, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weight_decay": -1.0}, "weight_decay=-1.0 must be at least 0"),
        ({"weight_decay": float("nan")}, "weight_decay=nan"),
        ({"learning_rate": float("inf")}, "learning_rate=inf"),
    ],
)
def test_settings_that_torch_would_refuse_later_are_refused_at_once(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoopConfig(**given)


def test_checkpoint_of_another_architecture_or_none_at_all(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.safetensors"
    fit(fresh(), regression, CONFIG, seed=1, checkpoint=checkpoint, stop_after=5)
    with pytest.raises(ResumeError, match="architecture"):
        fit(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), regression, CONFIG, seed=1, checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    with pytest.raises(ResumeError, match="not a readable checkpoint"):
        fit(fresh(), regression, CONFIG, seed=1, checkpoint=checkpoint)


def test_schedule_rises_then_falls_to_the_floor() -> None:
    config = LoopConfig(steps=1000, warmup=100, learning_rate=2.0, floor=0.1)
    rates = [config.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == pytest.approx(2.0)
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] == pytest.approx(0.2, rel=1e-3)


def test_gradients_are_clipped() -> None:
    def steep(network: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": 1e6 * sum(p.square().sum() for p in network.parameters())}

    network = fresh()
    fit(network, steep, LoopConfig(steps=1, clip=0.5), seed=0)
    norm = torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(0.5, rel=1e-3)


def nan_loss(network: nn.Module, loss: Tensor) -> Tensor:
    return loss * float("nan")


def nan_gradient(network: nn.Module, loss: Tensor) -> Tensor:
    """The same value: the root's slope at 0 is infinite, and 0 times it is no number."""
    return loss + sum((0 * p).square().sum().sqrt() for p in network.parameters())


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [(nan_loss, "the loss is nan and .* at step 16"), (nan_gradient, "its gradient's norm nan at step 16")],
)
def test_what_is_not_finite_stops_and_keeps_the_checkpoint(
    spoilt: Callable[[nn.Module, Tensor], Tensor], message: str, tmp_path: Path
) -> None:
    def breaks(network: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        terms = regression(network, step, generator)
        return terms if step < 15 else {"loss": spoilt(network, terms["loss"])}

    checkpoint = tmp_path / "run.safetensors"
    fit(fresh(), breaks, CONFIG, seed=1, checkpoint=checkpoint, stop_after=10)
    before = checkpoint.read_bytes()
    with pytest.raises(TrainingError, match=message):
        fit(fresh(), breaks, CONFIG, seed=1, checkpoint=checkpoint)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    "settings", [{"steps": 0}, {"batch": 0}, {"clip": 0.0}, {"ema": 1.0}, {"floor": 1.5}, {"learning_rate": -1.0}]
)
def test_bad_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match="must"):
        LoopConfig(**settings)


def test_progress_and_snapshots_are_told(tmp_path: Path) -> None:
    seen: list[int] = []
    kept: list[int] = []
    fit(
        fresh(),
        regression,
        CONFIG,
        seed=0,
        progress=lambda done, total, terms: seen.append(done if "loss" in terms and total == 40 else -1),
        snapshot=lambda step, network: kept.append(step),
    )
    assert seen == list(range(1, 41))
    assert kept == [10, 20, 30, 40]
