"""A silo's own side: what it notes for itself."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcfm.federated.client import Node, fedavg, stage_one
from dcfm.federated.parcels import scalars
from dcfm.federated.settings import composed, read_settings
from dcfm.federated.silo_files import write_silo
from dcfm.federated.tasks import FederatedTask, read_task
from dcfm.methods.method import Recipe
from dcfm.privacy.accounting import spent
from dcfm.privacy.settings import PrivacyConfig
from tests.dcfm.federated.grid import TINY

PRIVACY = PrivacyConfig(noise_multiplier=2.0, secret=False)


@dataclass(frozen=True)
class _Private:
    """A problem whose silos train privately."""

    inner: FederatedTask

    @property
    def recipe(self) -> Recipe:
        whole = replace(self.inner.recipe.stage_one.objective.independence, share=1.0)
        local = replace(self.inner.recipe.stage_one.objective, independence=whole)
        averaged = replace(self.inner.recipe.fedavg, objective=local, privacy=PRIVACY)
        stage = replace(self.inner.recipe.stage_one, objective=local, privacy=PRIVACY)
        return replace(self.inner.recipe, stage_one=stage, fedavg=averaged)

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
        costs.append(json.loads((node.work / "privacy.json").read_text()))
    config = node.problem.recipe.fedavg
    assert [cost["steps"] for cost in costs] == [config.steps, 2 * config.steps]
    assert costs[1]["epsilon"] == spent(PRIVACY, samples, config.batch, 2 * config.steps).epsilon
    assert 0 < costs[0]["epsilon"] < costs[1]["epsilon"]


def test_what_a_private_stage_one_costs_is_in_its_artefact(node: Node) -> None:
    stage_one(node, {})
    found = json.loads((node.work / "stage1" / "artefact.json").read_text())
    assert found["metrics"]["privacy"]["steps"] == node.problem.recipe.stage_one.loop.steps


def test_a_noised_histogram_is_made_of_the_systems_entropy_alone(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda number: (bytes(range(256)) * 10)[:number])
    noised = replace(node, epsilon=0.1)
    first = noised.histogram()
    (path,) = node.work.glob("histogram_*")
    path.unlink()
    again = noised.histogram()
    assert torch.equal(first.combinations, again.combinations)
    assert torch.equal(first.counts, again.counts)
