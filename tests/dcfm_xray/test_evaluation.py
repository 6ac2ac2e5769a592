"""A model is trained, evaluated and put into the table; what is done is not done again, and known sets alone choose."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from dcfm import records
from dcfm.artefacts import load_tensors
from dcfm.attributes import is_among
from dcfm.comparison import ComparisonError, Entry
from dcfm.methods.sampling import CANDIDATES
from dcfm.records import RecordError, write_json
from dcfm.seeds import hashed
from dcfm.trainers.loop import LoopConfig
from dcfm_xray import table
from dcfm_xray.classifier import ClassifierConfig, features, load_classifier, logits, thresholds_at
from dcfm_xray.distances import distances
from dcfm_xray.evaluation import Evaluation, evaluate
from dcfm_xray.evaluation_settings import EvaluationSettings
from dcfm_xray.figures import rare_sets
from dcfm_xray.figures import read_pictures as read_kept
from dcfm_xray.findings import describe, label_table, to_set
from dcfm_xray.lineage import problem_of
from dcfm_xray.models import load
from dcfm_xray.problem import WARNING, Pictures, Problem, feasible_sets, read_once, read_pictures
from dcfm_xray.real import balanced_rows, groups_of, judged, real_classifier
from dcfm_xray.sources import PhantomSource
from dcfm_xray.synthesis import add_grain, residual_grain, synthesise
from dcfm_xray.table import TableSettings, make_table
from dcfm_xray.training import train
from tests.dcfm_xray.conftest import SMALL

SETTINGS = EvaluationSettings(
    each=4,
    held_out=0.25,
    selection_each=2,
    evaluations=2,
    draws=5,
    batch=64,
    classifier=ClassifierConfig(width=8, loop=LoopConfig(steps=2, batch=8, warmup=1)),
)


class Nameless(PhantomSource):
    """Phantoms without the names of their patients."""

    @property
    def knows_patients(self) -> bool:
        return False


@pytest.fixture(scope="module")
def runs(configuration: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train(configuration(f"out={folder}/iid/seed0", "methods=[dcfm_b]"))
    return folder


def test_evaluate_resumes_and_refuses_other_settings(runs: Path, tmp_path: Path) -> None:
    model, out = runs / "iid" / "seed0" / "published" / "dcfm_b", tmp_path / "out"
    found = evaluate(model, out, SETTINGS, command="test", device="cpu")
    assert found["warning"] == WARNING
    assert found["synthetic_images"] == 54 * 3
    assert found["held_out_synthetic_images"] == 54
    groups = found["utility"]
    assert groups["known"]["sets"] + groups["novel"]["sets"] == groups["all"]["sets"] == 53
    assert groups["novel"]["sets"] >= 16  # ten pairs and six triples
    assert 0 <= groups["all"]["utility"]["value"] <= 1
    chosen = json.loads((out / "selection.json").read_text())
    assert set(chosen["tried"]) == {"full", "full, w = 1.5", "full, w = 2", "composed, w = 1", "composed, w = 1.5"}
    novel = groups_of(torch.tensor(chosen["scored_combinations"]))["novel"]
    assert len(novel) == groups["novel"]["sets"]  # no novel set was scored
    assert set(rare_sets()) <= set(read_kept(out / "pictures.npz"))
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert evaluate(model, out, SETTINGS, command="again", device="cpu") == found
    assert stamps == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    with pytest.raises(RecordError, match="evaluations"):
        evaluate(model, out, replace(SETTINGS, evaluations=4), command="test", device="cpu")
    # With redo everything is made again, the real classifier and its metrics too, which other seeds and draws change.
    real = shutil.copytree(model.parent.parent / "real", tmp_path / "real")
    other = replace(SETTINGS, seed=2, draws=6, rules=("joint",))
    with pytest.raises(RecordError, match="redo=true"):
        evaluate(model, out, other, command="test", device="cpu", real=real)
    again = evaluate(model, out, other, command="test", device="cpu", real=real, redo=True)
    assert again["settings"]["seed"] == 2
    assert again["judge_sha256"] != found["judge_sha256"]
    assert len(json.loads((real / "metrics.json").read_text())["utility"]["all"]["utility"]["draws"]) == 6
    assert evaluate(model, out, other, command="test", device="cpu", real=real) == again


def test_metrics_follow_from_what_is_kept(runs: Path, tmp_path: Path) -> None:
    """Judged again by hand: by the classifier of real pictures, on test patients, thresholds from the last pictures."""
    folder = runs / "iid" / "seed0" / "published" / "dcfm_b"
    way, model = "full, w = 1.5", load(folder, "cpu")
    found = evaluate(folder, tmp_path, replace(SETTINGS, rules=(way,)), command="test", device="cpu")
    assert found["sampling_chosen"] == way
    assert not (tmp_path / "selection.json").exists()
    problem, tensors = problem_of(model, folder), load_tensors(tmp_path / "synthetic.safetensors")
    made = Pictures(tensors["images"], tensors["labels"], torch.arange(len(tensors["labels"])))
    judge = load_classifier(folder.parent.parent / "real/classifier")
    own, test, sets = load_classifier(tmp_path / "classifier"), problem.test(), groups_of(problem.known)
    x, y = (features(judge.network, pictures.images) for pictures in (made, test))
    expected = {name: distances(made, x, test, y, group, draws=5) for name, group in sets.items()}
    expected = {"distances": expected, **judged(own, test, sets, SETTINGS)}
    assert {name: found[name] for name in expected} == expected
    held = torch.arange(len(made)) % 4 == 3
    assert torch.equal(own.thresholds, thresholds_at(logits(own.network, made.images[held]), made.labels[held], 0.9))
    assert torch.equal(made.labels, feasible_sets().repeat_interleave(4, dim=0))
    grain = json.loads((folder.parent.parent / "real/metrics.json").read_text())["grain"]
    field, sets = model.sampled(CANDIDATES[way]), feasible_sets()
    again = synthesise(field, problem.codec, sets, 4, SETTINGS, seed=0, device=model.device, grain=grain)
    assert torch.equal(made.images, again.images)
    kept = read_kept(tmp_path / "pictures.npz")
    for i, label in enumerate(feasible_sets().tolist()):
        assert np.array_equal(kept[describe(to_set(label))], made.images[4 * i : 4 * i + 4].numpy())


def test_evaluations_are_those_that_were_used(runs: Path, tmp_path: Path) -> None:
    """Of an odd number the midpoint rule uses one less."""
    settings = replace(SETTINGS, rules=("joint",), evaluations=3)
    found = evaluate(runs / "iid/seed0/published/dcfm_b", tmp_path / "out", settings, command="test", device="cpu")
    assert (found["evaluations"], found["settings"]["evaluations"]) == (2, 3)


def test_what_is_evaluated_is_not_decoded_again(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, settings = runs / "iid" / "seed0" / "published" / "dcfm_b", replace(SETTINGS, rules=("joint",))
    found = evaluate(model, tmp_path / "out", settings, command="test", device="cpu")
    decoded: list[int] = []
    monkeypatch.setattr(PhantomSource, "read", lambda self, rows, size: decoded.extend(rows))
    assert evaluate(model, tmp_path / "out", settings, command="test", device="cpu") == found
    assert not decoded


def test_the_last_two_readings_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the pictures of its own source, rows and size."""
    one, other, few, more = PhantomSource(9, 1), PhantomSource(9, 2), torch.arange(3), torch.arange(5)
    decoded: list[tuple[int, int]] = []
    read = PhantomSource.read

    def counted(self: PhantomSource, rows: Sequence[int], size: int) -> Any:
        decoded.append((len(rows), size))
        return read(self, rows, size)

    monkeypatch.setattr(PhantomSource, "read", counted)
    for asked in ((one, few, 32), (one, more, 32), (one, few, 32), (other, few, 32), (one, few, 32), (one, few, 40)):
        found = read_once(*asked)
        before = len(decoded)
        assert torch.equal(found.pictures.images, read_pictures(*asked).pictures.images)
        del decoded[before:]
    assert decoded == [(3, 32), (5, 32), (3, 32), (3, 40)]
    read_once(one, more, 32)  # the oldest made room
    assert len(decoded) == 5


