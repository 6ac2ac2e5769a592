"""What the trainers' settings and docstrings promise, where it is put together: by hand, from the same draws."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dcfm.attributes import MaskRates, apply_mask, draw_masks
from dcfm.decentralized import Federation
from dcfm.losses import TimeWeight, independence_loss, peer_independence_loss, squared_difference
from dcfm.silos import LabelHistogram, Silo
from dcfm.trainers import peers as peers_module
from dcfm.trainers import student as student_module
from dcfm.trainers.local import LocalConfig, local_loss
from dcfm.trainers.loop import LoopConfig, fit
from dcfm.trainers.objective import (
    IndependenceConfig,
    ObjectiveConfig,
    Points,
    draw_batch,
    independence_points,
)
from dcfm.trainers.peers import PeerConfig, draw_routing, train_peers
from dcfm.trainers.student import ReplayConfig, StudentConfig, _ReplaySource, make_replay, train_student
from tests.dcfm.trainers.toy import SPACE, ToyTask, silo_data

LEFT, BOTTOM = [[0, 0], [0, 1]], [[0, 0], [1, 0]]
STILL = LoopConfig(steps=2, batch=16, warmup=0, learning_rate=1e-9)
"""Steps that leave a network where it started."""


def histogram(combinations: list[list[int]], counts: list[int] | None = None) -> LabelHistogram:
    return LabelHistogram(torch.tensor(combinations), torch.tensor(counts or [10] * len(combinations)), (2, 2))


def networks() -> list[nn.Module]:
    torch.manual_seed(0)
    return [ToyTask(width=8).network() for _ in range(2)]


def near(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.allclose(v, b.state_dict()[k], atol=1e-6) for k, v in a.state_dict().items())


def losses_handed_to_fit(
    trainer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> list[Callable[..., dict[str, Tensor]]]:
    """The losses that ``trainer`` will give to its loop, which trains nothing from here on."""
    losses: list[Callable[..., dict[str, Tensor]]] = []

    def kept(network: nn.Module, loss: Any, *rest: Any, **more: Any) -> nn.Module:
        losses.append(loss)
        return network

    monkeypatch.setattr(trainer, "fit", kept)
    return losses


def test_a_batch_s_labels_are_masked_by_equation_8(generator: torch.Generator) -> None:
    data, y = silo_data(LEFT, 100, seed=0)
    *_, nothing = draw_batch(ToyTask(), data, y, ObjectiveConfig(MaskRates(0.0, 0.0, 1.0)), generator)
    assert (nothing == SPACE.null).all()
    points, _, one = draw_batch(ToyTask(), data, y, ObjectiveConfig(MaskRates(0.0, 1.0, 0.0)), generator)
    assert ((one == SPACE.null).sum(1) == 1).all()
    assert torch.equal(points.y, y)


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_a_silo_s_loss_is_equation_11(power: float) -> None:
    """``L_FM + lambda L_CI`` at masked and at whole labels, each weighted over time."""
    data, labels = silo_data(LEFT, 50, seed=0)
    rates = MaskRates(0.5, 0.3, 0.2)
    term = IndependenceConfig(weight=0.3, labels="own", share=1.0)
    network, weight = networks()[0], TimeWeight(power)
    objective = ObjectiveConfig(rates, term, power)
    found = local_loss(ToyTask(), data, labels, 32, objective)(network, 0, torch.Generator().manual_seed(5))
    chance = torch.Generator().manual_seed(5)
    rows = torch.randint(len(data), (32,), generator=chance)
    points, velocity, given = draw_batch(ToyTask(), data[rows], labels[rows], objective, chance)
    assert (given != labels[rows]).any()
    matching = squared_difference(network(points.x, points.t, given), velocity, points.t, weight)
    independence = independence_loss(network, points.x, points.t, points.y, SPACE.null, None, weight)
    torch.testing.assert_close(found["matching"], matching)
    torch.testing.assert_close(found["loss"], matching + 0.3 * independence)
    even = squared_difference(network(points.x, points.t, given), velocity, points.t, TimeWeight(0.0))
    assert bool(torch.isclose(matching, even)) is (power == 0)


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_the_student_s_loss_is_equation_17(power: float, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = losses_handed_to_fit(student_module, monkeypatch)
    rates, weight = MaskRates(0.5, 0.3, 0.2), TimeWeight(power)
    objective = ObjectiveConfig(rates, IndependenceConfig(weight=0.3, labels="own", share=1.0), power)
    config = StudentConfig(STILL, objective, ReplayConfig(paths=32, steps=4))
    teachers, histograms = networks(), [histogram(LEFT), histogram(BOTTOM)]
    student = train_student(ToyTask(width=8), teachers, histograms, config, seed=4)
    found = losses[0](student, 0, torch.Generator().manual_seed(5))
    source = _ReplaySource(ToyTask(width=8), teachers, histograms, config, 4)
    chance = torch.Generator().manual_seed(5)
    points, velocity = source.at(0).draw(STILL.batch, chance)
    given = apply_mask(points.y, draw_masks(STILL.batch, 2, rates, chance), SPACE.null)
    matching = squared_difference(student(points.x, points.t, given), velocity, points.t, weight)
    independence = independence_loss(student, points.x, points.t, points.y, SPACE.null, None, weight)
    torch.testing.assert_close(found["matching"], matching)
    torch.testing.assert_close(found["loss"], matching + 0.3 * independence)


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_a_round_s_loss_is_equation_14(power: float, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = losses_handed_to_fit(peers_module, monkeypatch)
    data, labels = silo_data(LEFT, 50, seed=0)
    term = IndependenceConfig(weight=0.3, labels="own", share=1.0)
    objective, weight = ObjectiveConfig(MaskRates(0.5, 0.3, 0.2), term, power), TimeWeight(power)
    experts, histograms = networks(), [histogram(LEFT), histogram(BOTTOM)]
    own = train_peers(ToyTask(width=8), data, labels, experts, histograms, 0, PeerConfig(STILL, objective), seed=0)
    found = losses[0](own, 0, torch.Generator().manual_seed(5))
    chance = torch.Generator().manual_seed(5)
    rows = torch.randint(len(data), (STILL.batch,), generator=chance)
    points, velocity, given = draw_batch(ToyTask(), data[rows], labels[rows], objective, chance)
    routing = draw_routing(points.y, histograms, 0, chance)
    matching = squared_difference(own(points.x, points.t, given), velocity, points.t, weight)
    at = points.x, points.t, points.y, SPACE.null
    independence = peer_independence_loss(own, experts, routing, 0, *at, weight=weight)
    torch.testing.assert_close(found["independence"], independence)
    torch.testing.assert_close(found["loss"], matching + 0.3 * independence)


def test_a_step_is_adamw_s_at_its_rate_and_what_is_kept_is_the_average() -> None:
    """Of a loss that is linear in one weight AdamW moves by the rate itself, and by the decay."""
    config = LoopConfig(steps=30, warmup=5, learning_rate=0.1, weight_decay=0.5, ema=0.6, checkpoint_every=15)
    network, kept = nn.Linear(1, 1, bias=False), []
    weight = average = network.weight.item()
    found = fit(
        network,
        lambda moved, *_: {"loss": moved.weight.sum()},  # type: ignore[union-attr, operator, dict-item]
        config,
        seed=0,
        snapshot=lambda step, shown: kept.append(shown.weight.item()),  # type: ignore[arg-type]
    )
    for step in range(30):
        weight = weight * (1 - 0.5 * config.rate(step)) - config.rate(step)
        average += (1 - min(0.6, (step + 1) / (step + 10))) * (weight - average)
    assert network.weight.item() == pytest.approx(weight, rel=1e-4)
    assert found.weight.item() == kept[-1] == pytest.approx(average, rel=1e-4)  # type: ignore[arg-type]
    assert len(kept) == 2


def test_a_silo_goes_on_from_its_own_network() -> None:
    data, labels = silo_data(BOTTOM, 20, seed=0)
    given = networks()
    moved = train_peers(
        ToyTask(width=8), data, labels, given, [histogram(LEFT), histogram(BOTTOM)], 1, PeerConfig(STILL), seed=0
    )
    assert near(moved, given[1])
    assert not near(moved, given[0])


@pytest.mark.parametrize("routing", ["support", "uniform"])
def test_routing_is_drawn_as_asked_for(routing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def watched(
        y: Tensor, histograms: Any, index: Any, generator: Any, how: str = "support", pair: Any = None
    ) -> Tensor:
        drawn.append(how)
        return draw_routing(y, histograms, index, generator, how, pair)

    monkeypatch.setattr(peers_module, "draw_routing", watched)
    data, labels = silo_data(LEFT, 20, seed=0)
    config = PeerConfig(STILL, routing=routing)
    train_peers(ToyTask(width=8), data, labels, networks(), [histogram(LEFT), histogram(BOTTOM)], 0, config, seed=0)
    assert drawn == [routing] * STILL.steps


def test_held_entries_of_a_replay_are_the_teacher_s_own_samples() -> None:
    """Every path of this one ends in one place."""
    target = torch.tensor([3.0, -2.0])

    def teacher(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        velocity = (target - x) / (1 - t)[:, None].clamp(min=1e-3)
        return velocity if held is None else velocity.masked_fill(held, 0.0)

    config = ReplayConfig(paths=40, steps=8, held=0.5)
    replay = make_replay(ToyTask(holds=True), [teacher], [histogram(LEFT)], config, torch.Generator().manual_seed(0))
    points = replay.points
    assert points.held is not None
    assert points.held.any()
    torch.testing.assert_close(points.x[points.held], target.expand_as(points.x)[points.held], atol=1e-3, rtol=0)


def test_a_replay_draws_labels_by_their_counts() -> None:
    config = ReplayConfig(paths=400, steps=2, held=0.0)
    silo = histogram(LEFT, [30, 10])
    replay = make_replay(ToyTask(), networks()[:1], [silo], config, torch.Generator().manual_seed(0))
    assert float(replay.points.y[:, 1].double().mean()) == pytest.approx(0.25, abs=0.07)


def test_a_block_of_replay_is_another_one_when_its_turn_comes() -> None:
    config = StudentConfig(STILL, replay=ReplayConfig(paths=16, steps=4))
    source = _ReplaySource(ToyTask(width=8), networks(), [histogram(LEFT), histogram(BOTTOM)], config, 0)
    first, again = source.at(0).points.x, source.at(source.steps_of_block).points.x
    assert first.shape[1:] == again.shape[1:]
    assert not torch.equal(first[:8], again[:8])
    assert torch.equal(source.at(0).points.x, first)


@pytest.mark.parametrize("warm", [True, False])
def test_a_student_starts_where_it_is_told_to(warm: bool) -> None:
    given = networks()
    config = StudentConfig(STILL, replay=ReplayConfig(paths=16, steps=4), warm_start=warm)
    student = train_student(ToyTask(width=8), given, [histogram(LEFT), histogram(BOTTOM)], config, seed=9)
    assert near(student, given[0]) is warm


def test_own_paths_are_the_network_s() -> None:
    """From the same noise a field of ones leads to noise plus ``t``, and one that is ``t`` itself to its Euler sum."""
    points = Points(torch.zeros(30, 2), torch.rand(30), torch.zeros(30, 2, dtype=torch.long), None)
    config = IndependenceConfig(labels="own", paths="own", share=1.0, path_steps=4)

    def ends(field: Callable[..., Tensor]) -> Tensor:
        return independence_points(points, field, SPACE, config, torch.Generator().manual_seed(1)).x

    still = ends(lambda x, t, y, held=None: torch.zeros_like(x))
    t = points.t[:, None]
    torch.testing.assert_close(ends(lambda x, t, y, held=None: torch.ones_like(x)) - still, t.expand(-1, 2))
    steps = sum(t / 4 * (step * t / 4) for step in range(4))
    assert isinstance(steps, Tensor)
    torch.testing.assert_close(ends(lambda x, t, y, held=None: t[:, None].expand_as(x)) - still, steps.expand(-1, 2))


def test_pooled_trains_on_all_silos_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silos = [Silo(f"silo{i}", *silo_data(part, 10 + i, seed=i)) for i, part in enumerate((LEFT, BOTTOM))]
    given: list[Silo] = []

    def kept(self: Federation, jobs: Any) -> list[dict[str, Tensor]]:
        given.extend(job.arguments[0] for job in jobs)
        return [{}]

    monkeypatch.setattr(Federation, "_run", kept)
    Federation(ToyTask(width=8), silos, tmp_path, workers=0).pooled(LocalConfig(replace(STILL)))
    (union,) = given
    assert torch.equal(union.data, torch.cat([silo.data for silo in silos]))
    assert torch.equal(union.labels, torch.cat([silo.labels for silo in silos]))
