"""Rows of different trainings: marked as such, with ratios over the trainings that both have; on published metrics."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcfm import artefacts, records
from dcfm.comparison import Entry
from dcfm.records import write_json
from dcfm_xray.table import TableSettings, collect, summarise
from dcfm_xray.text import EQUAL, latex, markdown, sets_table

PUBLISHED = Path(__file__).parents[2] / "docs/results/xray"
METHODS = ("ddm_l", "dcfm_a", "dcfm_b")
SETTINGS = TableSettings(METHODS, ("noniid",), (0, 1), train=False)


@pytest.fixture(scope="module")
def found() -> dict[Entry, dict[str, Any]]:
    """Of two trainings each, both evaluated in the same way."""
    entries = [Entry("noniid", method, seed) for method in METHODS for seed in (0, 1)]
    folders = {0: PUBLISHED / "quick", 1: PUBLISHED / "quick_seeds"}
    return {e: json.loads((e.results(folders[e.seed]) / "metrics.json").read_text()) for e in entries}


def test_a_row_of_fewer_trainings_is_marked(found: dict[Entry, dict[str, Any]]) -> None:
    some = {entry: metrics for entry, metrics in found.items() if entry != Entry("noniid", "dcfm_b", 0)}
    summary = summarise(SETTINGS, "test", some, {})
    (table,) = summary["tables"]
    seeds = {row["method"]: row["training_seeds"] for row in table["rows"]}
    assert seeds == {"ddm_l": [0, 1], "dcfm_a": [0, 1], "dcfm_b": [1], "real": []}
    assert table["warnings"] == [
        "the rows are means over different training seeds (ddm_l: 0, 1; dcfm_a: 0, 1; dcfm_b: 1); only equal ones "
        "compare"
    ]
    assert {ratio["method"]: ratio["training_seeds"] for ratio in table["ratios"]} == {"dcfm_a": [0, 1], "dcfm_b": [1]}
    alone = summarise(SETTINGS, "test", {e: m for e, m in found.items() if e.seed == 1}, {})["tables"][0]["ratios"]
    assert [r["value"] for r in table["ratios"] if r["method"] == "dcfm_b"] == [alone[1]["value"]]
    text = markdown(summary)
    assert "| DCFM-B (1 of 2 trainings) |" in text
    assert "| DCFM-A |" in text
    assert "(training seed 1 alone)" in text
    assert "- Warning: the rows are means over different training seeds" in text
    assert "DCFM-B (1 of 2 trainings)" in latex(summary)


def test_every_set_by_itself(found: dict[Entry, dict[str, Any]]) -> None:
    by_title = {f"title {i}": found[Entry("noniid", method, 0)] for i, method in enumerate(METHODS)}
    head, _, *rows = [line for line in sets_table(by_title).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["findings", "set", "test images", *by_title]
    assert len(cells) == len({row[0] for row in cells}) == 53
    assert [row[1] for row in cells] == sorted(row[1] for row in cells)
    utility = by_title["title 0"]["utility"]
    for group in ("known", "novel"):
        shares = [float(row[3].split()[0]) for row in cells if row[1] == group and row[3] != "-"]
        assert abs(sum(shares) / len(shares) / 100 - utility[group]["utility"]["value"]) < 0.005
    none = json.loads(json.dumps(by_title["title 0"]))
    none["utility"]["known"] = None
    none["utility"]["novel"]["by_set"][0]["recall"] = None
    assert "| 0 | - |" in sets_table({"title": none})


def test_equal_trainings_are_not_warned_of(found: dict[Entry, dict[str, Any]]) -> None:
    summary = summarise(SETTINGS, "test", found, {})
    assert summary["tables"][0]["warnings"] == []
    text = markdown(summary)
    assert "(training seed" not in text
    assert "of 2 trainings" not in text


def test_metrics_of_other_weights_than_the_model_at_hand_fail(
    found: dict[Entry, dict[str, Any]], tmp_path: Path
) -> None:
    entry, other = (Entry("noniid", method, 0) for method in ("dcfm_b", "ddm_l"))
    settings = TableSettings(("ddm_l", "dcfm_b"), runs=tmp_path, out=tmp_path / "out", train=False, evaluate=False)

    def give(which: Entry, **changes: str) -> None:
        folder = which.results(settings.out)
        write_json(folder / "metrics.json", found[which] | changes)
        records.finish(folder / "record.json", {}, ["metrics.json"])

    give(entry)
    give(other)
    failed: dict[str, str] = {}
    assert list(collect(settings, failed)) == [other, entry]  # no model is at hand
    model = entry.published(tmp_path)
    artefacts.save(model, {"weight": torch.zeros(2)}, {})
    assert list(collect(settings, failed)) == [other]
    assert list(failed) == [str(entry)]
    assert "of other weights than" in failed[str(entry)]
    assert "redo=true" in failed[str(entry)]
    give(entry, weights_sha256=artefacts.file_hash(model / artefacts.MODEL))
    failed.clear()
    assert list(collect(settings, failed)) == [other, entry]
    assert failed == {}


def test_precision_says_over_how_many_sets_it_is(found: dict[Entry, dict[str, Any]]) -> None:
    """A mean over other sets than another row's does not compare."""
    some = json.loads(json.dumps({str(entry): metrics for entry, metrics in found.items()}))
    for metrics in some.values():
        for group in metrics["utility"].values():
            group["sets_never_predicted"] = 0
    some["noniid/seed1/dcfm_b"]["utility"]["novel"]["sets_never_predicted"] = 3
    summary = summarise(SETTINGS, "test", {entry: some[str(entry)] for entry in found}, {})
    rows = {row["method"]: row["precision_sets"] for row in summary["tables"][0]["rows"]}
    sets = some["noniid/seed0/dcfm_b"]["utility"]["novel"]["sets"]
    assert rows["dcfm_b"] == {"known": None, "novel": f"{sets - 3} of {sets} sets", "all": None}
    assert rows["dcfm_a"]["novel"] is None
    assert markdown(summary).count(f"({sets - 3} of {sets} sets)") == 1


