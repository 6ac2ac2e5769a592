"""The table as plain data: means, intervals, ratios, and what is said where rows are not alike."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcfm import records
from dcfm.comparison import Entry
from dcfm.metrics.intervals import share
from dcfm.records import write_json
from dcfm_images.summary import best_baseline, ratio_to, summarise
from dcfm_images.table import run
from dcfm_images.table_settings import TableSettings
from dcfm_images.text import markdown
from tests.dcfm_images.evaluation.conftest import rewrite


def metrics(fid: float) -> dict[str, Any]:
    return {"novel": {"fid": {"value": fid, "draws": [fid * factor for factor in (0.9, 1.0, 1.1)]}}}


def test_the_best_baseline_is_one_of_the_paper_s() -> None:
    found = {"ddm": {0: metrics(9.0)}, "dfd": {0: metrics(8.0), 1: metrics(12.0)}, "dcfm_a": {0: metrics(1.0)}}
    found |= {"pooled": {0: metrics(0.5)}, "factored": {0: metrics(0.7)}, "fedflow": {}}
    assert best_baseline(found, "novel") == "dfd"  # by the training that both have
    assert best_baseline({name: found[name] for name in ("ddm", "dcfm_a")}, "novel") == "ddm"
    assert best_baseline({"ddm": {0: metrics(9.0)}, "dfd": {1: metrics(12.0)}}, "novel") == "ddm"
    assert best_baseline({"pooled": found["pooled"]}, "novel") is None
    ratio = ratio_to(found["dcfm_a"], found["dfd"], "novel")
    assert ratio is not None
    assert ratio["value"] == pytest.approx(1 / 8)  # after the training that both have
    assert ratio["high"] - ratio["low"] < 1e-9  # their draws move together
    assert ratio_to({3: metrics(1.0)}, found["ddm"], "novel") is None


def test_results_that_do_not_belong_together_have_no_ratio(settings: TableSettings) -> None:
    settings = replace(settings, methods=("ddm_l", "dcfm_b"))
    assert run(settings, "a command") == {}
    path = Entry("iid", "dcfm_b", 0).results(settings.out) / "metrics.json"
    found = path.read_text()
    for key in ("seed", "solver", "draws", "reference_sha256"):
        changed = json.loads(found)
        changed[key] = "another"
        for cell in ("known", "novel"):
            changed[cell]["fid"]["draws"] = changed[cell]["fid"]["draws"][:-1]
        rewrite(path, changed)
        (table,) = summarise(settings, "a command")["tables"]
        assert all("value" not in ratio for ratio in table["ratios"]), key
        assert all(key in ratio["unlike"] for ratio in table["ratios"]), key
        assert f"none, since the two were not judged alike ({key})" in markdown(summarise(settings, "a command"))
        told = [warning for warning in table["warnings"] if warning.startswith(f"{key} differs between methods")]
        assert len(told) == (key != "reference_sha256"), key  # which differs from seed to seed
        told = [w for w in table["warnings"] if w.startswith("seed 0: real digits differ between rows (")]
        assert len(told) == (key == "reference_sha256"), table["warnings"]


def test_rows_over_different_trainings_are_told(settings: TableSettings, trained: Any) -> None:
    assert run(settings, "a command") == {}
    results = Entry("iid", "ddm_l", 0).results(settings.out)
    shutil.copytree(results, Entry("iid", "ddm_l", 1).results(settings.out))
    (table,) = summarise(replace(settings, seeds=(0, 1)), "a command")["tables"]
    assert [w for w in table["warnings"] if "different training seeds (ddm_l: 0, 1; dcfm_b: 0)" in w]
    assert all("value" in ratio for ratio in table["ratios"])  # of the one that both have


def test_shares_of_several_trainings_have_intervals_over_these(settings: TableSettings, trained: Any) -> None:
    assert run(settings, "a command") == {}
    rates = (0.87, 0.74)
    for seed, rate in enumerate(rates):
        folder = Entry("iid", "ddm_l", seed).results(settings.out)
        if seed:
            shutil.copytree(Entry("iid", "ddm_l", 0).results(settings.out), folder)
        changed = json.loads((folder / "metrics.json").read_text())
        cell = changed["novel"]
        cell["accuracy"]["both"] = share(round(2500 * rate), 2500)
        cell["precision"] = {"value": rate, "low": rate - 0.02, "high": rate + 0.02}
        rewrite(folder / "metrics.json", changed)
    one, two = (summarise(replace(settings, seeds=seeds), "a command")["tables"][0] for seeds in ((0,), (0, 1)))
    row = two["rows"][0]["novel"]
    for name, value in (("accuracy_both", "rate"), ("precision", "value")):
        assert row[name][value] == pytest.approx(sum(rates) / 2)
        assert row[name]["low"] < min(rates) < max(rates) < row[name]["high"]
        assert one["rows"][0]["novel"][name]["low"] > min(rates)
    assert row["accuracy_both"]["n"] == 5000


def test_the_interval_of_equal_shares_is_that_of_their_noise(tmp_path: Path) -> None:
    """Two trainings that agree: half of the draws take one of them twice, so the variance is 3/4 of one training's."""
    published = Path(__file__).parents[3] / "docs/results/images/quick"
    settings = TableSettings(("ddm_l",), ("noniid",), (0, 1), runs=tmp_path / "runs", out=tmp_path)
    for seed in (0, 1):
        folder = Entry("noniid", "ddm_l", seed).results(tmp_path)
        shutil.copytree(Entry("noniid", "ddm_l", 0).results(published), folder)
        changed = json.loads((folder / "metrics.json").read_text())
        changed["novel"]["precision"] = {"value": 0.5, "low": 0.4, "high": 0.6}
        changed["known"]["precision"] = {"value": 0.99, "low": 0.9, "high": 1.0}
        changed["known"]["recall"] = {"value": 0.01, "low": 0.0, "high": 0.1}
        write_json(folder / "metrics.json", changed)
        records.finish(folder / "record.json", {}, ["metrics.json"])
    row = summarise(settings, "a command")["tables"][0]["rows"][0]
    for end in ("low", "high"):
        assert abs(row["novel"]["precision"][end] - 0.5) == pytest.approx(0.1 * 0.75**0.5, rel=0.1)
    assert row["known"]["precision"]["high"] == 1.0
    assert row["known"]["recall"]["low"] == 0.0


