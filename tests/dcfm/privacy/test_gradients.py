"""DP-SGD: gradients of single samples, their clipping, the noise, and what is not changed without privacy."""

import os
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dcfm.artefacts import plain_settings
from dcfm.attributes import MaskRates
from dcfm.losses import independence_loss, matching_loss
from dcfm.privacy import gradients as gradients_module
from dcfm.privacy.gradients import Gradients, check_objective, clipped_sum, private_loss, sample_gradients
from dcfm.privacy.settings import PrivacyConfig
from dcfm.task import Task
from dcfm.trainers.fedavg import FedAvgConfig, train_round
from dcfm.trainers.local import LocalConfig, train_local
from dcfm.trainers.loop import LoopConfig
from dcfm.trainers.objective import IndependenceConfig, ObjectiveConfig, draw_batch, independence_points
from dcfm_images.task import ImageTask
from dcfm_planner.task import PlannerTask
from tests.dcfm.trainers.toy import ToyTask, silo_data

COMBINATIONS = [[0, 0], [0, 1]]
OBJECTIVE = ObjectiveConfig(MaskRates(0.6, 0.3, 0.1), IndependenceConfig(weight=0.7, share=1.0), time_power=1.0)


def planner_data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 0.3 * torch.randn(4, 16, 17, generator=generator), torch.tensor([[0, 1], [2, 3], [1, 1], [0, 2]])


def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    digits = torch.randint(0, 256, (4, 8, 8), generator=generator, dtype=torch.uint8)
    return digits, torch.tensor([[0, 1], [2, 3], [9, 0], [5, 5]])