def test_data_that_a_private_training_does_not_tell_differ_from_none(found: dict[Entry, dict[str, Any]]) -> None:
    told = {entry: metrics | {"data_sha256": "a", "test_sha256": f"{entry.seed}"} for entry, metrics in found.items()}
    private = {e: m | {"data_sha256": None} if e.method == "dcfm_b" else m for e, m in told.items()}
    (table,) = summarise(SETTINGS, "test", private, {})["tables"]
    assert not table["warnings"]
    assert {ratio["method"] for ratio in table["ratios"]} == {"dcfm_a", "dcfm_b"}
    other = {e: m | {"test_sha256": "other"} if e.method == "dcfm_b" else m for e, m in private.items()}
    (table,) = summarise(SETTINGS, "test", other, {})["tables"]
    assert all("test pictures differ between rows" in warning for warning in table["warnings"])
    assert {ratio["method"] for ratio in table["ratios"]} == {"dcfm_a"}


def test_a_copy_needs_no_record_where_no_training_is(found: dict[Entry, dict[str, Any]], tmp_path: Path) -> None:
    entry = Entry("noniid", "dcfm_b", 0)
    folder = entry.results(tmp_path / "out")
    settings = TableSettings(("dcfm_b",), runs=tmp_path, out=tmp_path / "out", train=False, evaluate=False)
    write_json(folder / "metrics.json", found[entry])
    assert collect(settings, {}) == {entry: found[entry]}
    assert collect(replace(settings, evaluate=True), {}) == {}
    (folder / "pictures.npz").write_bytes(b"made")
    records.finish(folder / "record.json", {}, ["metrics.json", "pictures.npz"])
    (folder / "pictures.npz").unlink()  # of results that are copied the pictures are often left out
    assert collect(replace(settings, evaluate=True), {}) == {entry: found[entry]}
    (folder / "metrics.json").write_text("{")
    failed: dict[str, str] = {}
    assert collect(settings, failed) == {}
    assert "not the file that record.json was written for" in failed[str(entry)]
    (folder / "record.json").unlink()
    assert collect(settings, failed := {}) == {}
    assert f"{folder / 'metrics.json'} is damaged" in failed[str(entry)]
    write_json(folder / "metrics.json", found[entry])
    (tmp_path / "noniid/seed0/published").mkdir(parents=True)  # an evaluation of this training may have been cut off
    assert collect(settings, {}) == {}


def test_utility_at_equal_specificity_has_columns_and_a_ratio_where_it_was_measured(
    found: dict[Entry, dict[str, Any]],
) -> None:
    before = summarise(SETTINGS, "test", found, {})
    assert {ratio["measure"] for ratio in before["tables"][0]["ratios"]} == {"utility"}
    # As if every classifier's own thresholds had been those of equal specificity.
    now = {entry: metrics | {EQUAL: metrics["utility"]} for entry, metrics in found.items()}
    summary = summarise(SETTINGS, "test", now, {})
    (table,) = summary["tables"]
    for row in table["rows"][:3]:
        assert row[EQUAL] == row["utility"]
    values = [(r["method"], r["measure"], r["value"]) for r in table["ratios"]]
    assert [v[:2] for v in values] == [(m, k) for m in ("dcfm_a", "dcfm_b") for k in ("utility", EQUAL)]
    assert values[0][2] == values[1][2]
    own = [v for s in (0, 1) for v in found[Entry("noniid", "ddm_l", s)]["specificity_on_test"].values()]
    assert table["rows"][0]["specificity"] == f"{100 * sum(own) / 28:.1f} (least {100 * min(own):.0f})"
    text = markdown(summary)
    assert "| U novel at equal specificity | specificity |" in text
    assert "- Novel U at equal specificity of DCFM-B over that of DDM+L:" in text


