"""Presets are typed and fair to the baselines; a small training publishes, resumes and refuses another problem."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from dcfm.methods.method import Recipe
from dcfm.silos import silos_hash
from dcfm.trainers.loop import LoopConfig
from dcfm_xray import models
from dcfm_xray.chestmnist import CHESTMNIST_ORDER
from dcfm_xray.classifier import ClassifierConfig
from dcfm_xray.encoders import load_codec
from dcfm_xray.evaluation import evaluate
from dcfm_xray.evaluation_settings import EvaluationSettings
from dcfm_xray.findings import FINDINGS, label_table
from dcfm_xray.nih import NihFolder
from dcfm_xray.problem import UNREADABLE, make_problem
from dcfm_xray.silos import Split, is_withheld
from dcfm_xray.training import prepare, train, write_combinations
from tests.dcfm_xray.conftest import nih_sample

JUDGE = EvaluationSettings(
    each=4,
    held_out=0.25,
    rules=("joint",),
    evaluations=2,
    draws=5,
    classifier=ClassifierConfig(width=8, loop=LoopConfig(steps=2, batch=8, warmup=1)),
)
Make = Callable[..., DictConfig]


@pytest.mark.parametrize("preset", ["quick", "full", "tiny"])
def test_presets_are_typed_and_every_method_gets_as_many_steps(
    configuration: Make, small_autoencoder: Path, preset: str
) -> None:
    words = ["device=cpu", "source=phantom", "images=1500", "task.size=32", "task.latent=2"]
    if preset == "full":
        words.append("task.channels=[96]")
    ready = prepare(configuration(*words, f"autoencoder={small_autoencoder}", preset=preset))
    recipe, silos = ready.recipe, ready.settings.silos
    assert silos == (2 if preset == "tiny" else 4)
    for part in fields(Recipe):
        objective = getattr(recipe, part.name).objective
        assert objective.independence.weight > 0
        assert objective.masks == recipe.stage_one.objective.masks
        assert objective.masks.pair > 0  # the pairwise CI term asks about pairs
        assert objective.time_power == recipe.stage_one.objective.time_power
        assert objective.independence.pairwise
    # Of a silo: Stage I and the student's share. A lone expert and FedFlow get as many.
    assert recipe.student.loop.steps % silos == 0
    silo = recipe.stage_one.loop.steps + recipe.student.loop.steps // silos
    assert recipe.stage_one.loop.steps + recipe.further.loop.steps == silo
    assert recipe.fedavg.rounds * recipe.fedavg.steps == silo
    assert recipe.fedavg.rounds >= 100
    assert recipe.peers.rounds * recipe.peers.loop.steps == recipe.further.loop.steps
    assert recipe.pooled.loop.steps == recipe.stage_one.loop.steps + recipe.student.loop.steps
    loops = (recipe.stage_one.loop, recipe.further.loop, recipe.peers.loop, recipe.student.loop, recipe.pooled.loop)
    assert {loop.batch for loop in loops} == {recipe.fedavg.batch}
    assert recipe.student.objective.independence.contrast


def test_train_publishes_resumes_and_refuses_another_problem(configuration: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = train(configuration(f"out={out}"))
    assert set(first) == {"ddm_l", "dcfm_a", "dcfm_b"}
    matrix = json.loads((out / "combinations.json").read_text())
    assert len(matrix["feasible"]) == 54
    assert "Effusion|Mass" in matrix["novel"]
    assert "No Finding" not in matrix["novel"]
    assert json.loads((out / "left_out.json").read_text()) == {UNREADABLE: []}
    for name, number in (("ddm_l", 2), ("dcfm_a", 2), ("dcfm_b", 1)):
        loaded = models.load(first[name], "cpu")
        assert len(loaded.networks) == number
        assert not is_withheld(loaded.known).any()
        assert (out / f"{name}.ledger.jsonl").is_file()
    stamps = {path: path.stat().st_mtime_ns for path in (out / "stage1").rglob("model.safetensors")}
    stamps |= {path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*.json")}
    assert len(stamps) >= 2 + 2
    train(configuration(f"out={out}", "methods=[dcfm_b]"))
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    with pytest.raises(ValueError, match="is of another training: task"):
        train(configuration(f"out={out}", "task.predict=velocity"))
    with pytest.raises(ValueError, match="cache of something else"):
        train(configuration(f"out={out}", "test_share=0.3"))


def chestmnist(path: Path, generator: torch.Generator) -> Path:
    """A file like ChestMNIST's, of label sets as frequent as the NIH table's."""
    order = [FINDINGS.index(name) for name in CHESTMNIST_ORDER]
    arrays = {}
    for name, number in (("train", 900), ("val", 10), ("test", 30)):
        labels = label_table().draw(number, generator)[:, order]
        pictures = torch.randint(256, (number, 8, 8), generator=generator)
        arrays |= {f"{name}_labels": labels.numpy(), f"{name}_images": pictures.numpy().astype(np.uint8)}
    path.parent.mkdir()
    np.savez(path, **arrays)
    return path


def test_what_is_left_out_is_counted_and_named(small_autoencoder: Path, tmp_path: Path) -> None:
    """Images of silos in ``left_out.json`` and in what is printed, those of test patients where models are judged."""
    labels = [*FINDINGS, "No Finding", *FINDINGS, "No Finding", "Mass", "Mass", "Edema", "Effusion|Mass"]
    rows = "".join(f"{i}.png,{label},0,{i}\n" for i, label in enumerate(labels))
    (tmp_path / "Data_Entry_2017.csv").write_text(
        f"Image Index,Finding Labels,Follow-up #,Patient ID\n{rows}x.png,Mass,0,99\n"
    )
    for i in range(len(labels)):
        Image.fromarray(np.full((32, 32), 5 * i, dtype=np.uint8)).save(tmp_path / f"{i}.png")
    for broken in ("2.png", "31.png"):
        (tmp_path / broken).write_bytes(b"no image")
    split = Split((torch.arange(15), torch.arange(15, 30)), torch.arange(30, 33), torch.arange(33, 34))
    codec = load_codec(small_autoencoder, None, 32)
    problem = make_problem(NihFolder(tmp_path), codec, tmp_path / "cache", split)
    left_out = problem.left_out.left_out
    rows = [torch.tensor([*range(2), *range(3, 15)]), torch.arange(15, 30)]
    assert all(torch.equal(s.labels, problem.source.labels[own]) for s, own in zip(problem.silos, rows, strict=True))
    assert all(torch.equal(who, own) for who, own in zip(problem.patients, rows, strict=True))
    assert torch.equal(problem.training(), torch.tensor([*range(30), 33]))
    matrix = problem.matrix()
    assert [sum(numbers[i] for numbers in matrix["counts"].values()) for i in (0, 1)] == [14, 15]
    assert matrix["counts"][FINDINGS[2]] == [0, 1]
    assert (matrix["test_images"], matrix["withheld_images"], matrix["unreadable_images"]) == (3, 1, 1)
    assert "Effusion|Mass" in matrix["novel"]
    assert not {*FINDINGS, "No Finding"} & {*matrix["novel"]}
    assert left_out["rows without a file"] == ["x.png"]
    assert [str(tmp_path / "2.png") in text for text in left_out[UNREADABLE]] == [True]
    assert f"1 {UNREADABLE} ({tmp_path / '2.png'}" in problem.describe()
    assert "hospital0: 14 images" in problem.describe()  # what it trains on, not what lay there
    assert problem.test().labels.tolist() == problem.source.labels[[30, 32]].tolist()
    assert [str(tmp_path / "31.png") in text for text in problem.unreadable_test_images] == [True]


@pytest.mark.parametrize(
    ("broken", "message"), [(range(15), "'hospital0' has no data"), ((2, 17), f"no silo holds {FINDINGS[2]} = yes")]
)
def test_what_undecodable_images_would_have_held_is_told(
    small_autoencoder: Path, tmp_path: Path, broken: Sequence[int], message: str
) -> None:
    """The table has it, so the error must say where it went."""
    labels = [*FINDINGS, "No Finding", *FINDINGS, "No Finding", "Mass"]
    rows = "".join(f"{i}.png,{label},0,{i}\n" for i, label in enumerate(labels))
    (tmp_path / "Data_Entry_2017.csv").write_text(f"Image Index,Finding Labels,Follow-up #,Patient ID\n{rows}")
    for i in range(len(labels)):
        Image.fromarray(np.full((32, 32), 5 * i, dtype=np.uint8)).save(tmp_path / f"{i}.png")
    for i in broken:
        (tmp_path / f"{i}.png").write_bytes(b"no image")
    split = Split((torch.arange(15), torch.arange(15, 30)), torch.arange(30, 31), torch.arange(0))
    codec = load_codec(small_autoencoder, None, 32)
    with pytest.raises(ValueError, match=message) as caught:
        make_problem(NihFolder(tmp_path), codec, tmp_path / "cache", split)
    assert f"{len(broken)} {UNREADABLE} ({tmp_path / f'{broken[0]}.png'}" in str(caught.value)


def test_data_may_be_moved(
    configuration: Make, tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caches and ``combinations.json`` are those of the same data, wherever it lies and however its path is given;
    other data is still refused."""
    before = chestmnist(tmp_path / "before" / "chest.npz", generator)

    def use(path: Path | str) -> tuple[str, list[str]]:
        encoded: list[str] = []
        ready = prepare(configuration("source=chestmnist", f"path={path}"))
        problem = ready.problem(tmp_path / "cache", lambda what, *_: encoded.append(what))
        write_combinations(tmp_path, ready, problem)
        return silos_hash(problem.silos), encoded

    first, encoded = use(before)
    assert encoded == ["encoding hospital0", "encoding hospital1"]
    before.parent.rename(tmp_path / "after")
    assert use(tmp_path / "after" / "chest.npz") == (first, [])
    monkeypatch.chdir(tmp_path)
    assert use("after/chest.npz") == (first, [])
    assert str(before) in json.loads((tmp_path / "combinations.json").read_text())["source"]
    with pytest.raises(ValueError, match="cache of something else"):
        use(chestmnist(tmp_path / "other" / "chest.npz", generator))


