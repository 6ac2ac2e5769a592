"""What is counted, and the files: the keys that were promised, intervals, a table, a csv that reads back, a picture."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from dcfm.metrics.intervals import wilson
from dcfm_planner.evaluation import report
from dcfm_planner.evaluation.problems import CELLS, pair_kind
from dcfm_planner.evaluation.report import composed_novel, count, metrics, table, trials_csv, write_report
from dcfm_planner.evaluation.run import EvaluationSettings, Results
from dcfm_planner.evaluation.trials import Timing, Trial
from dcfm_planner.quadrants import quadrant_index

WENT_WELL: dict[str, Any] = {
    "reached": True,
    "success": True,
    "success_strict": True,
    "first_touch": 60,
    "steps": 95,
    "plans": 1,
    "distance": 0.01,
    "executed": np.linspace([0.5, 0.2], [0.35, -0.1], 96),
}


def trial(arm: str = "planner", cell: str = "known", index: int = 0, *, feasible: bool = True, **what: Any) -> Trial:
    source, target = CELLS[cell][index % len(CELLS[cell])]
    return Trial(
        arm=arm,
        cell=cell,
        index=index,
        source=source,
        target=target,
        kind=pair_kind(quadrant_index(source), quadrant_index(target)),
        noise_seed=2 * index,
        feasible=feasible,
        reasons=() if feasible else ("the cube starts in BR; TL was asked for",),
        start=(0.5, 0.2),
        goal=(0.35, -0.1),
        planned=np.linspace([0.5, 0.2], [0.35, -0.1], 96),
        **what,
    )


@pytest.fixture
def results() -> Results:
    known = [trial(index=i, **WENT_WELL) for i in range(9)]
    known += [
        trial(index=9, feasible=False),
        trial(index=10, **WENT_WELL | {"at_start": True, "first_touch": 0}),
        trial(index=11, **WENT_WELL | {"success_strict": False}),
    ]
    novel = [trial(cell="novel", index=i, **WENT_WELL) for i in range(10)]
    novel += [trial(cell="novel", index=i, first_touch=50, steps=200, distance=0.1) for i in (10, 11)]
    oracle = [trial("oracle", cell, i, **WENT_WELL) for cell in CELLS for i in range(12)]
    return Results(
        settings=EvaluationSettings("cube-single/noniid/dcfm_b", trials=12, controls=("oracle",)),
        method="dcfm_b",
        partition="noniid",
        planner={"steps": 8, "solver": "midpoint", "horizon": 96},
        weights_hash="0" * 64,
        trials=known + novel + oracle,
        timing=Timing(planning=2.0, plans=20, acting=1.0, stepping=10.0, steps=2000),
        seconds=20.0,
        workers=2,
    )


def test_counts(results: Results) -> None:
    known = count([t for t in results.trials if t.cell == "known" and t.arm == "planner"])
    assert known["feasible"] | {"low": 0, "high": 0} == {"k": 10, "n": 11, "rate": 10 / 11, "low": 0, "high": 0}
    assert (known["success"]["k"], known["success"]["n"]) == (10, 11)
    assert (known["success_strict"]["k"], known["success_strict"]["n"]) == (9, 11)
    assert known["solved_at_start"] == {"n": 1, "success": 1}
    assert (known["success"]["low"], known["success"]["high"]) == wilson(10, 11)
    novel = count([t for t in results.trials if t.cell == "novel" and t.arm == "planner"])
    assert (novel["success"]["k"], novel["touched"]["k"], novel["feasible"]["k"]) == (10, 12, 12)


def test_infeasible_plans_are_failures_wherever_their_cubes_were_put() -> None:
    """Where start and goal are given, plans are judged when they are executed already."""
    executed: dict[str, Any] = {"feasible": False, "reached": True, "steps": 95, "distance": 0.01}
    found = count([trial(at_start=True, first_touch=0, **executed), trial(index=1, first_touch=60, **executed)])
    for rule in ("feasible", "success", "success_strict", "touched"):
        assert (found[rule]["k"], found[rule]["n"]) == (0, 2), rule
    assert found["solved_at_start"] == {"n": 0, "success": 0}
    assert found["median_first_touch_step"] is None


def test_what_was_solved_at_the_start_may_be_lost_and_is_apart() -> None:
    lost = trial(at_start=True, first_touch=0, steps=200, distance=0.3)
    found = count([lost, trial(index=1, **WENT_WELL)])
    assert found["solved_at_start"] == {"n": 1, "success": 0}
    assert (found["success"]["k"], found["success"]["n"]) == (1, 1)
    assert found["median_final_distance_m"] == WENT_WELL["distance"]


def test_no_trials_have_no_rate() -> None:
    assert count([])["success"] == {"k": 0, "n": 0, "rate": None, "low": 0.0, "high": 1.0}


def test_metrics_have_the_promised_keys(results: Results) -> None:
    values = metrics(results, "python scripts/plan_eval.py")
    assert {
        "method",
        "partition",
        "protocol",
        "seed",
        "command",
        "known",
        "novel",
        "seconds_per_plan",
        "seconds",
    } <= set(values)
    for cell in ("known", "novel"):
        for rule in ("feasible", "success", "success_strict"):
            assert set(values[cell][rule]) == {"k", "n", "rate", "low", "high"}
    assert values["seconds_per_plan"] == pytest.approx(0.1)
    assert values["cost_over_stepping"] == pytest.approx(1.3)
    assert values["infeasible_reasons"] == {"wrong source": 1}
    assert values["controls"]["oracle"]["novel"]["success"]["k"] == 12
    assert sum(entry["success"]["n"] for entry in values["pairs"].values()) == 23
    assert values["kinds"]["diagonal"] == values["novel"]


def test_gaps_are_the_planner_s_own(results: Results) -> None:
    own, control = trial(effector_gap=0.01), trial("oracle", effector_gap=0.5)
    values = metrics(replace(results, trials=[own, control, control]), "python")
    assert values["gaps_m"]["effector_gap"] == 0.01
    assert values["gaps_m"]["cube_gap"] is None


def test_table(results: Results) -> None:
    text = table(metrics(results, "python"))
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    low, high = wilson(10, 11)
    assert f"10/11   90.9% [{low:.1%}, {high:.1%}]" in lines["known"]
    assert "10/12" in lines["novel"]
    assert "known 1, novel 0" in lines["Solved"]
    assert lines["TL"].count("/") == 4
    assert lines["TL"].count("*") == 1


@pytest.mark.parametrize(
    ("method", "how", "said"),
    [
        ("dcfm_a", {"rule": "joint", "guidance": [1.5, 1.5]}, "novel pairs composed, w = 1.5, 1.5"),
        ("dcfm_a", {"rule": "joint", "guidance": [1.0, 1.0]}, ""),  # the paper's
        ("dcfm_a", {"rule": "composed", "guidance": [1.5, 1.5]}, ""),  # says so
        ("dcfm_b", {"rule": "joint", "guidance": [1.5, 1.5]}, ""),  # composes nothing
        ("mine", {"rule": "joint", "guidance": [1.5, 1.5]}, ""),
        ("dcfm_a", {"steps": 5}, ""),  # older evaluations say less
    ],
)
def test_what_a_joint_rule_composes_is_said(results: Results, method: str, how: dict[str, Any], said: str) -> None:
    values = metrics(results, "python") | {"method": method, "planner": how}
    assert composed_novel(values) == said
    assert ("novel pairs composed" in table(values)) == bool(said)


def test_csv_reads_back(results: Results) -> None:
    rows = list(csv.DictReader(trials_csv(results.trials).splitlines()))
    assert len(rows) == len(results.trials)
    assert rows[0]["success"] == "1"
    assert float(rows[0]["start_x"]) == 0.5
    assert rows[9]["reasons"] == "the cube starts in BR; TL was asked for"
    assert rows[9]["distance"] == ""
    assert rows[10]["solved_at_start"] == "1"


def test_files(results: Results, tmp_path: Path) -> None:
    values = write_report(results, tmp_path / "out", "python x", "seed: 0\n")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "metrics.json",
        "trials.csv",
        "table.txt",
        "paths.png",
        "config.yaml",
    }
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == values
    assert (tmp_path / "out" / "paths.png").read_bytes()[:4] == b"\x89PNG"


def test_files_appear_whole_or_not_at_all(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: Figure, path: Path, **options: Any) -> None:
        Path(path).write_bytes(b"\x89PNG and no more")
        raise OSError("no space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="no space left"):
        write_report(results, tmp_path, "python x", "seed: 0\n")
    # no half picture and nothing temporary; the numbers are not lost for it
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "trials.csv", "table.txt", "config.yaml"}


def test_new_trials_never_lie_beside_old_metrics(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(results, tmp_path, "python x", "seed: 0\n")
    monkeypatch.setattr(report, "trials_csv", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(results, tmp_path, "python x", "seed: 0\n")
    assert {path.name for path in tmp_path.iterdir()} == {"trials.csv", "config.yaml"}
