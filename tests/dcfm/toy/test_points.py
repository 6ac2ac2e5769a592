"""dcfm/toy/points.py: a point is of what its records say, and so is its line of a table."""

from pathlib import Path
from statistics import fmean

import pytest

from dcfm.methods.method import RULES
from dcfm.toy.cell import Cell
from dcfm.toy.experiment import run_cells
from dcfm.toy.points import Part, numbers, run_parts
from dcfm.toy.problem import ProblemSettings
from dcfm.toy.score import Sampling
from dcfm.toy.training import Phase, Training

TRAINING = Training(8, 1, 16, stage_one=Phase(steps=2), student=Phase(steps=2))


def test_a_point_is_the_mean_of_its_records(tmp_path: Path) -> None:
    cells = [Cell(ProblemSettings(samples=20, seed=seed), TRAINING, Sampling(200, 2)) for seed in (0, 1)]
    (point,) = run_parts([Part(cells, ("dcfm_b",), tmp_path, {"rounds": 4})], 0)
    records = [record["methods"]["dcfm_b"] for record in run_cells(cells, ["dcfm_b"], tmp_path, 0)]
    assert (point["method"], point["title"], point["rounds"], point["models"]) == ("dcfm_b", "DCFM-B", 4, 2)
    assert point["bytes"] == max(records[0]["cost"]["bytes"].values())
    assert point["rules"] == [record["rule"] for record in records]
    assert point["seconds"] == [record["seconds"] for record in records]
    for kind in ("known", "novel"):
        assert point[kind]["mean"] == pytest.approx(fmean(record[kind]["mean"] for record in records))
        for rule in RULES:
            shares = [record["by_rule"][rule][kind]["mean"] for record in records]
            assert point["by_rule"][rule][kind]["mean"] == pytest.approx(fmean(shares))


def test_a_points_line_is_in_percent_and_within_0_and_100() -> None:
    rules = {"joint": {"known": {"mean": 0.9}, "novel": {"mean": 0.05}}, "composed": {"novel": {"mean": 0.5}}}
    known, novel = {"mean": 0.98, "low": 0.95, "high": 1.01}, {"mean": 0.05, "low": -0.02, "high": 0.12, "least": 0.03}
    point = {"models": 2, "bytes": 1_234_567, "known": known, "novel": novel, "by_rule": rules}
    assert numbers(point) == ["2", "1,235", "98.0 [95.0, 100.0]", "5.0 [0.0, 12.0]", "3.0", "5.0", "50.0"]
    without = {"models": 2, "bytes": 500, "known": {"mean": 0.98}, "by_rule": {"joint": {}, "composed": {}}}
    assert numbers(without) == ["2", "0", "98.0", "", "", "", ""]
