"""The table: who is tested against whom, what is said of what was not run, and files that read back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcfm.comparison import Entry
from dcfm_planner.comparison import report
from dcfm_planner.comparison.collate import collect
from dcfm_planner.comparison.paper import TABLE_2
from dcfm_planner.comparison.report import FILES, write_tables
from dcfm_planner.comparison.settings import ComparisonSettings
from dcfm_planner.comparison.summary import summarise
from dcfm_planner.comparison.text import COUNTING, SEVERAL, latex, markdown

PLANNER_KNOWN, PLANNER_NOVEL = ("planner", "known"), ("planner", "novel")


@pytest.fixture
def summary(settings: ComparisonSettings, write) -> dict[str, Any]:
    """DDM+L 3/12, DCFM-A 11/12, DCFM-B 12/12 on novel pairs; pooled trained on nothing yet."""
    for method, good in (("ddm_l", 3), ("dcfm_a", 11), ("dcfm_b", 12)):
        outcomes = {PLANNER_KNOWN: range(10), PLANNER_NOVEL: range(good), ("null", "novel"): range(2)}
        write(settings, Entry("noniid", method, 0), outcomes)
    return summarise(collect(settings), "python scripts/plan_table.py", {Entry("noniid", "pooled", 0): "no 100 % disk"})


def table(summary: dict[str, Any], protocol: str) -> dict[str, Any]:
    return next(t for t in summary["tables"] if t["protocol"] == protocol)


def rows(summary: dict[str, Any], protocol: str) -> dict[str, Any]:
    return {row["method"]: row for row in table(summary, protocol)["rows"]}


def test_rows(summary: dict[str, Any]) -> None:
    found = rows(summary, "paper")
    assert list(found) == ["ddm_l", "dcfm_a", "dcfm_b", "pooled"]
    assert found["pooled"] == {"method": "pooled", "paper": None, "run": False}
    assert found["dcfm_a"]["novel"]["k"] == 11
    assert found["dcfm_a"]["minus_pooled"] is None
    assert found["dcfm_a"]["known_minus_best"]["best"] == "ddm_l"  # all are equal: the first
    made = found["dcfm_a"]["made_with"]["0"]
    assert (made["sampling"], made["weights_sha256"], made["command"]) == ("joint", "a" * 64, "python made up")
    assert found["dcfm_a"]["by_training_seed"]["0"]["novel"]["k"] == 11


def test_ours_are_tested_against_decentralised_baselines_only(summary: dict[str, Any]) -> None:
    tests = table(summary, "paper")["tests"]
    compared = [(test["method"], test["baseline"], test["cell"]) for test in tests]
    assert compared == [(a, "ddm_l", cell) for cell in ("novel", "known") for a in ("dcfm_a", "dcfm_b")]
    novel = tests[0]
    assert (novel["first_only"], novel["second_only"]) == (8, 0)
    assert novel["p"] == pytest.approx(2 / 2**8)
    assert novel["p_holm"] == pytest.approx(3 * 2 / 2**8)  # second smallest of four
    assert tests[1]["p_holm"] == pytest.approx(4 * 2 / 2**9)
    assert tests[2]["p_holm"] == 1.0


def test_composition_is_right_minus_others_labels(summary: dict[str, Any]) -> None:
    assert table(summary, "paper")["composition"] == []
    found = next(
        entry
        for entry in table(summary, "given")["composition"]
        if (entry["method"], entry["cell"]) == ("dcfm_a", "novel")
    )
    assert found["labels"]["null"]["share"]["k"] == 2
    assert found["labels"]["null"]["right_minus"]["difference"] == pytest.approx(9 / 12)
    assert found["labels"]["wrong"]["right_minus"]["difference"] == pytest.approx(11 / 12)


def test_gap_to_the_ceiling(settings: ComparisonSettings, write) -> None:
    write(settings, Entry("noniid", "dcfm_b", 0), {PLANNER_NOVEL: range(6)})
    write(settings, Entry("noniid", "pooled", 0), {PLANNER_NOVEL: range(9), PLANNER_KNOWN: range(12)})
    summary = summarise(collect(settings), "")
    found = rows(summary, "paper")
    assert found["dcfm_b"]["minus_pooled"]["novel"]["difference"] == pytest.approx(-0.25)
    assert found["dcfm_b"]["known_minus_best"]["best"] == "pooled"
    assert found["dcfm_b"]["known_minus_best"]["difference"] == -1.0
    assert found["pooled"]["minus_pooled"] is None
    assert table(summary, "paper")["tests"] == []  # no decentralised baseline was run


def test_every_training_has_its_own_numbers(settings: ComparisonSettings, write) -> None:
    several = replace(settings, seeds=(0, 1))
    for seed, good in enumerate([4, 9]):
        write(several, Entry("noniid", "dcfm_b", seed), {PLANNER_NOVEL: range(good)})
    row = rows(summarise(collect(several), ""), "paper")["dcfm_b"]
    assert (row["novel"]["k"], row["novel"]["n"]) == (13, 24)
    assert {seed: found["novel"]["k"] for seed, found in row["by_training_seed"].items()} == {"0": 4, "1": 9}


def test_the_papers_values_stand_where_it_has_them(settings: ComparisonSettings, write) -> None:
    several = replace(settings, partitions=("noniid", "iid", "disjoint"))
    tables = summarise(collect(several), "")["tables"]
    printed = {(t["partition"], t["protocol"]): {r["method"]: r["paper"] for r in t["rows"]} for t in tables}
    assert set(TABLE_2) == {("noniid", "paper")}
    assert printed["noniid", "paper"]["dcfm_b"] == {"known": 0.6567, "novel": 0.5467}
    assert printed["noniid", "paper"]["pooled"] is None
    for key in (("noniid", "given"), ("iid", "paper"), ("iid", "given"), ("disjoint", "paper")):
        assert set(printed[key].values()) == {None}


def test_markdown(summary: dict[str, Any]) -> None:
    text = markdown(summary)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert any(line.startswith("| DCFM-B | 83.3 [55.2, 95.3] 10/12 | 100.0 [75.8, 100.0] 12/12 |") for line in lines)
    assert sum(line.startswith("| pooled | not run | not run |") for line in lines) == 2
    assert any("| 65.67 | 54.67 |" in line for line in lines)
    assert r"\< 0.001" not in text  # nothing is that certain here
    assert "- noniid, pooled, training seed 0: failed: no 100 % disk" in text
    assert COUNTING in text


def test_latex(summary: dict[str, Any]) -> None:
    text = latex(summary)
    for table_text in text.split(r"\begin{table}")[1:]:
        columns = len(table_text.split(r"\begin{tabular}{")[1].split("}")[0])
        body = [line for line in table_text.splitlines() if line.endswith(r"\\")]
        assert all(line.replace(r"\&", "").count("&") == columns - 1 for line in body)
        assert not any("%" in line.replace(r"\%", "") for line in table_text.splitlines())
    assert text.count(r"\begin{table}") == 5
    assert text.count("Wilson") == 0


def test_several_trainings_are_told(summary: dict[str, Any]) -> None:
    assert SEVERAL not in markdown(summary)
    assert SEVERAL in markdown(summary | {"training_seeds": [0, 1]})
    assert SEVERAL.replace("%", r"\%") in latex(summary | {"training_seeds": [0, 1]})


def test_unequal_trainings_are_told(settings: ComparisonSettings, write) -> None:
    write(settings, Entry("noniid", "dcfm_b", 0), {}, data_hash="one")
    write(settings, Entry("noniid", "ddm_l", 0), {}, data_hash="other")
    summary = summarise(collect(settings), "")
    (warning,) = summary["warnings"]
    assert warning == "noniid, training seed 0: not all were trained on the same data: ddm_l | dcfm_b"
    assert warning in markdown(summary)


def test_a_private_training_s_data_are_not_told_and_not_other_ones(settings: ComparisonSettings, write) -> None:
    write(settings, Entry("noniid", "dcfm_b", 0), {}, data_hash="one")
    write(settings, Entry("noniid", "ddm_l", 0), {}, data_hash=None)
    assert not summarise(collect(settings), "")["warnings"]


def test_files(summary: dict[str, Any], tmp_path: Path) -> None:
    write_tables(summary, tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(FILES)
    assert json.loads((tmp_path / "new" / "table.json").read_text()) == summary
    for name in ("bars.png", "maps.png"):
        assert (tmp_path / "new" / name).read_bytes()[:4] == b"\x89PNG"


def test_certain_success_is_drawn_also_from_tables_whose_interval_misses_it_by_rounding(
    summary: dict[str, Any], tmp_path: Path
) -> None:
    novel = rows(summary, "paper")["dcfm_b"]["novel"]
    assert (novel["rate"], novel["high"]) == (1.0, 1.0)
    novel["high"] -= 2.0**-52  # as tables of before say
    write_tables(summary, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "table.json").read_text()) == summary


def test_an_old_table_does_not_outlive_the_files_that_belong_to_it(
    summary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tables(summary, tmp_path)

    def draw(summary: dict[str, Any], path: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(report, "draw_maps", draw)
    with pytest.raises(OSError, match="no space"):
        write_tables(summary, tmp_path)
    assert (tmp_path / "table.md").exists()
    assert not (tmp_path / "table.json").exists()


def test_nothing_is_there(settings: ComparisonSettings, tmp_path: Path) -> None:
    summary = summarise(collect(settings), "")
    assert all(not row["run"] for t in summary["tables"] for row in t["rows"])
    write_tables(summary, tmp_path / "new")
    assert "not run" in (tmp_path / "new" / "table.md").read_text()
