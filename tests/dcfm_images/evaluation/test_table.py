"""The table: what is missing is done, what was done is left, what fails fails alone."""

import importlib.util
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcfm import artefacts, records
from dcfm.comparison import ComparisonError, Entry
from dcfm.methods import registry
from dcfm_images.evaluation_settings import EvaluationError
from dcfm_images.features import FeatureSpace
from dcfm_images.matrices import kept_at
from dcfm_images.paper import BASELINES, TABLE_1, printed
from dcfm_images.reader import LoadedReader
from dcfm_images.report import FILES, write_table
from dcfm_images.summary import summarise
from dcfm_images.table import run, training_config
from dcfm_images.table_settings import REAL, TableSettings
from dcfm_images.text import latex, markdown
from tests.dcfm_images.evaluation.conftest import rewrite


def test_done_collected_and_drawn(settings: TableSettings, trained: Any) -> None:
    (trained.root / "combinations.json").write_text(json.dumps(trained.problem.matrix()))
    assert run(settings, "a command") == {}
    summary = summarise(settings, "a command")
    (table,) = summary["tables"]
    rows = {row["method"]: row for row in table["rows"]}
    assert [row["run"] for row in table["rows"]] == [True, False, True, True]
    assert rows[REAL]["novel"]["n"] == 200
    assert table["best_baseline"] == {"known": "ddm_l", "novel": "ddm_l"}
    (known, novel) = table["ratios"]
    expected = rows["dcfm_b"]["novel"]["fid"]["value"] / rows["ddm_l"]["novel"]["fid"]["value"]
    assert (known["cell"], novel["cell"], novel["baseline"]) == ("known", "novel", "ddm_l")
    assert novel["value"] == pytest.approx(expected)
    assert novel["low"] <= novel["value"] <= novel["high"]

    page = markdown(summary)
    assert "| DFD | not run | not run |" in page
    assert "cannot be compared with ours in absolute value" in page
    assert "16.38" in page  # the paper's DDM+L
    assert r"\begin{tabular}" in latex(summary)
    written = write_table(settings, summary)
    assert set(FILES) | {"combinations-iid-seed0.png", "grid-iid-seed0.png", "curve-iid-seed0.png"} == set(written)
    assert all((settings.out / name).stat().st_size > 100 for name in written)
    assert json.loads((settings.out / "table.json").read_text())["tables"][0]["rows"][0]["method"] == "ddm_l"

    told: list[str] = []
    assert run(settings, "a command", lambda what, *_: told.append(what)) == {}
    assert not told  # nothing was done twice


def test_at_most_so_many_entries_are_worked_on_each_time(settings: TableSettings) -> None:
    one = replace(settings, max_entries=1)
    done: list[set[str]] = []
    for _ in range(3):
        assert run(one, "a command") == {}
        done.append({path.parent.name for path in settings.out.rglob("metrics.json")} - {REAL})
    assert done == [{"ddm_l"}, {"ddm_l", "dcfm_b"}, {"ddm_l", "dcfm_b"}]


def test_what_fails_fails_alone(settings: TableSettings, trained: Any) -> None:
    (trained.root / "published" / "ddm_l" / "model.safetensors").write_bytes(b"damaged")
    failed = run(settings, "a command")
    assert list(failed) == ["iid/seed0/ddm_l", "iid/seed0/real"]  # the control asks the first trained model for silos
    summary = summarise(settings, "a command", failed)
    assert [row["run"] for row in summary["tables"][0]["rows"]] == [False, False, True, False]
    assert summary["tables"][0]["ratios"] == []
    assert "Failed: iid/seed0/ddm\\_l" in markdown(summary) or "Failed: iid/seed0/ddm_l" in markdown(summary)


def test_nothing_run(settings: TableSettings, tmp_path: Path) -> None:
    empty = replace(settings, runs=tmp_path / "none", out=tmp_path / "other")
    assert run(empty, "a command") == {}
    summary = summarise(empty, "a command")
    assert not any(row["run"] for row in summary["tables"][0]["rows"])
    assert set(write_table(empty, summary)) == set(FILES)


