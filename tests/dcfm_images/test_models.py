"""Image models: publish, load, sample; the attribute space and the settings that may change at loading."""

from pathlib import Path

import pytest
import torch
import yaml

from dcfm.artefacts import ArtefactError
from dcfm.published import ModelError
from dcfm.published import publish as publish_any
from dcfm.silos import LabelHistogram
from dcfm.solvers import integrate
from dcfm_images import models
from dcfm_images.problem import SPACE, choose_observed
from dcfm_images.task import ImageTask

TASK = ImageTask(size=8, channels=(8, 16), condition=16, heads=2, precision="bfloat16", compile="cuda")


@pytest.fixture
def known() -> torch.Tensor:
    return choose_observed(SPACE, 50, torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path: Path, known: torch.Tensor) -> Path:
    torch.manual_seed(0)
    experts = [TASK.network().state_dict() for _ in range(2)]
    histograms = [LabelHistogram.from_labels(part, SPACE.cardinalities) for part in (known[:30], known[20:])]
    models.publish(tmp_path / "a", experts, histograms, TASK, method="dcfm_a", partition="iid", training={})
    return tmp_path / "a"


def test_round_trip(folder: Path, known: torch.Tensor) -> None:
    found = models.load(folder, "cpu", precision="float32")
    assert found.task == ImageTask(**{**vars(TASK), "precision": "float32"})
    assert torch.equal(found.known, known)
    assert (found.name, found.partition, len(found.networks)) == ("dcfm_a", "iid", 2)
    labels = SPACE.combinations()[::25]
    noise = torch.randn(len(labels), *found.task.shape, generator=torch.Generator().manual_seed(0))
    pictures = integrate(found.field("composed", (1.5, 1.5)), noise, labels, steps=2)
    assert pictures.shape == noise.shape
    assert pictures.isfinite().all()


def test_other_artefacts_are_refused(folder: Path, tmp_path: Path, known: torch.Tensor) -> None:
    histograms = [LabelHistogram.from_labels(known, SPACE.cardinalities)]
    experts = [TASK.network().state_dict()]
    settings = {"method": "dcfm_b", "partition": "iid", "training": {}}
    task = {**vars(TASK), "channels": [8, 16]}
    publish_any(tmp_path / "b", experts, histograms, task={"horizon": 96}, **settings)
    with pytest.raises(ModelError, match="not of an image model"):
        models.load(tmp_path / "b", "cpu")
    publish_any(tmp_path / "c", experts, histograms, task=task, **settings)
    with pytest.raises(ModelError, match="not of an image model"):
        models.load(tmp_path / "c", "cpu")
    with pytest.raises(ArtefactError, match="no artefact folder"):
        models.load(tmp_path / "nowhere", "cpu")


def test_other_colours_are_another_attribute_space(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["attributes"]["colour"][0] == "red"
    import dcfm_images.task as module

    names = ("crimson", *SPACE.values[1][1:])
    monkeypatch.setattr(module, "SPACE", type(SPACE)(SPACE.names, (SPACE.values[0], names)))
    with pytest.raises(ModelError, match="was trained over the attributes"):
        models.load(folder, "cpu")
