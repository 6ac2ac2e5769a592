"""scripts/benchmark_planner.py measures what it says and writes it down."""

import json
import os
from pathlib import Path
from subprocess import CompletedProcess

from tests.commands import REPOSITORY, run_script


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/benchmark_planner.py", *overrides)


def test_measures_and_writes(tmp_path: Path) -> None:
    done = run("repeats=1", "batch=2", "trials=2", "turns=2", f"out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "one plan from scratch" in done.stdout
    values = json.loads((tmp_path / "benchmark.json").read_text())
    assert values["machine"]["cores"] == os.cpu_count()
    assert values["plan_seconds"]["cpu"] > 0
    evaluation = values["evaluation"]
    assert evaluation["control_steps"] >= 90
    # Evaluating does the bare steps too; clocks on a busy machine leave it at that.
    assert evaluation["seconds"]["cpu"] > 0.8 * evaluation["bare_stepping_seconds"]["cpu"]
    assert evaluation["turns"] == evaluation["ratio"]["cpu"]["runs"] == 2
    other = run("repeats=1", "batch=2", "trials=2", "turns=2", f"out={tmp_path}", "weights=cube-single/noniid/dcfm_a")
    assert "weights" in other.stderr
    assert other.returncode != 0
    assert json.loads((tmp_path / "benchmark.json").read_text()) == values
    assert evaluation["ratio"]["cpu"]["low"] < evaluation["ratio"]["cpu"]["mean"] < evaluation["ratio"]["cpu"]["high"]


def test_a_shipped_ratio_can_be() -> None:
    """What is evaluated is stepped too."""
    for path in (REPOSITORY / "docs/results/planner").glob("benchmark-*.json"):
        assert json.loads(path.read_text())["evaluation"]["ratio"]["cpu"]["mean"] > 1, path


def test_bad_values_are_one_error() -> None:
    done = run("repeats=0")
    assert done.returncode != 0
    assert "must be at least 1" in done.stderr
    assert "Traceback" not in done.stderr
