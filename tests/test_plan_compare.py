"""scripts/plan_compare.py on shipped results, in a process of its own, and what it says of what cannot be."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.commands import REPOSITORY, run_script

SHIPPED = "docs/results/planner_table/chosen/noniid/seed0"


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/plan_compare.py", *overrides)


def test_shipped_results_compared(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(f"ours={{DCFM-B:{SHIPPED}/dcfm_b/paper}}", f"others={{DDM+L:[{SHIPPED}/ddm_l/paper]}}", f"out={out}")
    assert done.returncode == 0, done.stderr
    assert "| DCFM-B against DDM+L | novel | +2.7 [+0.5, +5.3] | 9 | 1 | 300 | 0.021 | 0.043 |" in done.stdout
    found = json.loads((out / "comparison.json").read_text())
    table = json.loads((REPOSITORY / SHIPPED / "../../table.json").resolve().read_text())
    rows = {row["method"]: row for row in table["tables"][0]["rows"]}
    assert [row["novel"] for row in found["rows"]] == [rows["dcfm_b"]["novel"], rows["ddm_l"]["novel"]]
    assert found["command"].startswith("python scripts/plan_compare.py")
    assert (out / "comparison.md").read_text() in done.stdout
    other = run(f"ours={{DCFM-A:{SHIPPED}/dcfm_a/paper}}", f"others={{DDM+L:[{SHIPPED}/ddm_l/paper]}}", f"out={out}")
    assert other.returncode == 2
    assert "holds the results of other settings (ours=" in other.stderr
    assert json.loads((out / "comparison.json").read_text()) == found


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), "error: ours=None: give titles and folders"),
        (("ours=[a]",), "error: ours=['a']: give titles and folders"),
        (("ours={A:[]}",), "error: ours, A: [] names no folder"),
        (("ours={A:nowhere}",), "error: A: nowhere holds no evaluation"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, overrides: tuple[str, ...], message: str) -> None:
    done = run(*overrides, f"out={tmp_path / 'out'}")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