def test_the_real_sample_goes_all_the_way(configuration: Make, tmp_path: Path) -> None:
    folder, out = nih_sample(), tmp_path / "out"
    published = train(configuration(f"out={out}", "source=nih", f"path={folder}", "methods=[dcfm_b]"))
    matrix = json.loads((out / "combinations.json").read_text())
    assert matrix["unreadable_images"] == 0
    assert sum(sum(n) for n in matrix["counts"].values()) + matrix["withheld_images"] + matrix["test_images"] == 621
    metrics = evaluate(published["dcfm_b"], tmp_path / "results", JUDGE, command="test", device="cpu")
    assert metrics["test_images"] == matrix["test_images"]
    assert 0 <= metrics["utility"]["all"]["utility"]["value"] <= 1


def test_a_model_of_something_else_is_refused(small_autoencoder: Path) -> None:
    with pytest.raises(models.ModelError, match="not of an X-ray model"):
        models.load(small_autoencoder, "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("source=mri", "the sources are"),
        ("source=nih", "needs path="),
        ("path=nowhere", "give source=nih or chestmnist"),
        ("source=nih path=nowhere", "is no folder"),
        ("source=chestmnist path=nowhere", "is not ChestMNIST"),
        ("images=10", "cannot be dealt|empty"),
        ("silos=900", "cannot be dealt"),
        ("partition=non-iid", "the partitions are"),
        ("test_share=0", "empty"),
        ("methods=[dcfm_c]", "unknown method 'dcfm_c'"),
        ("methods=[]", "give one or more"),
        ("silos=three", "silos"),
        ("+sillos=3", "sillos"),
        ("task.latent=4", "set task.latent"),
        ("task.size=64", "takes 32 pixels"),
        ("task.predict=noise", "velocity, clean"),
        ("stage_one.loop.steps=0", "at least 1"),
        ("autoencoder=nowhere", "no artefact"),
        ("pretrained=nowhere", "give one of them"),
        ("autoencoder=null pretrained=nowhere", "needs config.json"),
        ("device=cuda:99", "use auto or cpu"),
        ("workers=-1", "workers=-1"),
        ("shard=0", "shard=0"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    configuration: Make, tmp_path: Path, change: str, message: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        train(configuration(f"out={out}", *change.split()))
    assert not out.exists()


def test_the_task_brings_stored_latents_to_float(configuration: Make) -> None:
    task = prepare(configuration()).task
    stored = torch.randn(3, *task.shape).half()
    assert task.prepare(stored, torch.zeros(3, 14, dtype=torch.long)).dtype == torch.float32
