"""scripts/images/benchmark.py measures what it says and writes it down."""

import json
from pathlib import Path
from subprocess import CompletedProcess

from tests.commands import run_script


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/images/benchmark.py", *overrides)


def test_measures_and_writes(tmp_path: Path) -> None:
    small = ["task.size=8", "task.channels=[8]", "task.heads=1", "student.replay.paths=8", "student.replay.steps=2"]
    done = run(*small, "stage_one.loop.batch=8", "turns=2", "steps=2", "device=cpu", f"out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "stage_one" in done.stdout
    content = json.loads((tmp_path / "training_benchmark.json").read_text())
    assert content["command"].startswith("python scripts/images/benchmark.py")
    assert [row["trainer"] for row in content["trainers"]] == ["stage_one", "peers", "student"]
    for row in content["trainers"]:
        assert row["n"] == 2
        assert row["low"] <= row["ratio"] <= row["high"]


def test_bad_values_are_one_line(tmp_path: Path) -> None:
    done = run("turns=1", f"out={tmp_path / 'out'}")
    assert done.returncode != 0
    assert "turns are at least 2" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