def test_other_test_pictures_are_other_results(runs: Path, tmp_path: Path) -> None:
    """They are refused or, with ``redo``, judged again; so is a record of before test pictures were in it. What does
    not depend on them stays."""
    folder, out = runs / "iid" / "seed0" / "published" / "dcfm_b", tmp_path / "out"
    settings = replace(SETTINGS, rules=("joint",))
    first = evaluate(folder, out, settings, command="test", device="cpu")
    synthetic = (out / "synthetic.safetensors").stat().st_mtime_ns
    model = load(folder, "cpu")
    problem = problem_of(model, folder)
    judge, ceiling = real_classifier(problem, settings, folder.parent.parent / "real", command="test")
    # Its metrics say what it is of; pictures held out for thresholds are none of its training's.
    assert ceiling["classifier_sha256"] == first["judge_sha256"]
    assert ceiling["size"] == first["size"]
    assert ceiling["settings"].items() <= first["settings"].items()
    source, generator = problem.source, torch.Generator().manual_seed(settings.seed)
    rows, held = balanced_rows(source.labels, source.patients, problem.training(), feasible_sets(), settings, generator)
    assert ceiling["held_out_images"] == int(held.sum())
    assert ceiling["distinct_training_images"] == len(rows[~held].unique()) < len(rows.unique())
    assert first["test_patients"] == len(problem.test().patients.unique())
    nameless = Nameless(len(source.labels))
    assert nameless.fingerprint == source.fingerprint
    fewer = replace(problem, source=nameless, split=replace(problem.split, test=problem.split.test[:-20]))

    def again(problem: Problem, redo: bool) -> dict[str, Any]:
        return Evaluation(model, problem, judge, out, settings, "test", float(ceiling["grain"]), redo).run()

    assert again(problem, False) == first
    with pytest.raises(RecordError, match=r"test_sha256.*redo=true"):
        again(fewer, False)
    second = again(fewer, True)
    assert second["test_images"] == first["test_images"] - 20
    assert second["test_patients"] is None
    record = json.loads((out / "record.json").read_text())
    del record["asked"]["test_sha256"]
    write_json(out / "record.json", record)
    with pytest.raises(RecordError, match=r"test_sha256: None there.*redo=true"):
        again(fewer, False)
    assert (out / "synthetic.safetensors").stat().st_mtime_ns == synthetic