@pytest.mark.parametrize("method", ["pooled", "dcfm_b_r"])
def test_the_ceiling_and_what_the_paper_lacks_have_a_ratio_too(
    method: str, settings: TableSettings, trained: Any
) -> None:
    trained.publish(method)
    settings = replace(settings, methods=("ddm_l", method), evaluation=replace(settings.evaluation, curve=()))
    assert run(settings, "a command") == {}
    summary = summarise(settings, "a command")
    (known, novel) = summary["tables"][0]["ratios"]
    assert [found["method"] for found in (known, novel)] == [method, method]
    assert summary["tables"][0]["best_baseline"]["novel"] == "ddm_l"
    rows = {row["method"]: row for row in summary["tables"][0]["rows"]}
    expected = rows[method]["novel"]["fid"]["value"] / rows["ddm_l"]["novel"]["fid"]["value"]
    assert novel["value"] == pytest.approx(expected)
    assert f"FID of {registry.make(method).title} on novel combinations over that of DDM+L" in markdown(summary)


def test_metrics_of_other_weights_than_the_trained_model_s_are_no_row(tmp_path: Path) -> None:
    """On published results; where the weights are not at hand, they are taken."""
    published = Path(__file__).parents[3] / "docs/results/images/quick"
    settings = TableSettings(("ddm_l", "dcfm_b"), ("noniid",), runs=tmp_path / "runs", out=tmp_path / "out")
    for method in ("ddm_l", "dcfm_b"):
        entry = Entry("noniid", method, 0)
        shutil.copytree(entry.results(published), entry.results(settings.out))
    before = summarise(settings, "a command")
    assert before["failed"] == {}
    other = Entry("noniid", "dcfm_b", 0)
    artefacts.save(other.published(settings.runs), {"weight": torch.zeros(2)}, {})
    after = summarise(settings, "a command")
    assert list(after["failed"]) == [str(other)]
    assert "its metrics are of other weights than" in after["failed"][str(other)]
    assert "redo=true" in after["failed"][str(other)]
    rows = [{row["method"]: row for row in found["tables"][0]["rows"]} for found in (before, after)]
    assert [row["dcfm_b"]["run"] for row in rows] == [True, False]
    assert rows[0]["ddm_l"] == rows[1]["ddm_l"]


