"""docs/methods.md, "In a package of your own": the page's method, installed beside dcfm, is one like the others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import REPOSITORY, run_script
from tests.pages import block

PAGE = (REPOSITORY / "docs" / "methods.md").read_text().partition("### In a package of your own")[2]
TINY = [
    "partition=noniid",
    "seed=0",
    "samples=40",
    "draws=20",
    "steps=2",
    "workers=0",
    "training.width=8",
    "training.depth=1",
    "training.fedavg.steps=2",
    "training.fedavg_rounds=2",
]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The page's package, installed into a folder by pip, without anything from elsewhere."""
    source, installed = tmp_path / "source", tmp_path / "installed"
    (source / "my_methods").mkdir(parents=True)
    for name, text in {
        "my_methods/__init__.py": "",
        "my_methods/fedprox.py": block(PAGE, "py"),
        "my_methods/fedprox.yaml": block(PAGE, "yaml"),
        "pyproject.toml": block(PAGE, "toml"),
    }.items():
        (source / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(installed), str(source)], check=True, capture_output=True)
    return installed


def test_it_is_trained_and_scored_beside_the_others(package: Path, tmp_path: Path) -> None:
    words = ("methods=[fedflow_l,fedprox]", *TINY, f"out={tmp_path / 'out'}")
    done = run_script("scripts/toy.py", *words, environment=dict(os.environ, PYTHONPATH=str(package)))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "FedProx+L" in json.dumps(found)
    assert "FedProx+L" in done.stdout


def test_two_methods_of_one_name_and_a_package_that_is_gone_are_told(package: Path, tmp_path: Path) -> None:
    environment = dict(os.environ, PYTHONPATH=str(package))
    listed = package / "my_methods" / "fedprox.yaml"
    listed.rename(listed.with_name("dcfm_a.yaml"))
    done = run_script("scripts/toy.py", "methods=[ddm]", f"out={tmp_path / 'out'}", environment=environment)
    assert done.returncode == 2
    assert "have the same name; rename the one that is yours" in done.stderr
    listed.with_name("__init__.py").write_text("import nothing_of_this_name")
    done = run_script("scripts/toy.py", "methods=[ddm]", f"out={tmp_path / 'out'}", environment=environment)
    assert done.returncode == 2
    assert "dcfm.methods mine of my-methods names my_methods, which is no package that can be imported" in done.stderr
    assert not (tmp_path / "out").exists()
