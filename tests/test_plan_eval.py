"""scripts/plan_eval.py: a short evaluation in a process of its own, and one clear error for each bad input."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest
from hydra import compose, initialize_config_module

from dcfm_planner.evaluation.controls import CONTROLS
from dcfm_planner.models import weights_folder
from tests.commands import run_script, script_module


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/plan_eval.py", *overrides)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return script_module("scripts/plan_eval.py")


def settings(script: ModuleType, *overrides: str):
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        return script.read_settings(compose("plan_eval", overrides=list(overrides)))[0]


def test_a_short_evaluation(tmp_path: Path) -> None:
    done = run("partition=noniid", "device=cpu", "trials=1", "workers=1", "max_steps=10", f"out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "known" in done.stdout
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert values["novel"]["feasible"]["n"] <= 1
    assert values["command"].startswith("python scripts/plan_eval.py partition=noniid")
    assert {path.name for path in tmp_path.iterdir()} == {
        "metrics.json",
        "trials.csv",
        "table.txt",
        "paths.png",
        "config.yaml",
    }


def test_results_of_other_settings_are_kept(tmp_path: Path) -> None:
    """The same question may be asked again; another one is refused before it is worked on."""
    same = ("partition=noniid", "device=cpu", "trials=1", "max_steps=5", f"out={tmp_path}")
    assert run(*same, "workers=1").returncode == 0
    before = (tmp_path / "metrics.json").read_bytes()
    other = run(*same, "workers=1", "seed=1")
    assert other.returncode == 2
    assert "(seed=0 there, 1 now); choose another out=" in other.stderr
    assert (tmp_path / "metrics.json").read_bytes() == before
    assert run(*same, "workers=0").returncode == 0
    assert (tmp_path / "metrics.json").read_bytes() != before  # the seconds that it took, at least


def test_results_of_other_weights_are_kept(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"weights_sha256": 64 * "b"}))
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("plan_eval", overrides=["device=cpu", f"out={tmp_path}"])
    with pytest.raises(ValueError, match="holds the results of other weights"):
        script.run(config)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_defaults_are_the_best_and_keys_reach_the_settings(script: ModuleType) -> None:
    plain = settings(script)
    assert (plain.weights, plain.protocol, plain.trials) == ("cube-single/noniid/dcfm_b", "paper", 100)
    assert plain.sampling is None
    assert plain.options == type(plain.options)()
    assert plain.controls == ()
    changed = settings(script, "controls=true", "method=dcfm_a", "partition=iid", "steps=3", "guidance=[1.0,1.0]")
    assert changed.controls == CONTROLS
    assert changed.weights == "cube-single/iid/dcfm_a"
    assert (changed.sampling.steps, changed.sampling.guidance) == (3, (1.0, 1.0))
    assert settings(script, "controls=[oracle,null]").controls == ("oracle", "null")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("partition=non-iid", "unknown partition 'non-iid'; the shipped partitions are iid, noniid"),
        ("method=dcfm_c", "unknown method 'dcfm_c'; the shipped methods are dcfm_a, dcfm_b"),
        ("protocol=mine", "the protocols are paper, given"),
        ("trials=many", "see configs/plan_eval.yaml"),
        ("trials=0", "at least 1 trial"),
        ("weights=", "weights= is empty"),
        ("controls=oracle", "give true, false, or a quoted list"),
        ("controls=[magic]", "unknown controls 'magic'"),
        ("replan_every=-1", "replan_every=-1"),
        ("rule=other", "the rules are joint and composed"),
    ],
)
def test_bad_values(script: ModuleType, override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(script, override)


@pytest.mark.parametrize("what", ["partition", "weights", "out"])
def test_bad_input_is_one_error_before_any_work(what: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if what == "partition":
        done, message = run("partition=non-iid", f"out={out}"), "unknown partition 'non-iid'"
    elif what == "out":
        out.write_text("a file, not a folder")
        done, message = run(f"out={out}"), "choose another out="
    else:
        for path in (weights_folder() / "cube-single/noniid/dcfm_b").iterdir():
            content = path.read_bytes()
            (tmp_path / path.name).write_bytes(content[:5000] if path.suffix == ".safetensors" else content)
        done, message = run(f"weights={tmp_path}", f"out={out}"), "truncated"
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert what == "out" or not out.exists()
