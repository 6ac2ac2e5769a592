"""A published model, tiny and untrained, and settings that judge it within a second."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dcfm import records
from dcfm.methods import registry
from dcfm.methods.single import SingleNetwork
from dcfm.silos import silos_hash
from dcfm_images.digits import load_digits
from dcfm_images.evaluation_settings import EvaluationSettings
from dcfm_images.models import publish
from dcfm_images.problem import SPACE, Problem, make_problem
from dcfm_images.table_settings import TableSettings
from dcfm_images.task import ImageTask


@dataclass(frozen=True)
class Trained:
    """What a training leaves."""

    runs: Path
    problem: Problem
    task: ImageTask

    @property
    def root(self) -> Path:
        return self.runs / "iid" / "seed0"

    def publish(self, method: str) -> Path:
        """An untrained model of a method, published as if trained."""
        torch.manual_seed(len(method))
        single = isinstance(registry.make(method), SingleNetwork)
        networks = [self.weights() for _ in self.problem.silos[: 1 if single else None]]
        target = self.root / "published" / method
        publish(
            target,
            networks,
            [silo.histogram(SPACE) for silo in self.problem.silos],
            self.task,
            method=method,
            partition="iid",
            training=self.training,
            data_hash=silos_hash(self.problem.silos),
        )
        return target

    def weights(self) -> dict[str, Tensor]:
        """Of a network that answers: a new one's last layer is zero, so that all of them make the same pictures."""
        network = self.task.network()
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
        return network.state_dict()

    @property
    def training(self) -> dict[str, object]:
        return {
            "digits": "folder",
            "folder": str(self.runs.parent / "idx"),
            "silos": 2,
            "partition": "iid",
            "alpha": 0.1,
            "observed": 50,
            "reference": 0.2,
            "seed": 0,
        }


@pytest.fixture
def trained(tmp_path: Path, folder: Path) -> Trained:
    """Two silos of made digits, 8 x 8, 6 a class in the reference."""
    task = ImageTask(size=8, channels=(8, 16), condition=16, heads=2)
    digits = load_digits(folder, task.size, source="folder")
    return Trained(tmp_path / "runs", make_problem(digits, silos=2, kind="iid", reference=0.2, seed=0), task)


@pytest.fixture
def quick() -> EvaluationSettings:
    return EvaluationSettings(each=4, selection_each=2, curve_each=2, evaluations=4, draws=5)


@pytest.fixture
def settings(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> TableSettings:
    """Two methods that are trained and one that is not."""
    for method in ("ddm_l", "dcfm_b"):
        trained.publish(method)
    return TableSettings(
        ("ddm_l", "dfd", "dcfm_b"),
        partitions=("iid",),
        runs=trained.runs,
        out=tmp_path / "out",
        train=False,
        evaluation=replace(quick, rules=("joint",), curve=(2,)),
        device="cpu",
    )


def rewrite(path: Path, content: dict[str, Any]) -> None:
    """As if that had been found; the record says so."""
    record = path.with_name("record.json")
    there = json.loads(record.read_text())
    path.write_text(json.dumps(content))
    records.finish(record, there["asked"], list(there["files"]))
