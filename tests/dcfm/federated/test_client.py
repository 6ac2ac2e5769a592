"""A silo's own side: what it notes for itself."""

import json
import logging
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Context, Message, RecordDict
from flwr.app.user_config import UserConfig

from dcfm.artefacts import write_text_atomically
from dcfm.attributes import AttributeSpace
from dcfm.federated import node as node_module
from dcfm.federated.client import Phase, SiloError, answer, deliver, distil, fedavg, introduce, peers, stage_one
from dcfm.federated.counts import NothingLeftError
from dcfm.federated.node import Node
from dcfm.federated.parcels import Parcel, mark, scalars, unpack
from dcfm.federated.settings import composed, read_settings
from dcfm.federated.silo_files import write_silo
from dcfm.federated.tasks import FederatedTask, read_task
from dcfm.locks import alone
from dcfm.methods.method import Recipe
from dcfm.privacy import accounting
from dcfm.privacy.accounting import sampling_rate, spent
from dcfm.privacy.settings import PrivacyConfig
from dcfm.weights import Weights, fingerprint
from tests.dcfm.federated.grid import TINY, LocalGrid

PRIVACY = PrivacyConfig(noise_multiplier=2.0)  # each training's noise is its own


@dataclass(frozen=True)
class _Private:
    """A problem whose silos train privately."""

    inner: FederatedTask
    sections: tuple[str, ...] = ("stage_one", "fedavg")

    @property
    def recipe(self) -> Recipe:
        whole = replace(self.inner.recipe.stage_one.objective.independence, share=1.0)
        local = replace(self.inner.recipe.stage_one.objective, independence=whole)
        parts = {name: getattr(self.inner.recipe, name) for name in self.sections}
        private = {name: replace(part, objective=local, privacy=PRIVACY) for name, part in parts.items()}
        return replace(self.inner.recipe, **private)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    config = composed(("protocol=fedflow_l", f"out={tmp_path}", *TINY))
    problem = read_task(config)
    silo = problem.deal()[0]
    data = write_silo(tmp_path / "silo" / "data.safetensors", silo.data, silo.labels)
    private: Any = _Private(problem)
    return Node(0, data, read_settings(config), private, 0, None, 1)


def test_what_private_rounds_cost_is_in_the_silos_own_file(node: Node) -> None:
    weights, samples = node.problem.task.network().state_dict(), len(node.silo())
    costs = []
    for number in range(2):
        reply = fedavg(node, {"weights": weights, "scalars": scalars(round=number)})
        assert set(reply) == {"weights"}
        costs.append(json.loads((node.home / "privacy.json").read_text()))
    config = node.problem.recipe.fedavg
    assert [cost["steps"] for cost in costs] == [config.steps, 2 * config.steps]
    assert costs[1]["epsilon"] == spent(PRIVACY, samples, config.batch, 2 * config.steps).epsilon
    assert 0 < costs[0]["epsilon"] < costs[1]["epsilon"]


def test_a_round_that_is_asked_again_is_not_released_again(node: Node) -> None:
    """The noise is secret: a second training would be a second release. One that cannot be avoided is counted."""
    weights = node.problem.task.network().state_dict()
    other = {name: value + 1 for name, value in weights.items()}

    def ask(start: Weights) -> tuple[Weights, int]:
        reply = fedavg(node, {"weights": start, "scalars": scalars(round=0)})
        return reply["weights"], json.loads((node.home / "privacy.json").read_text())["steps"]

    steps = node.problem.recipe.fedavg.steps
    (first, _), (again, counted), (moved, more) = ask(weights), ask(weights), ask(other)
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert (counted, more) == (steps, 2 * steps)
    assert any(not torch.equal(moved[name], value) for name, value in first.items())