def test_a_network_without_gradients_of_single_samples_says_what_it_needs() -> None:
    task, (data, labels) = ImageTask(size=8, channels=(8, 16), condition=16, heads=2, precision="bfloat16"), pictures()
    with pytest.raises(ValueError, match=r"cannot be taken sample by sample.*task\.precision=float32"):
        sample_gradients(task, task.network(), data, labels, OBJECTIVE, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", ["points", "points held", "planner", "pictures"])
def test_the_mean_over_samples_is_the_gradient_of_the_batch(name: str) -> None:
    """Eq. 11, for the toy, where entries are held, and for the planner's and the pictures' own networks."""
    task: Task = ToyTask(width=16, holds=name.endswith("held"))
    data, labels = silo_data(COMBINATIONS, 6, seed=1)
    if name == "planner":
        task, (data, labels) = PlannerTask(horizon=16, fold=4, channels=(8, 8), condition=8), planner_data()
    if name == "pictures":
        task, (data, labels) = ImageTask(size=8, channels=(8, 16), condition=16, heads=2), pictures()
    torch.manual_seed(0)
    network = task.network()
    gradients, losses = sample_gradients(task, network, data, labels, OBJECTIVE, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    points, velocity, given = draw_batch(task, data, labels, OBJECTIVE, generator)
    at = independence_points(points, network, task.space, OBJECTIVE.independence, generator)
    loss = matching_loss(network, velocity, points.x, points.t, given, points.held, OBJECTIVE.weight)
    loss = loss + 0.7 * independence_loss(network, at.x, at.t, at.y, task.space.null, at.held, OBJECTIVE.weight)
    loss.backward()
    assert losses.shape == (len(data),)
    assert losses.mean() == pytest.approx(float(loss.detach()), rel=1e-4)
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(gradients[key].mean(0), parameter.grad, rtol=1e-3, atol=1e-5)


def test_one_sample_more_moves_the_sum_by_no_more_than_the_clip(generator: torch.Generator) -> None:
    gradients = {"a": 10 * torch.randn(8, 3, 2, generator=generator), "b": torch.randn(8, 5, generator=generator)}
    everyone = clipped_sum(gradients, 0.5)
    for left_out in range(8):
        rows = [i for i in range(8) if i != left_out]
        fewer = clipped_sum({name: g[rows] for name, g in gradients.items()}, 0.5)
        moved = torch.cat([(everyone[name] - fewer[name]).flatten() for name in gradients])
        assert moved.norm() <= 0.5 + 1e-5
    loose = clipped_sum(gradients, 1e6)
    torch.testing.assert_close(loose["a"], gradients["a"].sum(0))


def test_scalar_parameters_are_clipped_too() -> None:
    found = clipped_sum({"a": torch.tensor([3.0, 0.3]), "b": torch.tensor([[4.0], [0.4]])}, 1.0)
    torch.testing.assert_close(found, {"a": torch.tensor(0.9), "b": torch.tensor([1.2])})


def gradient(loss: object, network: nn.Module, seed: int = 0) -> Tensor:
    network.zero_grad()
    loss(network, 0, torch.Generator().manual_seed(seed))["loss"].backward()  # type: ignore[operator]
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_the_noise_has_the_deviation_that_is_accounted_for() -> None:
    task, (data, labels) = ToyTask(width=32), silo_data(COMBINATIONS, 20, seed=1)
    network = task.network()
    private = PrivacyConfig(noise_multiplier=50.0, max_grad_norm=0.2, secret=False)
    noisy = gradient(private_loss(task, data, labels, 8, OBJECTIVE, private), network)
    assert float(noisy.std()) == pytest.approx(50.0 * 0.2 / 8, rel=0.1)
    quiet = PrivacyConfig(noise_multiplier=1e-6, max_grad_norm=0.2, secret=False)
    calm = gradient(private_loss(task, data, labels, 8, OBJECTIVE, quiet), network)
    # At most 40 samples of norm 0.2 each.
    assert 0 < float(calm.norm()) <= 40 * 0.2 / 8


class Taking:
    """Instead of gradients of samples: how many were taken, each with the same gradient of a length, in one entry, and
    its first entry for its loss."""

    def __init__(self, length: float) -> None:
        self.length, self.taken = length, 0

    def __call__(
        self,
        task: Task,
        network: nn.Module,
        stored: Tensor,
        labels: Tensor,
        objective: ObjectiveConfig,
        generator: torch.Generator,
    ) -> tuple[Gradients, Tensor]:
        self.taken = number = len(stored)
        gradients = {name: torch.zeros(number, *p.shape) for name, p in network.named_parameters()}
        next(iter(gradients.values())).flatten(1)[:, 0] = self.length
        return gradients, stored[:, 0]


@pytest.fixture
def taking(monkeypatch: pytest.MonkeyPatch) -> Taking:
    found = Taking(100.0)
    monkeypatch.setattr(gradients_module, "sample_gradients", found)
    return found


def test_each_sample_is_taken_by_itself_with_the_rate_that_is_accounted_for(taking: Taking) -> None:
    """Poisson sampling: how many there are varies as 40 throws of a coin that falls 8 / 40."""
    task, (data, labels) = ToyTask(width=4), silo_data(COMBINATIONS, 20, seed=1)
    network, generator = task.network(), torch.Generator().manual_seed(0)
    loss, taken = private_loss(task, data, labels, 8, OBJECTIVE, PrivacyConfig(1.0, secret=False)), []
    for step in range(400):
        taking.taken = 0  # of an empty draw nothing is taken
        loss(network, step, generator)
        taken.append(float(taking.taken))
    assert torch.tensor(taken).mean() == pytest.approx(8, abs=0.6)
    assert torch.tensor(taken).var() == pytest.approx(40 * 0.2 * 0.8, rel=0.3)


def test_each_sample_is_clipped_to_the_norm_that_is_accounted_for(taking: Taking) -> None:
    task, (data, labels) = ToyTask(width=4), silo_data(COMBINATIONS, 20, seed=1)
    quiet = PrivacyConfig(noise_multiplier=1e-6, max_grad_norm=0.2, secret=False)
    found = gradient(private_loss(task, data, labels, 8, OBJECTIVE, quiet), task.network())
    assert taking.taken > 0
    assert float(found.norm()) == pytest.approx(taking.taken * 0.2 / 8, rel=1e-4)


def test_parts_of_a_batch_are_summed(taking: Taking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients_module, "TOGETHER", 3)
    task, (data, labels) = ToyTask(width=4), silo_data(COMBINATIONS, 20, seed=1)
    quiet = PrivacyConfig(noise_multiplier=1e-6, max_grad_norm=0.2, secret=False)
    found = gradient(private_loss(task, data, labels, 8, OBJECTIVE, quiet), task.network())
    number = int((torch.rand(40, generator=torch.Generator().manual_seed(0)) < 8 / 40).sum())
    assert number > 3
    assert float(found.norm()) == pytest.approx(number * 0.2 / 8, rel=1e-4)


def test_the_value_is_the_mean_loss_of_those_taken(taking: Taking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients_module, "TOGETHER", 3)
    task, (data, labels) = ToyTask(width=4), silo_data(COMBINATIONS, 20, seed=1)
    loss = private_loss(task, data, labels, 8, OBJECTIVE, PrivacyConfig(1.0, secret=False))
    taken = torch.rand(40, generator=torch.Generator().manual_seed(0)) < 8 / 40
    found = loss(task.network(), 0, torch.Generator().manual_seed(0))["loss"]
    assert float(found.detach()) == pytest.approx(float(data[taken, 0].mean()), rel=1e-5)


def test_secret_noise_is_not_the_seeds() -> None:
    task, (data, labels) = ToyTask(width=8), silo_data(COMBINATIONS, 20, seed=1)
    network = task.network()
    for secret in (True, False):
        privacy = PrivacyConfig(1.0, secret=secret)
        first, second = (gradient(private_loss(task, data, labels, 8, OBJECTIVE, privacy), network) for _ in range(2))
        assert torch.equal(first, second) is not secret


def test_secret_noise_comes_from_the_systems_entropy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    task, (data, labels) = ToyTask(width=8), silo_data(COMBINATIONS, 20, seed=1)
    network = task.network()
    monkeypatch.setattr(os, "urandom", lambda number: (bytes(range(256)) * 10)[:number])
    first, second = (
        gradient(private_loss(task, data, labels, 8, OBJECTIVE, PrivacyConfig(1.0)), network, seed) for seed in (0, 1)
    )
    assert torch.equal(first, second)


def test_training_with_privacy_and_without() -> None:
    """Both trainers take it; without it nothing is different, the settings on record included."""
    task, (data, labels) = ToyTask(width=8), silo_data(COMBINATIONS, 20, seed=1)
    loop = LoopConfig(steps=3, batch=8, warmup=1)
    plain = LocalConfig(loop, OBJECTIVE)
    assert "privacy" not in plain_settings(plain)
    private = replace(plain, privacy=PrivacyConfig(1.0, secret=False))
    networks = [train_local(task, data, labels, config, seed=0) for config in (plain, private, private)]
    weights = [torch.cat([p.flatten() for p in network.parameters()]) for network in networks]
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])
    rounds = FedAvgConfig(rounds=1, steps=2, batch=8, objective=OBJECTIVE, privacy=PrivacyConfig(1.0))
    train_round(task, data, labels, networks[0], rounds, 0, seed=0)
    assert all(torch.isfinite(p).all() for p in networks[0].parameters())


