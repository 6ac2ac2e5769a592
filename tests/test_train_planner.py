"""scripts/train_planner.py: presets compose into typed settings, bad input is one clear error, a short run works."""

from dataclasses import fields
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from dcfm.cards import CARD, card_text
from dcfm.curves import read_curve
from dcfm.methods.method import Recipe
from dcfm_envs.minari_data import export_minari
from dcfm_envs.play_data import load_play
from dcfm_planner.card import planner_card
from dcfm_planner.models import load_planner, weights_folder
from dcfm_planner.task import PlannerTask
from tests.commands import run_script, script_module

SMALL = [
    "task.channels=[8,16]",
    "task.condition=8",
    "stage_one.loop.steps=3",
    "peers.loop.steps=2",
    "student.loop.steps=3",
    "student.replay.paths=8",
    "further.loop.steps=2",
    "fedavg.rounds=2",
    "fedavg.steps=1",
    "pooled.loop.steps=2",
    "collect.train=4",
    "collect.val=1",
    "border_margin=0.0",
    "partition=iid",
]
METHODS = ("dcfm_a", "dcfm_b", "dfd", "factored", "fedflow_l", "pooled")


@pytest.mark.parametrize("preset", ["quick", "full"])
def test_presets_are_typed_and_complete(preset: str) -> None:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("train_planner", overrides=[f"preset={preset}"])
    assert isinstance(instantiate(config["task"]), PlannerTask)
    recipe = Recipe(**{part.name: instantiate(config[part.name]) for part in fields(Recipe)})
    for part in fields(Recipe):
        stage = getattr(recipe, part.name)
        assert isinstance(stage, type(part.default_factory()))  # type: ignore[misc]
        assert stage.objective.independence.weight > 0
    # Baselines get the steps that ours get: experts and FedFlow as many a silo, counting the student's for all silos.
    silo = recipe.stage_one.loop.steps + recipe.student.loop.steps // config.silos
    assert recipe.stage_one.loop.steps + recipe.further.loop.steps == silo
    assert recipe.fedavg.rounds * recipe.fedavg.steps == silo
    assert recipe.pooled.loop.steps == recipe.stage_one.loop.steps + recipe.student.loop.steps
    batches = {stage.batch for stage in (recipe.stage_one.loop, recipe.further.loop, recipe.pooled.loop, recipe.fedavg)}
    assert len(batches) == 1
    settings = {"peers": recipe.peers, "student": recipe.student}
    assert settings["peers"].objective.independence.labels == "own"
    assert settings["student"].objective.independence.labels == "global"


def run(folder: Path, *overrides: str) -> CompletedProcess[str]:
    out = () if any(word.startswith("out=") for word in overrides) else (f"out={folder / 'out'}",)
    return run_script("scripts/train_planner.py", *overrides, *out)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["partition=non-iid"], "the partitions are iid, noniid, disjoint"),
        (["methods=[dcfm_c]"], "the methods are dcfm_a, dcfm_b, dcfm_b_r, ddm"),
        (["task.horizon=90"], "horizon 90 does not divide"),
        (["device=tpu"], "use auto or cpu"),
        (["stage_one.loop.steps=0"], "at least 1"),
        (["peers.objective.masks.full=0.5"], "add up to 1"),
        (["ship=true", "methods=[dcfm_a,ddm]"], "unknown method 'ddm'; the shipped methods are dcfm_a, dcfm_b"),
        (["ship=true", "partition=disjoint"], "the shipped partitions are iid, noniid"),
        (["methods=dcfm_b"], "give a list, quoted: 'methods=[dcfm_b]'"),
        (["ship=true", "methods=dcfm_b"], "give a list, quoted: 'methods=[dcfm_b]'"),
        (["out="], "out= is empty"),
        (["out=README.md"], "out=README.md is a file"),
    ],
)
def test_bad_input_is_one_error_before_any_work(tmp_path: Path, overrides: list[str], message: str) -> None:
    done = run(tmp_path, *overrides, f"data={tmp_path / 'play.npz'}")
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "play.npz").exists()
    assert not (tmp_path / "out").exists()


def test_shipping_replaces_the_whole_folder(tmp_path: Path) -> None:
    script = script_module("scripts/train_planner.py")
    name = "cube-single/noniid/dcfm_b"
    source, target = weights_folder() / name, tmp_path / "weights/dcfm_b"
    target.mkdir(parents=True)
    (target / "left-over").write_text("of another planner")
    script.ship(source, target, name)
    names = {path.name for path in source.iterdir()}
    assert {path.name for path in target.iterdir()} == names
    assert (target / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    assert (target / CARD).read_text() == card_text(source, planner_card(source, name))  # not of where it was copied
    assert f'load_planner("{name}")' in (target / CARD).read_text()
    script.ship(source, tmp_path / "weights/new", name)
    assert {path.name for path in target.parent.iterdir()} == {"dcfm_b", "new"}


def test_what_was_shipped_survives_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, name = script_module("scripts/train_planner.py"), "cube-single/noniid/dcfm_b"
    target = tmp_path / "dcfm_b"
    target.mkdir()
    (target / "model.safetensors").write_text("shipped")
    rename = Path.rename

    def interrupted(self: Path, place: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, place)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        script.ship(weights_folder() / name, target, name)
    assert [path.name for path in tmp_path.iterdir()] == ["dcfm_b"]
    assert (target / "model.safetensors").read_text() == "shipped"


def test_collects_trains_publishes_and_finds_it_done(tmp_path: Path) -> None:
    data = f"data={tmp_path / 'data' / 'play.npz'}"
    every = ("workers=0", f"methods=[{','.join(METHODS)}]")
    for more in (("workers=2", "methods=[dcfm_b]"), every):  # in processes of their own; then the others, in this one
        done = run(tmp_path, data, *SMALL, *more, "tensorboard=true")
        assert done.returncode == 0, done.stderr
    losses = tmp_path / "out" / "losses"
    assert {p.name for p in losses.iterdir()} >= {"stage1-robot0.csv", "dcfm_a-round-1-robot1.csv", "dcfm_b.csv"}
    assert read_curve(losses / "stage1-robot0.csv")["step"] == [1, 2, 3]
    assert list((tmp_path / "out" / "tensorboard" / "stage1-robot0").glob("events.*"))
    published = tmp_path / "out" / "published"
    assert {p.name for p in published.iterdir()} == set(METHODS)
    for folder in published.iterdir():
        loaded = load_planner(folder, device="cpu")
        plan = loaded.planner.sample(torch.tensor([[0, 3]]), torch.Generator().manual_seed(0))
        assert loaded.method == folder.name
        assert plan.normalised.isfinite().all()
    assert (tmp_path / "out" / "dcfm_b.ledger.jsonl").read_text().count('"weights"') == 4
    written = (tmp_path / "out" / "stage1" / "robot0" / "model.safetensors").stat().st_mtime_ns
    exported = export_minari(load_play(tmp_path / "data" / "play.npz"), "play-v0", tmp_path)
    again = run(tmp_path, f"data=minari:{exported}", *SMALL, *every)  # the same silos, so that nothing is trained again
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "stage1" / "robot0" / "model.safetensors").stat().st_mtime_ns == written
    other = run(tmp_path, data, *SMALL, *every, "stage_one.loop.steps=4")
    assert other.returncode != 0
    assert "choose another out folder" in other.stderr
