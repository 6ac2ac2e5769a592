"""docs/own-domain.md: its code is the maze of the package, and runs by import path as somebody's own module."""

import json
import os
from pathlib import Path

import pytest

from dcfm_planner.domains.maze import PointMaze
from dcfm_planner.models import ModelError, available, load_planner
from tests.commands import REPOSITORY, run_script
from tests.pages import block

PAGE = (REPOSITORY / "docs" / "own-domain.md").read_text()
SMALL = [
    "preset=maze",
    "partition=iid",
    "methods=[dcfm_b]",
    "task.channels=[8,8]",
    "task.condition=8",
    "stage_one.loop.steps=2",
    "student.loop.steps=2",
    "student.replay.paths=8",
    "workers=0",
]


def test_the_page_shows_the_packages_maze() -> None:
    assert block(PAGE, "py") == (REPOSITORY / "dcfm_planner" / "domains" / "maze.py").read_text()


def run(folder: Path, script: str, *overrides: str) -> str:
    words = ("--config-dir", str(folder), "domain=mine", *overrides)
    done = run_script(f"scripts/{script}.py", *words, environment=dict(os.environ, PYTHONPATH=str(folder)))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_trained_and_evaluated_by_the_same_scripts_from_outside(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "domain").mkdir(parents=True)
    (folder / "my_domain.py").write_text(block(PAGE, "py"))
    (folder / "domain" / "mine.yaml").write_text("_target_: my_domain.PointMaze\nwalks: 24\n")
    said = run(folder, "train_planner", *SMALL, f"data={tmp_path / 'walks.npz'}", f"out={tmp_path / 'out'}")
    assert "dcfm_b" in said
    assert (tmp_path / "walks.npz").is_file()
    weights = f"weights={tmp_path / 'out' / 'published' / 'dcfm_b'}"
    shown = run(folder, "plan_eval", weights, "trials=1", "workers=0", "device=cpu", f"out={tmp_path / 'eval'}")
    assert "rows: start, columns: goal" in shown
    values = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert values["novel"]["success"]["n"] == 1


@pytest.mark.skipif("pointmaze-large/noniid/dcfm_b" not in available(), reason="no maze weights in this checkout")
def test_a_model_of_another_domain_is_refused() -> None:
    assert load_planner("pointmaze-large/noniid/dcfm_b", device="cpu", domain=PointMaze()).planner.horizon == 32
    with pytest.raises(ModelError, match="was trained over the attributes"):
        load_planner("pointmaze-large/noniid/dcfm_b", device="cpu")
    with pytest.raises(ModelError, match="other coordinates than those of pointmaze-large"):
        load_planner("cube-single/noniid/dcfm_b", device="cpu", domain=PointMaze())