def test_grain_is_what_the_autoencoder_takes_away(generator: torch.Generator) -> None:
    """Of an autoencoder that keeps nothing but a constant, the residual is the pictures' own spread; putting it back
    gives pictures of that spread, whole grey levels, the same for the same seed."""

    class Constant:
        size, shape, fingerprint = 32, (1, 1, 1), "constant"

        def encode(self, pictures: Tensor) -> Tensor:
            return torch.zeros(len(pictures), 1, 1, 1)

        def decode(self, latents: Tensor) -> Tensor:
            return torch.full((len(latents), 32, 32), 128, dtype=torch.uint8)

    codec = Constant()
    pictures = (128 + 6 * torch.randn(300, 32, 32, generator=generator)).round().to(torch.uint8)
    grain = residual_grain(codec, pictures)
    assert grain == pytest.approx(6.0, abs=0.05)
    plain = codec.decode(torch.zeros(300, 1, 1, 1))
    found = add_grain(plain, grain, seed=3)
    assert found.float().std() == pytest.approx(grain, abs=0.05)
    assert found.float().mean() == pytest.approx(128, abs=0.1)
    assert torch.equal(found, add_grain(plain, grain, seed=3))
    assert torch.equal(add_grain(plain, 0.0, seed=3), plain)


def test_the_table_takes_what_is_there(runs: Path, tmp_path: Path) -> None:
    settings = TableSettings(
        ("ddm_l", "dcfm_b"),
        ("iid",),
        runs=runs,
        out=tmp_path,
        train=False,
        evaluation=replace(SETTINGS, rules=("joint",)),
        device="cpu",
    )
    summary = make_table(settings, "test")
    assert summary["failed"] == {}
    rows = {row["method"]: row for row in summary["tables"][0]["rows"]}
    assert [row["run"] for row in rows.values()] == [False, True, True]  # the last: real pictures
    text = (tmp_path / "table.md").read_text()
    assert WARNING in text
    assert "not run" in text
    assert (tmp_path / "table.tex").is_file()
    assert (tmp_path / "bars-iid.png").stat().st_size > 1000
    assert (tmp_path / "grid-iid-seed0.png").stat().st_size > 1000
    first, second = (Entry("iid", "dcfm_b", seed).results(tmp_path) for seed in (0, 1))
    shutil.copytree(first, second)
    metrics = json.loads((second / "metrics.json").read_text()) | {"data": "other radiographs"}
    (second / "metrics.json").write_text(json.dumps(metrics))
    records.finish(second / "record.json", {}, ["metrics.json"])
    both = make_table(replace(settings, seeds=(0, 1), evaluate=False), "test")["tables"][0]
    assert both["data"] == f"{summary['tables'][0]['data']}; other radiographs"
    assert {row["method"]: row["trainings"] for row in both["rows"]}["dcfm_b"] == 2
    assert both["warnings"] == [
        "the rows are means over different training seeds (dcfm_b: 0, 1; real: 0); only equal ones compare"
    ]

    # Judged otherwise: the table says so, and takes no ratio.
    third = Entry("iid", "ddm_l", 0).results(tmp_path)
    write_json(third / "metrics.json", json.loads((first / "metrics.json").read_text()))
    records.finish(third / "record.json", {}, ["metrics.json"])
    like = make_table(replace(settings, evaluate=False), "test")["tables"][0]
    assert like["warnings"] == []
    metrics = json.loads((third / "metrics.json").read_text())
    metrics["settings"]["classifier"]["loop"]["steps"] = 7
    write_json(third / "metrics.json", metrics)
    records.finish(third / "record.json", {}, ["metrics.json"])
    unlike = make_table(replace(settings, evaluate=False), "test")["tables"][0]
    assert unlike["warnings"] == [
        "classifier.loop.steps differs between rows: 7 (ddm_l); 2 (dcfm_b, real); they cannot be compared"
    ]
    assert unlike["ratios"] == []
    assert "- Warning: classifier.loop.steps" in (tmp_path / "table.md").read_text()

    # An entry that failed, or is damaged, is not shown with what lies there, a table of nothing else not written, and a
    # picture of what is not in the table any more does not stay.
    failing = replace(settings, methods=("dcfm_b",), evaluation=replace(settings.evaluation, evaluations=4))
    before = (tmp_path / "table.json").read_bytes()
    with pytest.raises(ComparisonError, match=r"no table was written:\n  iid/seed0/dcfm_b: .*evaluations"):
        make_table(failing, "test")
    assert (tmp_path / "table.json").read_bytes() == before
    assert table.collect(failing, {"iid/seed0/dcfm_b": "failed"}) == {}  # no one checked the real classifier
    assert (tmp_path / "grid-iid-seed1.png").exists()
    (second / "metrics.json").write_text("{")
    damaged = make_table(replace(settings, seeds=(0, 1), evaluate=False), "test")
    assert list(damaged["failed"]) == ["iid/seed1/dcfm_b"]
    assert {row["method"]: row["trainings"] for row in damaged["tables"][0]["rows"]}["dcfm_b"] == 1
    assert "iid/seed1/dcfm_b" in (tmp_path / "table.md").read_text()
    assert not (tmp_path / "grid-iid-seed1.png").exists()

    # Other settings want another classifier on real pictures, which need not take the place of the first.
    other = replace(settings.evaluation, each=5)
    elsewhere = replace(settings, methods=("dcfm_b",), out=tmp_path / "other", evaluation=other)
    with pytest.raises(ComparisonError, match="another real="):
        make_table(elsewhere, "test")
    assert make_table(replace(elsewhere, real=tmp_path / "other"), "test")["failed"] == {}
    assert (tmp_path / "other/iid/seed0/real/metrics.json").is_file()
    assert make_table(settings, "test")["failed"] == {}


