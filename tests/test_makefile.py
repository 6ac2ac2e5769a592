"""make's decisions, with programs that only note how they were called: when .venv is made, and an evaluation run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
WEIGHTS = "dcfm_planner/weights/cube-single/noniid/dcfm_b"


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, timeout=60)


def calls(clone: Path) -> list[str]:
    return (clone / "calls").read_text().splitlines() if (clone / "calls").exists() else []


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile and what it reads."""
    shutil.copy(MAKEFILE, tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    return tmp_path


class TestSetup:
    WORKS = 'echo "$@" >> calls'

    def python(self, clone: Path) -> str:
        """Makes of .venv what works, and notes it."""
        created = program(clone / "created", self.WORKS)
        body = (
            f'echo "python $*" >> calls\n[ "$2" != venv ] || {{ mkdir -p .venv/bin; cp {created} .venv/bin/python; }}'
        )
        return f"PYTHON={program(clone / 'python', body)}"

    def made(self, clone: Path) -> bool:
        assert (clone / ".venv/.set-up").exists()
        return "python -m venv --clear .venv" in calls(clone)

    def test_an_interrupted_environment_is_made_again(self, clone: Path) -> None:
        program(clone / ".venv/bin/python", "exit 1")  # there is no pip yet
        done = make(clone, "setup", self.python(clone))
        assert done.returncode == 0, done.stderr
        assert self.made(clone)

    def test_one_that_has_pip_is_kept(self, clone: Path) -> None:
        program(clone / ".venv/bin/python", self.WORKS)
        assert make(clone, "setup", self.python(clone)).returncode == 0
        assert not self.made(clone)

    def test_a_finished_one_is_never_cleared(self, clone: Path) -> None:
        program(clone / ".venv/bin/python", "exit 1")
        (clone / ".venv/.set-up").touch()
        os.utime(clone / ".venv/.set-up", (0, 0))  # older than pyproject.toml
        assert make(clone, "setup", self.python(clone)).returncode != 0
        assert not self.made(clone)

    @pytest.mark.parametrize("version", [(3, 10), (3, 13)])
    def test_a_python_that_cannot_work_is_named(self, version: tuple[int, int], clone: Path) -> None:
        code = f"import sys; sys.version_info = {(*version, 0)}; exec(sys.argv[1])"
        python = program(clone / "python", f'exec {sys.executable} -c "{code}" "$2"')
        done = make(clone, "setup", f"PYTHON={python}")
        assert done.returncode != 0
        assert "DCFM needs Python 3.11 or 3.12" in done.stderr
        assert f"{python} is {version[0]}.{version[1]}; run: make setup PYTHON=python3.12" in done.stderr
        assert not (clone / ".venv").exists()


class TestReproduce:
    @pytest.mark.parametrize(
        ("out", "called"),
        [
            (
                "planner/noniid-dcfm_b-given",
                "scripts/plan_eval.py partition=noniid protocol=given controls=true trials=100",
            ),
            ("ogbench/dcfm_b", "scripts/ogbench_eval.py method=dcfm_b"),
        ],
    )
    def test_only_results_of_the_shipped_weights_are_taken(self, out: str, called: str, clone: Path) -> None:
        program(clone / ".venv/bin/python", 'echo "$@" >> calls')
        (clone / ".venv/.set-up").touch()
        (clone / WEIGHTS).mkdir(parents=True)
        manifest = {"format": 1, "files": {"config.yaml": "11", "model.safetensors": "22"}}
        (clone / WEIGHTS / "artefact.json").write_text(json.dumps(manifest, indent=2))
        metrics = clone / "runs/reproduce" / out / "metrics.json"
        metrics.parent.mkdir(parents=True)
        for number, weights in enumerate((None, "33", "2", "22")):
            if weights is not None:
                metrics.write_text(json.dumps({"weights_sha256": weights, "seed": 0}, indent=2))
            done = make(clone, str(metrics.relative_to(clone)))
            assert done.returncode == 0, done.stderr
            assert calls(clone) == [f"{called} out=runs/reproduce/{out}"] * min(number + 1, 3)
