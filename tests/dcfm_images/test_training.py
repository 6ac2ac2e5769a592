"""Presets are typed and fair to the baselines; a small training publishes, resumes and refuses another problem."""

import json
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from dcfm.methods.method import Recipe
from dcfm_images import models
from dcfm_images.training import prepare, train

SMALL = [
    "task.size=8",
    "task.channels=[8]",
    "task.condition=8",
    "task.heads=1",
    "stage_one.loop.steps=2",
    "stage_one.loop.batch=8",
    "peers.loop.steps=2",
    "student.loop.steps=2",
    "student.replay.paths=4",
    "student.replay.steps=2",
    "further.loop.steps=2",
    "silos=2",
    "workers=0",
    "device=cpu",
    "digits=folder",
]


def configuration(*overrides: str, preset: str = "quick") -> DictConfig:
    with initialize_config_module("dcfm_configs.images", version_base="1.3"):
        return compose("train", overrides=[f"preset={preset}", *overrides])


@pytest.mark.parametrize("preset", ["quick", "night", "brief", "full"])
def test_presets_are_typed_and_every_method_gets_as_many_steps(preset: str) -> None:
    ready = prepare(configuration("device=cpu", "digits=embedded", preset=preset))
    recipe, silos = ready.recipe, ready.settings.silos
    for part in fields(Recipe):
        stage = getattr(recipe, part.name)
        assert isinstance(stage, type(part.default_factory()))  # type: ignore[misc]
        assert stage.objective.independence.weight > 0
        assert stage.objective.masks == recipe.stage_one.objective.masks
        assert stage.objective.time_power == recipe.stage_one.objective.time_power
    # Of a silo: Stage I and the student's share. A lone expert and FedFlow get as many.
    assert recipe.student.loop.steps % silos == 0
    silo = recipe.stage_one.loop.steps + recipe.student.loop.steps // silos
    assert recipe.stage_one.loop.steps + recipe.further.loop.steps == silo
    assert recipe.fedavg.rounds * recipe.fedavg.steps == silo
    assert recipe.fedavg.rounds >= 100
    # DCFM-A's experts get no more than DDM's.
    assert recipe.peers.rounds * recipe.peers.loop.steps <= recipe.further.loop.steps
    # The ceiling gets the longest chain of updates behind a network of ours.
    assert recipe.pooled.loop.steps == recipe.stage_one.loop.steps + recipe.student.loop.steps
    loops = (recipe.stage_one.loop, recipe.further.loop, recipe.peers.loop, recipe.student.loop, recipe.pooled.loop)
    assert {loop.batch for loop in loops} == {recipe.fedavg.batch}
    for own in (recipe.student, recipe.peers):  # terms about what nobody holds, composed by those that hold the parts
        assert own.objective.independence.contrast
        assert own.objective.independence.labels == "held"
    assert recipe.student.teachers_compose
    if preset in ("brief", "full"):
        assert (silos, ready.task.precision, ready.task.compile) == (10, "bfloat16", "graphs")
        assert len(ready.settings.methods) == 9


def test_train_publishes_resumes_and_refuses_another_problem(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [*SMALL, f"folder={folder}", f"out={out}"]
    first = train(configuration(*words))
    assert set(first) == {"ddm_l", "dcfm_a", "dcfm_b"}
    matrix = json.loads((out / "combinations.json").read_text())
    counts = torch.tensor(matrix["counts"])
    assert counts.shape == (2, 10, 10)
    for name, number in (("ddm_l", 2), ("dcfm_a", 2), ("dcfm_b", 1)):
        loaded = models.load(first[name], "cpu")
        assert len(loaded.networks) == number
        assert loaded.known.tolist() == matrix["known"]
        assert (out / f"{name}.ledger.jsonl").is_file()
    stamps = {path: path.stat().st_mtime_ns for path in (out / "stage1").rglob("model.safetensors")}
    assert len(stamps) == 2
    train(configuration(*words, "methods=[dcfm_b]"))
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    shutil.copytree(folder, tmp_path / "moved")  # the same digits
    train(configuration(*words, f"folder={tmp_path / 'moved'}", "methods=[dcfm_b]"))
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    for change, named in (("observed=60", "known"), ("task.predict=velocity", "task"), ("seed=1", "seed")):
        with pytest.raises(ValueError, match=rf"is of another training: .*{named}"):
            train(configuration(*words, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("observed=18", "at least 19 are needed"),
        ("observed=100", "one stays novel"),
        ("silos=400", "cannot feed 400 silos"),
        ("partition=non-iid", "the partitions are"),
        ("methods=[dcfm_c]", "unknown method 'dcfm_c'"),
        ("methods=[]", "give one or more"),
        ("silos=three", "silos"),
        ("+sillos=3", "sillos"),
        ("task.fold=3", "divide"),
        ("task.condition=0", "condition=0 are at least 1"),
        ("task.predict=noise", "velocity, clean"),
        ("stage_one.loop.steps=0", "at least 1"),
        ("folder=nowhere", "does not hold"),
        ("digits=internet", "digits are one of"),
        ("device=cuda:99", "use auto or cpu"),
        ("workers=-1", "workers=-1"),
        ("reference=0", "between 0 and 1"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, change: str, message: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        train(configuration(*SMALL, f"folder={folder}", f"out={out}", change))
    assert not out.exists()