def test_the_table_tells_the_evaluation_where_moved_data_lie(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is trained with them is the same; the evaluation knows by their content whether they are."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(table, "evaluate", lambda *_, **given: asked.append(given))
    training = (*SMALL, "path=/moved/nih", "autoencoder=/moved/autoencoder")
    settings = TableSettings(("dcfm_b",), ("iid",), runs=runs, out=tmp_path, training=training, device="cpu")
    assert make_table(settings, "test")["failed"] == {}
    (given,) = asked
    assert given["path"] == Path("/moved/nih")
    assert given["autoencoder"] == Path("/moved/autoencoder")
    assert given["pretrained"] is None


def test_the_table_trains_what_is_missing(small_autoencoder: Path, tmp_path: Path) -> None:
    training = (*SMALL, f"autoencoder={small_autoencoder}")
    settings = TableSettings(
        ("dcfm_b",), ("iid",), runs=tmp_path, out=tmp_path / "out", training=training, evaluate=False, device="cpu"
    )
    entry = Entry("iid", "dcfm_b", 0)
    assert make_table(settings, "test")["failed"] == {}
    assert entry.trained(tmp_path)
    stamp = entry.published(tmp_path).stat().st_mtime_ns
    make_table(settings, "test")
    assert entry.published(tmp_path).stat().st_mtime_ns == stamp
    with pytest.raises(ValueError, match="stage_seven"):
        make_table(replace(settings, seeds=(1,), training=("stage_seven.loop.steps=2",)), "test")


@pytest.mark.parametrize(
    "change",
    [
        {"each": 1},
        {"seed": 1},
        {"rules": ()},
        {"rules": ("sum",)},
        {"held_out": 0.0},
        {"held_out": 1.0},
        {"specificity": 1.0},
        {"solver": "leap"},
        {"evaluations": 1},
        {"draws": 1},
    ],
)
def test_bad_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SETTINGS, **change)


def test_unknown_methods_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dcfm_c"):
        TableSettings(("dcfm_c",), out=tmp_path)


def test_groups_split_the_feasible_sets() -> None:
    table = label_table().feasible().labels
    groups = groups_of(table[::2])
    assert [len(groups[name]) for name in ("known", "novel", "all")] == [27, 27, 54]
    assert torch.equal(groups["known"], table[::2])
    assert not is_among(groups["known"], groups["novel"]).any()


def test_noise_differs_between_sets_and_seeds() -> None:
    seeds = {hashed(seed, *label) for seed in (0, 1) for label in feasible_sets().tolist()}
    assert len(seeds) == 108
