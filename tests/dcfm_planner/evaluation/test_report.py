"""Reports: what is counted and what is not, with intervals; files that appear whole or not at all."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from dcfm.metrics.intervals import wilson
from dcfm_planner.evaluation.report import count, metrics, rate, table, trials_csv, write_report
from dcfm_planner.evaluation.run import EvaluationSettings, Results
from dcfm_planner.evaluation.success import NEVER
from dcfm_planner.evaluation.trials import Timing, Trial

FILES = {"metrics.json", "trials.csv", "table.txt", "paths.png", "config.yaml"}


def trial(cell: str = "known", **what: Any) -> Trial:
    ends = {"known": ("TL", "TR", "adjacent"), "novel": ("TL", "BR", "diagonal")}
    source, target, kind = ends[cell]
    values: dict[str, Any] = {
        "arm": "planner",
        "index": 0,
        "noise_seed": 2,
        "feasible": True,
        "reasons": (),
        "steps": 50,
        "distance": 0.1,
        "start": (0.5, 0.1),
        "goal": (0.35, -0.1),
        "planned": np.zeros((4, 2)),
        "executed": np.zeros((51, 2)),
    }
    return Trial(cell=cell, source=source, target=target, kind=kind, **(values | what))


GOOD = {"reached": True, "success": True, "success_strict": True, "first_touch": 40, "distance": 0.01}
LOOSE = {"reached": True, "success": True, "first_touch": 20, "distance": 0.02}
INFEASIBLE = {
    "feasible": False,
    "reasons": ("the cube ends in BR; TR was asked for",),
    "steps": 0,
    "distance": float("nan"),
    "executed": np.zeros((0, 2)),
}
SOLVED = {"at_start": True, "reached": True, "success": True, "success_strict": True, "first_touch": 0, "distance": 0.0}


@pytest.fixture
def results() -> Results:
    known = [trial(**GOOD), trial(**LOOSE), trial(), trial(**INFEASIBLE), trial(**SOLVED)]
    novel = [trial("novel", **GOOD), trial("novel", **SOLVED)]
    control = [trial(arm="oracle", **GOOD), trial("novel", arm="oracle")]
    return Results(
        settings=EvaluationSettings("some/weights", trials=5, seed=7, controls=("oracle",)),
        method="dcfm_b",
        partition="noniid",
        planner={"steps": 5, "solver": "midpoint", "horizon": 96},
        weights_hash="0" * 64,
        trials=[*known, *novel, *control],
        timing=Timing(1.0, 7, 2.0, 4.0, 100),
        seconds=8.0,
        workers=2,
    )


def test_infeasible_plans_are_failures_and_what_was_solved_at_the_start_is_left_out() -> None:
    counts = count([trial(**GOOD), trial(**LOOSE), trial(), trial(**INFEASIBLE), trial(**SOLVED)])
    assert {name: (counts[name]["k"], counts[name]["n"]) for name in ("feasible", "success", "success_strict")} == {
        "feasible": (3, 4),
        "success": (2, 4),
        "success_strict": (1, 4),
    }
    assert counts["solved_at_start"] == {"n": 1, "success": 1}
    assert counts["touched"]["k"] == 2
    assert counts["median_first_touch_step"] == 30
    assert counts["median_final_distance_m"] == pytest.approx(0.02)


def test_an_infeasible_plan_that_starts_at_its_goal_is_a_failure_not_left_out() -> None:
    counts = count([trial(**(INFEASIBLE | {"at_start": True}))])
    assert (counts["success"]["k"], counts["success"]["n"]) == (0, 1)
    assert counts["solved_at_start"]["n"] == 0


def test_every_rate_has_its_wilson_interval() -> None:
    entry = rate(73, 100)
    assert entry["rate"] == 0.73
    low, high = 0.6357, 0.8073  # (k + z^2/2 -+ z sqrt(k (n-k)/n + z^2/4)) / (n + z^2), z = 1.96
    assert (entry["low"], entry["high"]) == pytest.approx((low, high), abs=1e-4)
    assert (entry["low"], entry["high"]) == wilson(73, 100)
    assert rate(0, 0) == {"k": 0, "n": 0, "rate": None, "low": 0.0, "high": 1.0}


def test_metrics_have_the_promised_keys(results: Results, tmp_path: Path) -> None:
    returned = write_report(results, tmp_path / "out", "python scripts/plan_eval.py seed=7", "seed: 7\n")
    values = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert values == json.loads(json.dumps(returned))
    head = {name: values[name] for name in ("method", "partition", "protocol", "seed", "command")}
    assert head == {
        "method": "dcfm_b",
        "partition": "noniid",
        "protocol": "paper",
        "seed": 7,
        "command": "python scripts/plan_eval.py seed=7",
    }
    for cell in ("known", "novel"):
        for rule in ("feasible", "success", "success_strict"):
            assert set(values[cell][rule]) == {"k", "n", "rate", "low", "high"}
            assert 0 <= values[cell][rule]["low"] <= values[cell][rule]["rate"] <= values[cell][rule]["high"] <= 1
    assert values["known"]["success"]["n"] == 4
    assert values["novel"]["success"] == rate(1, 1)
    assert values["pairs"]["TL-TR"]["success"] == values["kinds"]["adjacent"]["success"] == values["known"]["success"]
    assert values["infeasible_reasons"] == {"wrong target": 1}


def test_controls_are_counted_apart(results: Results) -> None:
    values = metrics(results, "")
    assert values["controls"]["oracle"]["known"]["success"] == rate(1, 1)
    assert values["controls"]["oracle"]["novel"]["success"] == rate(0, 1)


def test_what_was_left_out_is_in_the_table(results: Results) -> None:
    text = table(metrics(results, ""))
    assert "Solved at the start, not counted above: known 1, novel 1." in text
    assert "2/4" in text
    assert "oracle: novel" in text
    assert "1 wrong target" in text


def test_a_line_a_trial(results: Results) -> None:
    rows = list(csv.DictReader(trials_csv(results.trials).splitlines()))
    assert len(rows) == len(results.trials)
    assert [row["solved_at_start"] for row in rows[:5]] == ["0", "0", "0", "0", "1"]
    assert [row["success"] for row in rows[:5]] == ["1", "1", "0", "0", "1"]
    assert rows[3]["reasons"] == "the cube ends in BR; TR was asked for"
    assert rows[3]["distance"] == ""
    assert int(rows[2]["first_touch"]) == NEVER
    assert (rows[0]["start_x"], rows[0]["goal_y"]) == ("0.50000", "-0.10000")


def test_all_files_appear_and_no_other(results: Results, tmp_path: Path) -> None:
    write_report(results, tmp_path, "command", "seed: 7\n")
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert (tmp_path / "paths.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "config.yaml").read_text() == "seed: 7\n"


def test_files_appear_whole_or_not_at_all(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: Figure, path: Path, **options: Any) -> None:
        Path(path).write_bytes(b"\x89PNG and no more")
        raise OSError("no space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="no space left"):
        write_report(results, tmp_path, "command", "")
    # no half picture, nothing temporary, and no metrics.json that would say that all is there
    assert {path.name for path in tmp_path.iterdir()} == FILES - {"paths.png", "metrics.json"}