def test_the_control_s_features_are_taken_on_the_device_given(
    settings: TableSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces: list[tuple[Any, ...]] = []

    def space(name: str, reader: LoadedReader, device: torch.device | str = "cpu") -> FeatureSpace:
        spaces.append((name, {p.device.type for p in reader.reader.parameters()}, device))
        raise EvaluationError("seen")

    monkeypatch.setattr("dcfm_images.table.evaluate", lambda *_, **__: {})
    monkeypatch.setattr("dcfm_images.control.feature_space", space)
    assert run(replace(settings, device="meta"), "a command") == {"iid/seed0/real": "seen"}
    assert spaces == [("digits", {"meta"}, torch.device("meta"))]


def test_the_control_is_made_by_one_process_at_a_time(
    settings: TableSettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(settings, methods=("dcfm_b",), evaluation=replace(settings.evaluation, curve=()))
    out = Entry("iid", REAL, 0).results(settings.out)
    with ThreadPoolExecutor(1) as pool:
        with records.alone_in(out):
            waiting = pool.submit(run, settings, "a command")
            while not any("waiting for it" in r.getMessage() for r in caplog.records) and not waiting.done():
                time.sleep(0.01)
            assert not (out / "metrics.json").exists()
            assert not waiting.done()
        assert waiting.result() == {}
    assert (out / "metrics.json").is_file()


def test_where_digits_lay_changes_nothing(settings: TableSettings) -> None:
    settings = replace(settings, methods=("ddm_l", "dcfm_b"))
    assert run(settings, "a command") == {}
    for method, data in (("ddm_l", "folder a: 60 digits"), ("dcfm_b", "folder b/c: 60 digits"), (REAL, "60 digits")):
        path = Entry("iid", method, 0).results(settings.out) / "metrics.json"
        rewrite(path, json.loads(path.read_text()) | {"data": data})
    (table,) = summarise(settings, "a command")["tables"]
    assert all("value" in ratio for ratio in table["ratios"])
    assert table["warnings"] == []
    rewrite(path, json.loads(path.read_text()) | {"data": "a mirror: 60 digits"})  # the same ones, as the hashes say
    assert summarise(settings, "a command")["tables"][0]["warnings"] == []
    rewrite(path, json.loads(path.read_text()) | {"data": "folder a: 61 digits", "reference_sha256": "other"})
    first, second = summarise(settings, "a command")["tables"][0]["warnings"]
    assert "seed 0: real digits differ between rows" in first
    assert "data differs between methods" in second


def test_damaged_results_are_no_row(settings: TableSettings, tmp_path: Path) -> None:
    """Whatever else they say; and those of other settings than asked for."""
    settings = replace(settings, methods=("ddm_l", "dcfm_b"))
    assert run(settings, "a command") == {}
    path = Entry("iid", "dcfm_b", 0).results(settings.out) / "metrics.json"
    whole = path.read_text()
    better = json.loads(whole)
    better["novel"]["fid"]["value"] = 0.01
    for text in (json.dumps(better), whole[:2000], ""):
        path.write_text(text)
        summary = summarise(settings, "a command")
        assert [row["run"] for row in summary["tables"][0]["rows"]] == [True, False, True]
        assert summary["tables"][0]["ratios"] == []
        assert "metrics.json is missing or not the file" in summary["failed"]["iid/seed0/dcfm_b"]
        write_table(settings, summary)
    path.write_text(whole)
    (path.parent / "pictures.npz").unlink()  # as in a copy that leaves them out
    assert summarise(settings, "a command")["failed"] == {}
    other = replace(settings, evaluation=replace(settings.evaluation, each=3))
    summary = summarise(other, "a command", run(other, "a command"))
    assert not any(row["run"] for row in summary["tables"][0]["rows"])


def test_trainings_take_the_table_s_digits(settings: TableSettings, tmp_path: Path) -> None:
    entry = Entry("iid", "dfd", 0)
    asked = replace(settings, training=("preset=quick",), digits="folder", folder=tmp_path / "${a},[b]")
    config = training_config(asked, entry)
    assert (config.digits, config.folder) == ("folder", str(tmp_path / "${a},[b]"))
    asked = replace(asked, training=("preset=quick", "digits=embedded"), methods=("dfd",), train=True)
    with pytest.raises(ValueError, match=r"digits=folder, but training=\[digits=embedded\]; give it once, as digits="):
        run(replace(asked, runs=tmp_path / "runs"), "a command")
    asked = replace(asked, training=("preset=quick",), digits="nonsense", runs=tmp_path / "runs")
    with pytest.raises(ValueError, match="digits='nonsense'"):
        run(asked, "a command")
    assert not settings.out.exists()


def test_figures_show_what_the_table_does(settings: TableSettings, trained: Any) -> None:
    """Not what an evaluation that was begun anew has not made yet; and none of an earlier table stays."""
    (trained.root / "combinations.json").write_text(json.dumps(trained.problem.matrix()))
    settings = replace(settings, methods=("dcfm_b",))
    assert run(settings, "a command") == {}
    assert "curve-iid-seed0.png" in write_table(settings, summarise(settings, "a command"))
    records.begin(Entry("iid", "dcfm_b", 0).results(settings.out) / "record.json")
    written = write_table(settings, summarise(settings, "a command"))
    assert "curve-iid-seed0.png" not in written
    assert not (settings.out / "curve-iid-seed0.png").exists()


def test_trained_otherwise_than_asked_for_is_an_error_before_any_work(settings: TableSettings, trained: Any) -> None:
    now = replace(settings, train=True, training=("preset=quick", "silos=4"))
    with pytest.raises(
        ComparisonError, match=r"iid/seed0/ddm_l was trained with other settings \(silos: 2 there, 4 now"
    ):
        run(now, "a command")
    assert not settings.out.exists()
    assert not (trained.root / "published" / "dfd").exists()
    same = replace(now, training=("preset=quick", "silos=2"), methods=("ddm_l", "dcfm_b"))
    assert run(same, "a command") == {}


def test_what_only_a_later_training_cannot_have_is_an_error_before_the_first(settings: TableSettings) -> None:
    asked = replace(settings, methods=("dfd",), partitions=("iid", "noniid"), train=True, runs=settings.out / "runs")
    with pytest.raises(ValueError, match=r"alpha = -1\.0"):  # of noniid alone
        run(replace(asked, training=("preset=quick", "digits=embedded", "alpha=-1")), "a command")
    assert not settings.out.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"each": 200}, "each=200 pictures of a combination"),
        ({"selection_each": 200, "rules": ("full", "composed")}, "selection_each=200 pictures of a combination"),
        ({"features": "imagenet"}, "200 pictures in the feature space imagenet cannot estimate"),
        ({"snapshots": 1}, "these keep none; give 'training="),
        pytest.param(
            {"features": "inception", "each": 50, "curve_each": 50},
            "torch_fidelity, which is not installed",
            marks=pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="it is installed"),
        ),
    ],
)
def test_an_evaluation_that_cannot_be_is_an_error_before_the_first_training(
    settings: TableSettings, changes: dict[str, Any], message: str
) -> None:
    evaluation = replace(settings.evaluation, **changes)
    asked = replace(settings, methods=("dfd",), train=True, runs=settings.out / "runs", evaluation=evaluation)
    asked = replace(asked, training=("preset=quick", "digits=embedded"))
    with pytest.raises(ValueError, match=message):
        run(asked, "a command")
    assert not settings.out.exists()


