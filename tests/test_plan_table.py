"""scripts/plan_table.py: a comparison of shipped planners in a process of its own, then collected without them."""

import json
import shutil
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest
from hydra import compose, initialize_config_module

from dcfm_planner.comparison.report import FILES
from dcfm_planner.models import weights_folder
from tests.commands import run_script, script_module


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/plan_table.py", *overrides)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return script_module("scripts/plan_table.py")


def test_compared_then_collected(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, out = tmp_path / "runs", tmp_path / "results"
    shutil.copytree(weights_folder() / "cube-single/noniid/dcfm_b", runs / "noniid/seed0/published/dcfm_b")
    settings = [f"runs={runs}", f"out={out}", "methods=[ddm_l,dcfm_b]", "partitions=[noniid]", "protocols=[paper]"]
    settings += ["trials=1", "max_steps=3", "selection_plans=1", "device=cpu", "workers=0", "train=false"]
    done = run(*settings)
    assert done.returncode == 0, done.stderr
    assert "| DDM+L | not run | not run |" in done.stdout
    assert "noniid/seed0/dcfm_b: protocol paper" in done.stderr
    entry = out / "noniid/seed0/dcfm_b"
    assert {path.name for path in out.iterdir() if path.is_file()} == set(FILES)
    assert json.loads((entry / "selection.json").read_text())["chosen"] in ("joint", "composed, w = 1")
    table = json.loads((out / "table.json").read_text())
    assert table["command"].startswith("python scripts/plan_table.py")
    assert table["tables"][0]["rows"][1]["run"]

    shutil.rmtree(runs)  # what is shipped as results has no weights beside it
    before = (entry / "paper/metrics.json").stat().st_mtime_ns
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        script.run(compose("plan_table", overrides=[*settings, "evaluate=false", f"tables={tmp_path / 'again'}"]))
    assert f"to {tmp_path / 'again'}" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "again").iterdir()} == set(FILES)
    assert json.loads((out / "table.json").read_text()) == table
    again = json.loads((tmp_path / "again/table.json").read_text())
    assert again["tables"] == table["tables"]
    assert (entry / "paper/metrics.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("methods=[dcfm_c]", "unknown methods 'dcfm_c'"),
        ("trials=many", r"see configs/plan_table\.yaml"),
        ("seeds=0", r"see configs/plan_table\.yaml"),
        ("selection_seed=0", "two different seeds"),
    ],
)
def test_bad_values(script: ModuleType, override: str, message: str) -> None:
    with (
        initialize_config_module("dcfm_configs", version_base="1.3"),
        pytest.raises(ValueError, match=message),
    ):
        script.read_settings(compose("plan_table", overrides=[override]))


def test_bad_input_is_one_error_before_any_work(tmp_path: Path) -> None:
    done = run("trials=301", f"out={tmp_path / 'out'}", f"runs={tmp_path / 'runs'}")
    assert done.returncode != 0
    assert "error: trials=301" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
