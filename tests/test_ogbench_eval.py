"""scripts/ogbench_eval.py: one episode in a process of its own, and one clear error for each bad input."""

import json
import re
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest
from hydra import compose, initialize_config_module

from tests.commands import run_script, script_module


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/ogbench_eval.py", "device=cpu", *overrides)


def test_one_episode_of_a_diagonal_task(tmp_path: Path) -> None:
    done = run("tasks=[4]", "episodes=1", f"out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "task4_diagonal1 *" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "episodes.csv", "table.txt", "config.yaml"}
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert (values["tasks"]["4"]["k"], values["novel"]["n"], values["border"]["n"]) == (1, 1, 0)
    assert values["command"].startswith("python scripts/ogbench_eval.py device=cpu")
    row = (tmp_path / "episodes.csv").read_text().splitlines()[1].split(",")
    assert row[:3] == ["4", "task4_diagonal1", "0"]
    assert row[4:7] == ["BR", "TL", "diagonal"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return script_module("scripts/ogbench_eval.py")


def test_results_of_other_weights_are_kept(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"weights_sha256": 64 * "b"}))
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("ogbench_eval", overrides=["device=cpu", f"out={tmp_path}"])
    with pytest.raises(ValueError, match="holds the results of other weights"):
        script.run(config)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tasks=[6]", "give some of [1, 2, 3, 4, 5], each once"),
        ("episodes=0", "at least 1 episode"),
        ("method=dcfm_c", "unknown method 'dcfm_c'"),
        ("weights=nowhere", "neither a folder nor a shipped planner"),
        ("episodes=many", "see configs/ogbench_eval.yaml"),
    ],
)
def test_bad_input_is_refused_before_any_work(override: str, message: str, script: ModuleType, tmp_path: Path) -> None:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("ogbench_eval", overrides=["device=cpu", override, f"out={tmp_path / 'out'}"])
    with pytest.raises(ValueError, match=re.escape(message)):
        script.run(config)
    assert not (tmp_path / "out").exists()
