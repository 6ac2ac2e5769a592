"""scripts/report.py: one file from the results that this repository holds, and bad input is one line."""

from pathlib import Path
from subprocess import CompletedProcess

from tests.commands import run_script


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/report.py", *overrides)


def test_the_results_of_this_repository(tmp_path: Path) -> None:
    done = run("folders=[docs/results/cost,docs/results/planner,docs/results/toy/default]", f"out={tmp_path}/a/r.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"wrote {tmp_path}/a/r.html: ")
    text = (tmp_path / "a/r.html").read_text()
    assert "97.7 % [95.3, 98.9]" in text  # non-IID DCFM-B, novel pairs
    assert "293/300" in text
    assert "FedFlow, FedFlow+L" in text


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    done = run("folders=[docs/results/cost,docs/results/nothing]", f"out={tmp_path}/r.html")
    assert (done.returncode, done.stdout) == (2, "")
    assert "docs/results/nothing is no folder" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