@pytest.mark.parametrize("before", [False, True])
def test_figures_show_the_silos_of_the_results(settings: TableSettings, trained: Any, before: bool) -> None:
    """Not those that the same folder was trained with since; also of results that have a kept copy alone."""
    settings = replace(settings, methods=("dcfm_b",))
    matrix = trained.problem.matrix()
    there = trained.root / "combinations.json"
    there.write_text(json.dumps(matrix))
    assert run(settings, "a command") == {}
    kept = kept_at(settings, "iid", 0)
    write_table(settings, summarise(settings, "a command"))
    assert json.loads(kept.read_text()) == matrix
    if before:
        (settings.out / "iid" / "seed0" / "dcfm_b" / "combinations.json").unlink()
    grid = (settings.out / "grid-iid-seed0.png").read_bytes()

    there.write_text(json.dumps(matrix | {"novel": matrix["known"][:20], "known": matrix["novel"]}))
    summary = summarise(settings, "a command")
    (warning,) = summary["tables"][0]["warnings"]
    assert "those trained now are others" in warning
    assert f"Warning: {warning}" in markdown(summary)
    write_table(settings, summary)
    assert json.loads(kept.read_text()) == matrix
    assert (settings.out / "grid-iid-seed0.png").read_bytes() == grid

    kept.write_text("[]")
    with pytest.raises(EvaluationError, match=r"combinations\.json is damaged .*remove it"):
        summarise(settings, "a command")


def test_the_paper_s_ratios() -> None:
    """0.70 and 0.51 to 0.53 of the best baseline, as the text says."""
    iid, noniid = (printed(partition, "dcfm_a") for partition in ("iid", "noniid"))
    assert iid is not None
    assert noniid is not None
    assert round(iid["novel_ratio"], 2) == 0.70
    assert 0.5 < noniid["novel_ratio"] < 0.55
    assert printed("disjoint", "ddm") is None
    assert printed("iid", "pooled") is None
    for rows in TABLE_1.values():
        assert set(rows) == {*BASELINES, "dcfm_a", "dcfm_b"}


def test_a_training_takes_the_overrides(settings: TableSettings) -> None:
    config = training_config(replace(settings, training=("preset=quick", "silos=4")), Entry("iid", "dfd", 2))
    assert (config.silos, config.seed, config.partition, list(config.methods)) == (4, 2, "iid", ["dfd"])
    with pytest.raises(ComparisonError, match=r"does not fit configs/images/train\.yaml"):
        training_config(replace(settings, training=("no_such_key=1",)), Entry("iid", "dfd", 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ()}, "give at least one"),
        ({"methods": ("ddm", "ddm")}, "each once"),
        ({"methods": ("gan",)}, "unknown methods 'gan'"),
        ({"partitions": ("odd",)}, "unknown partitions"),
        ({"seeds": (-1,)}, "0 or more"),
        ({"max_entries": 0}, "at least 1"),
        ({"device": "abacus"}, "use auto or cpu"),
    ],
)
def test_impossible_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TableSettings(**{"methods": ("ddm",), **changes})