def test_noise_on_counts_is_drawn_once(node: Node) -> None:
    """Whatever is suppressed; another epsilon, or none, would tell more of the same counts and is refused."""
    node = replace(node, epsilon=0.1)
    first = node.histogram()
    threshold = int(first.counts.max())
    kept = replace(node, suppress=threshold).histogram()
    assert torch.equal(first.counts[first.counts >= threshold], kept.counts)
    assert torch.equal(node.histogram().counts, first.counts)
    for epsilon in (0.1000001, None):
        with pytest.raises(ValueError, match=r"noised with 0\.1, .* give epsilon=0\.1 again, or delete"):
            replace(node, epsilon=epsilon).histogram()


def test_noise_on_other_counts_adds_up_and_is_said(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever keeps the first file, and only then, learns of it."""
    silo = node.silo()
    with caplog.at_level(logging.WARNING):
        replace(node, epsilon=0.5).histogram()
        assert caplog.text == ""
        write_silo(node.data, silo.data[:-1], silo.labels[:-1])
        for _ in range(2):
            replace(node, epsilon=0.25).histogram()
    assert caplog.text.count("2 label histograms of silo0 were noised") == 1
    assert "as much as epsilon=0.75" in caplog.text


def test_noise_on_counts_is_drawn_once_whatever_the_attributes(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same counts in a larger space, or noise that left nothing, are no reason to answer again."""
    node = replace(node, epsilon=0.1)
    node.histogram()
    task, attributes = node.problem.task, AttributeSpace.from_cardinalities(2, 3)
    with monkeypatch.context() as patch:
        patch.setattr(type(task), "space", property(lambda self: attributes))
        with pytest.raises(ValueError, match=r"noised over attributes of \[2, 2\] values, this run's have \[2, 3\]"):
            node.histogram()
    (path,) = node.home.glob("noised_*")
    path.unlink()
    draws = []

    def nothing(*_: object) -> None:
        draws.append(1)
        raise NothingLeftError

    monkeypatch.setattr(node_module, "noised", nothing)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"epsilon=0\.1 left no combination"):
            node.histogram()
    assert len(draws) == 1


def test_noise_that_an_earlier_version_drew_is_the_one(node: Node) -> None:
    """Under the name that it gave the file, by the attributes too."""
    node = replace(node, epsilon=0.1)
    first = node.histogram()
    (path,) = node.home.glob("noised_*")
    earlier = fingerprint([node.silo().histogram(node.problem.task.space).state_dict()])[:12]
    path = path.rename(path.with_name(f"noised_{earlier}.safetensors"))
    assert torch.equal(node.histogram().counts, first.counts)
    assert list(node.home.glob("noised_*")) == [path]


def test_two_runs_at_once_draw_one_noise(node: Node) -> None:
    node = replace(node, epsilon=0.1)
    with ThreadPoolExecutor(1) as pool:
        with alone(node.home / ".noised.lock"):  # as another run's process would
            asked = pool.submit(node.histogram)
            with pytest.raises(TimeoutError):
                asked.result(timeout=0.5)
        assert torch.equal(asked.result().counts, node.histogram().counts)


