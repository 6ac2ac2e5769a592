"""Coloured digits over the Flower app: the result is that of the in-process federation, and loads as its models do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dcfm.federated.server import serve
from dcfm.federated.settings import composed
from dcfm.federated.silo_files import write_silo
from dcfm.federated.tasks import FederatedTask, read_task
from dcfm.published import ModelError
from dcfm.silos import silos_hash
from dcfm_images import models
from dcfm_images.digits import Digits, load_digits
from dcfm_images.evaluation import evaluate
from dcfm_images.evaluation_settings import EvaluationError, EvaluationSettings
from dcfm_images.judging import CELLS
from dcfm_images.lineage import problem_of
from dcfm_images.problem import make_problem
from tests.dcfm.federated.equality import assert_run_equals_in_process
from tests.dcfm.federated.grid import LocalGrid
from tests.dcfm_images.test_training import SMALL

TINY = (*(word for word in SMALL if not word.startswith(("workers", "device"))), "task=images", "arrival=5")

QUICK = EvaluationSettings(each=4, selection_each=2, evaluations=4, draws=5)


@pytest.mark.parametrize("protocol", ["dcfm_a", "dcfm_b"])
def test_equals_the_in_process_federation(protocol: str, folder: Path, tmp_path: Path) -> None:
    words = (*TINY, f"protocol={protocol}", f"folder={folder}", "seed=3")
    loaded = models.load(assert_run_equals_in_process(words, tmp_path), "cpu")
    assert loaded.task.size == 8
    assert len(loaded.known) == 50
    problem, dealt = problem_of(loaded), read_task(composed(words)).deal()
    assert all(torch.equal(a.data, b.data) for a, b in zip(problem.silos, dealt, strict=True))
    with pytest.raises(ModelError, match=r"federation.*other label histograms.*scripts/images/train\.py"):
        problem_of(loaded, digits="embedded")


@pytest.fixture
def trained(folder: Path, tmp_path: Path) -> Path:
    """A model of a federation, published."""
    words = (*TINY, "protocol=dcfm_b", f"folder={folder}", "seed=3", f"out={tmp_path / 'federated'}")
    serve(LocalGrid(words), composed(words))
    return tmp_path / "federated/published/dcfm_b"


def judged(model: Path, out: Path, **more: Any) -> dict[str, Any]:
    return evaluate(model, out, QUICK, command="a command", device="cpu", **more)


def test_judged_as_dealt_or_with_digits_that_were_held_back(trained: Path, folder: Path, tmp_path: Path) -> None:
    """The figures are those of a model that ``train.py`` publishes with the same weights."""
    model = models.load(trained, "cpu")
    problem = make_problem(load_digits(folder, 8, source="folder"), silos=2, kind="noniid", seed=3)
    twin = tmp_path / "runs/published/dcfm_b"
    training = {"digits": "folder", "folder": str(folder), "silos": 2, "partition": "noniid", "alpha": 0.1}
    training |= {"observed": 50, "reference": 0.2, "seed": 3}
    models.publish(
        twin,
        [network.state_dict() for network in model.networks],
        model.histograms,
        model.task,
        method="dcfm_b",
        partition="noniid",
        training=training,
        data_hash=silos_hash(problem.silos),
    )
    expected = judged(twin, tmp_path / "twin")
    held_back = write_silo(
        tmp_path / "held_back.safetensors", problem.reference.images, problem.reference.labels[:, None]
    )
    for found in (judged(trained, tmp_path / "a"), judged(trained, tmp_path / "b", held_back=held_back)):
        assert found["sampling"] == expected["sampling"]
        assert found["reference_sha256"] == expected["reference_sha256"]
        assert {cell: found[cell] for cell in CELLS} == {cell: expected[cell] for cell in CELLS}
    assert "held back" in found["data"]
    labels = problem.reference.labels[:, None].roll(1, 0)
    corrected = write_silo(tmp_path / "corrected.safetensors", problem.reference.images, labels)
    with pytest.raises(ValueError, match="reference_labels_sha256"):
        judged(trained, tmp_path / "b", held_back=corrected)
    with pytest.raises(EvaluationError, match="leave out digits=folder and folder=None"):
        judged(trained, tmp_path / "c", held_back=held_back, digits="folder")
    matrix = json.loads((tmp_path / "b/combinations.json").read_text())
    assert {k: v for k, v in matrix.items() if k != "source"} == {
        k: v for k, v in problem.matrix().items() if k != "source"
    }
    with pytest.raises(EvaluationError, match=r"not trained in a federation.*leave held_back out"):
        judged(twin, tmp_path / "other", held_back=held_back)


def test_silos_with_digits_of_their_own_are_judged_with_others_alone(
    trained: Path, digits: Digits, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"or held_back=, digits that no silo had"):
        judged(trained, tmp_path / "out", digits="embedded")
    images, labels, other = digits.images, digits.labels[:, None], tmp_path / "other.safetensors"
    for data, told, message in (
        (images[:, :7], labels, r"torch.uint8 of shape \(300, 7, 8\).*torch.uint8 of shape \(n, 8, 8\)"),
        (images.float(), labels, r"torch.float32 of shape.*torch.uint8 of shape"),
        (images, labels + 1, "reaches from 1 to 10; it is the digit, 0 to 9"),
        (
            images[labels[:, 0] > 0],
            labels[labels[:, 0] > 0],
            "0 real digits 0 to compare them with; give more digits",
        ),
    ):
        write_silo(other, data, told)
        with pytest.raises(ValueError, match=message):
            judged(trained, tmp_path / "out", held_back=other)
    assert not (tmp_path / "out").exists()


def test_presets_and_bad_settings() -> None:
    assert isinstance(read_task(composed(["task=images", "images/preset=full"])), FederatedTask)
    for word, message in (("partition=dirichlet", "the digits' are"), ("observed=many", "configs/federated/task/im")):
        with pytest.raises(ValueError, match=message):
            read_task(composed(["task=images", word]))
    with pytest.raises(ValueError, match="at least 19 are needed"):
        read_task(composed(["task=images", "digits=embedded", "observed=18"])).deal()
