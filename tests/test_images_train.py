"""scripts/images/train.py: a short run through worker processes, and bad input as one clear error."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.commands import run_script

SMALL = [
    "task.size=8",
    "task.channels=[8]",
    "task.condition=8",
    "task.heads=1",
    "stage_one.loop.steps=2",
    "stage_one.loop.batch=8",
    "peers.loop.steps=2",
    "silos=2",
    "workers=1",
    "device=cpu",
    "digits=embedded",
]


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/images/train.py", *overrides)


def test_a_short_run(tmp_path: Path) -> None:
    done = run(*SMALL, "methods=[dcfm_a]", f"out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    assert "5,000 digits of MNIST's train file" in done.stdout
    assert "silos:pictures of each combination" in done.stdout
    assert "stage1 silo1" in done.stderr  # a progress bar
    assert len(json.loads((tmp_path / "out" / "combinations.json").read_text())["known"]) == 50
    assert (tmp_path / "out" / "published" / "dcfm_a" / "artefact.json").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("observed=18", "observed=18 of 100 combinations"),
        ("task.channels=8", "channels=8; give a list of whole numbers"),
        ("task.channels=[8,a]", "channels=[8, 'a']; give a list of whole numbers"),
        ("task.size=8.0", "size=8.0; give a whole number"),
        ("task.heads=null", "heads=None; give a whole number"),
        ("student.loop.steps=2e4", "student.loop.steps=20000.0; give a whole number"),  # as YAML reads it
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(change: str, message: str, tmp_path: Path) -> None:
    done = run(*SMALL, change, f"out={tmp_path / 'out'}")
    assert done.returncode == 2
    assert f"error: {message}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