def context(tmp_path: Path, *given: str, **more: int | float | str) -> Context:
    LocalGrid((f"out={tmp_path}", *TINY))  # deals the data, and says that this process is Flower's
    overrides = " ".join((f"out={tmp_path}", *TINY, *given))
    of_node = UserConfig({"partition-id": 0, **more})
    return Context(1, 100, of_node, RecordDict(), UserConfig({"overrides": overrides}))


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf])
def test_a_nodes_own_epsilon_is_one(epsilon: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finite number above 0"):
        Node.of(context(tmp_path, epsilon=epsilon))
    assert Node.of(context(tmp_path, epsilon=2)).epsilon == 2


@pytest.mark.parametrize(("runs", "own"), [((2, 5), (0.5, 3)), ((0.5, 3), (2, 5))])
def test_the_stricter_of_the_runs_and_the_nodes_own_limits_holds(
    runs: tuple[float, int], own: tuple[float, int], tmp_path: Path
) -> None:
    """The server's settings cannot make a silo tell more than its node allows, nor the other way round."""
    given = context(tmp_path, f"epsilon={runs[0]}", f"suppress={runs[1]}", epsilon=own[0], suppress=own[1])
    node = Node.of(given)
    assert (node.epsilon, node.suppress) == (0.5, 5)


def test_an_error_says_where_more_is_written(tmp_path: Path) -> None:
    """Before it is known which silo this is, there is no errors.log."""
    message = Message(RecordDict(), dst_node_id=100, message_type="query.introduce")
    with pytest.raises(SiloError, match=r"ValueError; the log of the silo's SuperNode says why"):
        answer(introduce, message, context(tmp_path, **{"partition-id": 9}))
    asked = context(tmp_path)
    (tmp_path / "silos/0/data.safetensors").unlink()
    with pytest.raises(SiloError, match=r"the silo's errors\.log says why"):
        answer(introduce, message, asked)
    assert (tmp_path / "silos/0/work/errors.log").exists()


def samples_as_weights(node: Node, parcel: Parcel) -> Parcel:
    return {"weights": {"data": node.silo().data}}


def samples(node: Node, parcel: Parcel) -> Parcel:
    return {"data": {"data": node.silo().data}}


def labels_as_scalars(node: Node, parcel: Parcel) -> Parcel:
    return {"scalars": {"labels": node.silo().labels}}


def broken_weights(node: Node, parcel: Parcel) -> Parcel:
    weights = node.problem.task.network().state_dict()
    return {"weights": {name: torch.full_like(value, torch.nan) for name, value in weights.items()}}


def quoting(node: Node, parcel: Parcel) -> Parcel:
    raise ValueError("patient X")


@pytest.mark.parametrize(
    ("phase", "why"),
    [
        (samples_as_weights, "another architecture"),
        (samples, "'data'"),
        (labels_as_scalars, "no message of kind 'scalars'"),
        (broken_weights, "NaN or infinity"),
        (quoting, "patient X"),
    ],
)
def test_whatever_is_no_weights_histogram_or_scalars_does_not_leave_the_silo(
    phase: Phase, why: str, tmp_path: Path
) -> None:
    """Nor does the text of an error, which could quote data: it is for the silo's own eyes."""
    asked = context(tmp_path)
    message = Message(RecordDict(), dst_node_id=100, message_type="train.stage_one")
    with pytest.raises(SiloError) as caught:
        answer(phase, message, asked)
    assert str(caught.value) == f"{phase.__name__} failed: ValueError; the silo's errors.log says why"
    home = tmp_path / "silos/0/work"
    assert why in (home / "errors.log").read_text()
    assert not [
        line for path in home.glob("*/ledger.jsonl") for line in path.read_text().splitlines() if "sent" in line
    ]


def test_what_leaves_a_silo_is_in_its_ledger(tmp_path: Path) -> None:
    asked = context(tmp_path)
    message = Message(RecordDict(), dst_node_id=100, message_type="query.introduce")
    reply = answer(introduce, message, asked)
    (path,) = (tmp_path / "silos/0/work").glob("*/ledger.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["kind"], row["direction"]) for row in rows] == [(kind, "sent") for kind in unpack(reply.content)]


def test_what_a_private_stage_one_costs_is_in_its_artefact(node: Node) -> None:
    stage_one(node, {})
    found = json.loads((node.first(node.problem.recipe.stage_one) / "artefact.json").read_text())
    assert found["metrics"]["privacy"]["steps"] == node.problem.recipe.stage_one.loop.steps


def test_the_silos_own_file_counts_stage_one_once_and_all_else_with_it(node: Node) -> None:
    for _ in range(2):  # the second time it is given again, not trained again
        stage_one(node, {})
    fedavg(node, {"weights": node.problem.task.network().state_dict(), "scalars": scalars(round=0)})
    recipe, samples = node.problem.recipe, len(node.silo())
    parts = [
        (PRIVACY.noise_multiplier, sampling_rate(batch, samples), steps)
        for batch, steps in (
            (recipe.stage_one.loop.batch, recipe.stage_one.loop.steps),
            (recipe.fedavg.batch, recipe.fedavg.steps),
        )
    ]
    found = json.loads((node.home / "privacy.json").read_text())
    assert found["epsilon"] == accounting.epsilon(parts, PRIVACY.delta)
    assert found["steps"] == sum(steps for _, _, steps in parts)


@pytest.mark.parametrize("phase", [stage_one, fedavg])
def test_a_training_that_cannot_be_counted_is_not_released(phase: Phase, node: Node) -> None:
    """Nor when it is asked for again, by when it may be on disk."""
    write_text_atomically(node.home / "privacy.json", "{")
    for _ in range(2):
        with pytest.raises(ValueError, match="does not tell what this silo has spent"):
            phase(node, {"weights": node.problem.task.network().state_dict(), "scalars": scalars(round=0)})


def test_a_noised_histogram_is_made_of_the_systems_entropy_alone(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda number: (bytes(range(256)) * 10)[:number])
    noised = replace(node, epsilon=0.1)
    first = noised.histogram()
    (path,) = node.home.glob("noised_*")
    path.unlink()
    again = noised.histogram()
    assert torch.equal(first.combinations, again.combinations)
    assert torch.equal(first.counts, again.counts)


def test_a_delivery_replaces_what_an_earlier_one_left(node: Node) -> None:
    """With other silos in it: what is left of two results is none."""
    one = {"a": torch.ones(1)}
    deliver(node, {"weights/1": one, "weights/2": one, "histogram/1": one})
    deliver(node, {"weights": one})
    assert [path.name for path in (node.work / "result").iterdir()] == ["weights.safetensors"]


def test_a_silo_goes_on_from_the_network_that_the_server_means(node: Node) -> None:
    weights = stage_one(node, {})["weights"]
    other = {name: value + 1 for name, value in weights.items()}
    histogram = node.histogram().state_dict()
    parcel = {"weights/1": weights, "histogram/1": histogram, "scalars": scalars(round=1, own=mark(other))}
    for phase in (peers, distil):
        with pytest.raises(ValueError, match="goes on from a network that this silo does not have"):
            phase(node, parcel)
    parcel["scalars"] = scalars(round=1, own=mark(weights))
    moved = peers(node, parcel)["weights"]
    parcel["scalars"] = scalars(round=2, own=mark(moved))
    assert set(peers(node, parcel)) == {"weights"}


def test_two_silos_do_not_share_a_folder(node: Node) -> None:
    introduce(node, {})
    neighbour = replace(
        node, data=write_silo(node.data.with_name("other.safetensors"), node.silo().data, node.silo().labels)
    )
    with pytest.raises(ValueError, match=r"holds the work of data\.safetensors; give each silo's data a folder"):
        introduce(neighbour, {})


def test_data_and_device_that_cannot_be_trained_on_are_said_on_arrival(node: Node) -> None:
    with pytest.raises(ValueError, match="device 'cuda' cannot be used"):
        introduce(replace(node, settings=replace(node.settings, device="cuda")), {})
    write_silo(node.data, node.silo().data[:, :1], node.silo().labels)
    with pytest.raises(ValueError, match=r"samples have shape \(1,\); this task's have \(2,\)"):
        introduce(node, {})


@pytest.mark.parametrize("section", ["stage_one", "fedavg"])
def test_data_too_small_for_private_batches_is_said_on_arrival(section: str, node: Node) -> None:
    problem: Any = replace(node.problem, sections=(section,))  # type: ignore[type-var]
    node = replace(node, problem=problem)
    write_silo(node.data, node.silo().data[:3], node.silo().labels[:3])
    with pytest.raises(ValueError, match="batches of 16 from 3 samples"):
        introduce(node, {})
