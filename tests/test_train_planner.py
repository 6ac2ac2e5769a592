"""scripts/train_planner.py: presets compose into typed settings, bad input is one clear error, a short run works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from dcfm.trainers.local import LocalConfig
from dcfm.trainers.peers import PeerConfig
from dcfm.trainers.student import StudentConfig
from dcfm_planner.task import PlannerTask

REPOSITORY = Path(__file__).parents[1]
SMALL = [
    "task.channels=[8,16]",
    "task.condition=8",
    "stage_one.loop.steps=3",
    "peers.loop.steps=2",
    "student.loop.steps=3",
    "student.replay.paths=8",
    "collect.train=4",
    "collect.val=1",
    "border_margin=0.0",
    "partition=iid",
    "workers=2",
]


@pytest.mark.parametrize("preset", ["quick", "full"])
def test_presets_are_typed_and_complete(preset: str) -> None:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("train_planner", overrides=[f"preset={preset}"])
    kinds = {"task": PlannerTask, "stage_one": LocalConfig, "peers": PeerConfig, "student": StudentConfig}
    settings = {name: instantiate(config[name]) for name in kinds}
    for name, kind in kinds.items():
        assert isinstance(settings[name], kind)
    for stage in (settings["stage_one"], settings["peers"], settings["student"]):
        assert stage.loop.steps > 100
        assert stage.objective.independence.weight > 0
    assert settings["peers"].objective.independence.labels == "own"
    assert settings["student"].objective.independence.labels == "global"


def run(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/train_planner.py", *overrides]
    out = () if any(word.startswith("out=") for word in overrides) else (f"out={folder / 'out'}",)
    env = dict(os.environ, MUJOCO_GL="disable", OMP_NUM_THREADS="1")
    return subprocess.run([*command, *out], cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=280)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["partition=non-iid"], "the partitions are iid, noniid, disjoint"),
        (["methods=[dcfm_c]"], "the methods are dcfm_a, dcfm_b, ddm"),
        (["task.horizon=90"], "horizon 90 does not divide"),
        (["device=tpu"], "use auto or cpu"),
        (["stage_one.loop.steps=0"], "at least 1"),
        (["peers.objective.masks.full=0.5"], "add up to 1"),
    ],
)
def test_bad_input_is_one_error_before_any_work(tmp_path: Path, overrides: list[str], message: str) -> None:
    done = run(tmp_path, *overrides, f"data={tmp_path / 'play.npz'}")
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "play.npz").exists()
    assert not (tmp_path / "out" / "stage1").exists()


def test_collects_trains_publishes_and_finds_it_done(tmp_path: Path) -> None:
    data = f"data={tmp_path / 'data' / 'play.npz'}"
    first = run(tmp_path, data, *SMALL)
    assert first.returncode == 0, first.stderr
    published = tmp_path / "out" / "published"
    assert {p.name for p in published.iterdir()} == {"dcfm_a", "dcfm_b"}
    assert (tmp_path / "out" / "dcfm_b.ledger.jsonl").read_text().count('"weights"') == 4
    written = (tmp_path / "out" / "stage1" / "robot0" / "model.safetensors").stat().st_mtime_ns
    again = run(tmp_path, data, *SMALL)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "stage1" / "robot0" / "model.safetensors").stat().st_mtime_ns == written
    other = run(tmp_path, data, *SMALL, "stage_one.loop.steps=4")
    assert other.returncode != 0
    assert "choose another out folder" in other.stderr