def test_a_mean_is_over_all_trainings_of_its_row(found: dict[Entry, dict[str, Any]]) -> None:
    changed = json.loads(json.dumps(found[Entry("noniid", "dcfm_a", 1)]))
    changed["distances"]["novel"]["fid"] = None
    rows = summarise(SETTINGS, "test", found | {Entry("noniid", "dcfm_a", 1): changed}, {})["tables"][0]["rows"]
    assert [row["fid"]["novel"] is None for row in rows[:3]] == [False, True, False]


def test_real_pictures_judged_otherwise_are_warned_of(found: dict[Entry, dict[str, Any]]) -> None:
    """By the settings that their classifier depends on, and by its hash; metrics of before say nothing of either."""
    real, row = Entry("noniid", "real", 0), Entry("noniid", "dcfm_b", 0)
    settings = TableSettings(("dcfm_b",), ("noniid",), (0,), train=False)
    metrics = json.loads((PUBLISHED / "quick/noniid/seed0/real/metrics.json").read_text())

    def warnings(**changes: Any) -> list[str]:
        both = {row: found[row], real: metrics | changes}
        return summarise(settings, "test", both, {})["tables"][0]["warnings"]

    assert warnings() == []
    mine = found[row]
    like = {"classifier_sha256": mine["judge_sha256"], "size": 64, "settings": {"each": mine["settings"]["each"]}}
    assert warnings(**like) == []
    assert warnings(**like | {"settings": {"each": 7}}) == [
        "each differs between rows: 40 (dcfm_b); 7 (real); they cannot be compared"
    ]
    assert warnings(**like | {"classifier_sha256": "another"}) == [
        "the row of real pictures is of another classifier than the one that judged dcfm_b, seed 0; they do not compare"
    ]


@pytest.mark.parametrize("name", ["test_sha256", "judge_sha256", "data_sha256"])
def test_rows_that_were_judged_otherwise_have_a_warning_and_no_ratio(
    found: dict[Entry, dict[str, Any]], name: str
) -> None:
    settings = TableSettings(METHODS, ("noniid",), (0,), train=False)
    there = {key: metrics | {name: "one"} for key, metrics in found.items() if key.seed == 0}
    other = Entry("noniid", "dcfm_b", 0)
    assert not [w for w in summarise(settings, "test", there, {})["tables"][0]["warnings"] if w.startswith("seed 0")]
    (table,) = summarise(settings, "test", there | {other: there[other] | {name: "another"}}, {})["tables"]
    assert {ratio["method"] for ratio in table["ratios"]} == {"dcfm_a"}
    (line,) = [line for line in table["warnings"] if line.startswith("seed 0")]
    assert "differ between rows" in line
    assert "dcfm_b); they cannot be compared" in line


def test_a_ratio_that_a_draw_does_not_give_is_said_to_be_missing(found: dict[Entry, dict[str, Any]]) -> None:
    entry = Entry("noniid", "dcfm_b", 0)
    changed = json.loads(json.dumps(found[entry]))
    changed["utility"]["novel"]["utility"]["draws"][3] = 0.0
    settings = TableSettings(METHODS, ("noniid",), (0,), train=False)
    there = {key: metrics for key, metrics in found.items() if key.seed == 0}
    summary = summarise(settings, "test", there | {entry: changed}, {})
    assert [ratio["method"] for ratio in summary["tables"][0]["ratios"]] == ["dcfm_a"]
    line = "- No ratio of DCFM-B's novel U to that of DDM+L: one of them is 0 in a draw of the bootstrap\n"
    assert line in markdown(summary)
    assert "- No ratio" not in markdown(summarise(settings, "test", there, {}))


def test_data_that_name_no_patients_are_said_to(found: dict[Entry, dict[str, Any]]) -> None:
    none = {entry: metrics | {"test_patients": None} for entry, metrics in found.items()}
    for metrics, times in ((found, 0), (none, 1)):
        summary = summarise(SETTINGS, "test", metrics, {})
        assert [text.count("intervals are over images") for text in (markdown(summary), latex(summary))] == [times] * 2