def test_an_empty_draw_is_noise_alone() -> None:
    task, (data, labels) = ToyTask(width=8), silo_data(COMBINATIONS, 400, seed=1)
    loss = private_loss(task, data, labels, 1, OBJECTIVE, PrivacyConfig(1.0, secret=False))
    draws = [int((torch.rand(800, generator=torch.Generator().manual_seed(s)) < 1 / 800).sum()) for s in range(20)]
    empty, network = draws.index(0), task.network()
    chance = torch.Generator().manual_seed(empty)
    torch.rand(800, generator=chance)  # who is taken
    noise = torch.cat([torch.randn(p.shape, generator=chance).flatten() for p in network.parameters()])
    assert torch.equal(gradient(loss, network, seed=empty), noise)


def test_what_cannot_be_private_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task, (data, labels) = ToyTask(width=8), silo_data(COMBINATIONS, 4, seed=1)
    with pytest.raises(ValueError, match="must be 1 and pairwise=False"):
        private_loss(task, data, labels, 4, ObjectiveConfig(), PrivacyConfig(1.0))
    pairs = replace(OBJECTIVE, independence=replace(OBJECTIVE.independence, pairwise=True))
    with pytest.raises(ValueError, match="pairwise=True be false"):
        private_loss(task, data, labels, 4, pairs, PrivacyConfig(1.0))
    check_objective(replace(pairs, independence=replace(pairs.independence, weight=0.0)))  # there is no such term
    held = replace(OBJECTIVE, independence=replace(OBJECTIVE.independence, labels="held"))
    with pytest.raises(ValueError, match="labels=held be own or global"):
        private_loss(task, data, labels, 4, held, PrivacyConfig(1.0))
    with pytest.raises(ValueError, match="batches of 64 from 8 samples"):
        private_loss(task, data, labels, 64, OBJECTIVE, PrivacyConfig(1.0))
    for values in ((0.0, 1.0, 1e-5), (1.0, 0.0, 1e-5), (1.0, 1.0, 0.0), (1.0, 1.0, 1.0)):
        with pytest.raises(ValueError, match="must be positive"):
            PrivacyConfig(*values)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="without torchrun"):
        private_loss(task, data, labels, 4, OBJECTIVE, PrivacyConfig(1.0))