def test_intervals_of_other_bootstrap_draws_are_told(settings: TableSettings, trained: Any) -> None:
    assert run(replace(settings, methods=("ddm_l", "dcfm_b")), "a command") == {}
    path = Entry("iid", "dcfm_b", 0).results(settings.out) / "metrics.json"
    older = json.loads(path.read_text())
    del older["bootstrap"]
    rewrite(path, older)
    (table,) = summarise(replace(settings, methods=("ddm_l", "dcfm_b")), "a command")["tables"]
    (told,) = (warning for warning in table["warnings"] if "bootstrap" in warning)
    assert "combinations vary in number: dcfm_b)" in told
    assert all(ratio["unlike"] == ["bootstrap"] for ratio in table["ratios"])


def test_data_that_a_private_training_does_not_tell_are_compared_by_what_they_leave(
    settings: TableSettings, trained: Any
) -> None:
    """One of two does not say what it was trained on; the reference that the same split leaves is the same."""
    settings = replace(settings, methods=("ddm_l", "dcfm_b"))
    assert run(settings, "a command") == {}
    path = Entry("iid", "dcfm_b", 0).results(settings.out) / "metrics.json"
    private = json.loads(path.read_text()) | {"data_sha256": None, "data": "folder elsewhere: digits"}
    rewrite(path, private)
    (table,) = summarise(settings, "a command")["tables"]
    assert all("value" in ratio for ratio in table["ratios"])
    rewrite(path, private | {"reference_sha256": "another"})
    (table,) = summarise(settings, "a command")["tables"]
    assert all(ratio["unlike"] == ["reference_sha256"] for ratio in table["ratios"])
