"""scripts/cost.py counts, sets every count beside its formula, and writes both down."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hydra import compose, initialize_config_module

from tests.commands import run_script, script_module


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/cost.py", *overrides)


def test_counts_and_writes(tmp_path: Path) -> None:
    done = run("silos=[2]", "attributes=[2]", "curve_silos=[2,30]", "curve_attributes=[2,3]", f"out={tmp_path}")
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "cost.json").read_text())
    assert values["command"].startswith("python scripts/cost.py")
    assert values["counts_checked"] == values["counts_equal_to_the_formula_as_run"] > 30
    units = {row["method"]: row["measured_units"] for row in values["sent"]}
    assert units["dcfm_b"] == {"sent": 1, "received": 1}
    assert units["dcfm_a"] == {"sent": 3, "received": 3}
    assert values["network"]["parameters"] > 1e6
    assert values["network"]["message_bytes"] > 4 * values["network"]["parameters"]
    table = (tmp_path / "cost.md").read_text()
    assert table in done.stdout
    assert "| local CI, own labels | 2 | k+2 / k+2 = 4 / 4 | 1 + (k+2) / 1 + (k+2) | 5 / 5 | yes | no |" in table
    assert 10_000 < (tmp_path / "cost.png").stat().st_size < 200_000


def test_counts_mean_that_table_and_picture_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = script_module("scripts/cost.py")
    monkeypatch.setattr(script, "measure", lambda settings: script.Costs([], [], [], []))
    monkeypatch.setattr(script, "text", lambda *arguments: "a table")
    monkeypatch.setattr(script.report, "draw_curves", lambda *arguments: 1 / 0)
    (tmp_path / "cost.json").write_text("{}")  # of counts before
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("cost", overrides=[f"out={tmp_path}"])
    with pytest.raises(ZeroDivisionError):
        script.run(config)
    assert [path.name for path in tmp_path.iterdir()] == ["cost.md"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("silos=[1]", "silos=[1]; give a list of numbers from 2 to 16"),
        ("attributes=[2,15]", "attributes=[2, 15]"),
        ("peer_rounds=0", "must be at least 1"),
        ("silos=many", "see configs/cost.yaml"),
    ],
)
def test_bad_values_are_one_error(override: str, message: str, tmp_path: Path) -> None:
    done = run(override, f"out={tmp_path}")
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
