"""Evaluations: complete, repeated by nobody, mixed with nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcfm import records
from dcfm.artefacts import save_tensors
from dcfm.methods import registry
from dcfm.methods.sampling import CANDIDATES
from dcfm.metrics.frechet import SampleSizeError
from dcfm.records import RecordError
from dcfm.selection import Selection
from dcfm_images.evaluation import Evaluation, check, evaluate
from dcfm_images.evaluation_settings import EvaluationError, EvaluationSettings
from dcfm_images.features import FeatureSpace, feature_space
from dcfm_images.judging import Judge
from dcfm_images.lineage import kept_weights, problem_of
from dcfm_images.models import load
from dcfm_images.pictures import colour_digits
from dcfm_images.reader import LoadedReader, load_reader
from dcfm_images.results import read_pictures, read_points
from dcfm_images.sampling import Solver, choose, sample


def judged(trained: Any, out: Path, settings: EvaluationSettings, method: str = "dcfm_b", **more: Any) -> Any:
    model = trained.root / "published" / method
    if not model.is_dir():
        trained.publish(method)
    return evaluate(model, out, settings, command="a command", device="cpu", **more)


def test_complete_then_resumed(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> None:
    found = judged(trained, tmp_path / "out", quick)
    assert found["command"] == "a command"
    assert (found["method"], found["features"], found["each"], found["evaluations"]) == ("dcfm_b", "digits", 4, 4)
    assert len(found["weights_sha256"]) == len(found["feature_weights_sha256"]) == 64
    for cell in ("known", "novel"):
        assert (found[cell]["n"], found[cell]["combinations"]) == (200, 50)
        assert set(found[cell]) >= {"fid", "kid", "precision", "recall", "accuracy"}
        assert len(found[cell]["accuracy"]["by_combination"]) == 50
    rows = {"full": 1, "joint": 1, "full, w = 1.5": 2, "full, w = 2": 2}.get(found["sampling"], 3)
    assert found["novel"]["network_evaluations"] == 4 * rows
    kept = read_pictures(tmp_path / "out")
    assert len(kept) == 100
    assert kept[3, 4].shape == (4, 3, 8, 8)
    selection = json.loads((tmp_path / "out" / "selection.json").read_text())
    assert selection["scored_combinations"] == trained.problem.known.tolist()
    assert selection["chosen"] == found["sampling"]
    assert "noise seed 1" in selection["criterion"]
    assert json.loads((tmp_path / "out" / "combinations.json").read_text()) == trained.problem.matrix()

    told: list[str] = []
    again = judged(trained, tmp_path / "out", quick, on_progress=lambda what, done, total: told.append(what))
    assert again == found
    assert not told  # nothing was sampled


def test_the_choice_is_by_pictures_of_its_own_seed(
    trained: Any, quick: EvaluationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real ones too: no picture that is judged afterwards has chosen."""
    used: list[tuple[Judge, int]] = []

    def watched(model: Any, judge: Judge, *, seed: int, **settings: Any) -> Selection:
        used.append((judge, seed))
        return choose(model, judge, seed=seed, **settings)

    monkeypatch.setattr("dcfm_images.evaluation.choose", watched)
    judged(trained, tmp_path, replace(quick, selection_seed=5))
    ((judge, seed),) = used
    expected = colour_digits(trained.problem.reference, trained.problem.known, quick.selection_each, seed=5)
    assert seed == 5
    assert set(judge.references) == {"known"}
    assert torch.equal(judge.references["known"].images, expected.images)


def test_metrics_are_those_of_what_was_asked_for(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> None:
    """Sampled and judged again, combinations and seeds by hand; other settings are other results."""
    way = "full, w = 2"
    settings = replace(quick, rules=(way,), seed=3)
    found = judged(trained, tmp_path, settings)
    assert found["sampling"] == way
    model, problem, loaded = load(trained.root / "published/dcfm_b", "cpu"), trained.problem, load_reader()
    space, kept = feature_space("digits", loaded), read_pictures(tmp_path)
    for cell, combinations in (("known", problem.known), ("novel", problem.novel)):
        judge = Judge(space, loaded.reader, {cell: colour_digits(problem.reference, combinations, 4, seed=3)}, 5, 3)
        field, shape = model.sampled(CANDIDATES[way]), model.task.shape
        made = sample(field, shape, combinations, 4, seed=3, solver=Solver("midpoint", 4), device=model.device)
        expected = json.loads(json.dumps(judge.judge(made, cell)))
        assert {name: found[cell][name] for name in expected} == expected
        for i, (digit, colour) in enumerate(combinations.tolist()):
            assert np.array_equal(kept[digit, colour], made.images[4 * i : 4 * i + 4].numpy())
    for change in ({"seed": 4}, {"draws": 6}, {"solver": "euler"}, {"evaluations": 2}):
        with pytest.raises(RecordError, match=rf"{next(iter(change))}: "):
            judged(trained, tmp_path, replace(settings, **change))


def test_features_are_taken_on_the_model_s_device_alone(
    trained: Any, quick: EvaluationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one would take the reader, which is shared, with it."""
    devices: list[torch.device | None] = []

    def space(name: str, reader: LoadedReader, device: torch.device | None = None) -> FeatureSpace:
        devices.append(device)
        return feature_space(name, reader, device or "cpu")

    monkeypatch.setattr("dcfm_images.evaluation.feature_space", space)
    judged(trained, tmp_path / "out", replace(quick, curve=(2,)))
    assert devices == [torch.device("cpu")] * 2  # looked for before any work, and made once


def test_other_weights_of_a_feature_space_are_other_results(
    trained: Any, quick: EvaluationSettings, tmp_path: Path
) -> None:
    folder, reader = trained.publish("dcfm_b"), load_reader()
    model, settings = load(folder, "cpu"), replace(quick, features="imagenet")
    asked = Evaluation(model, folder, trained.problem, reader, tmp_path, settings, "a command").asked()
    assert asked["feature_weights_sha256"] == feature_space("imagenet", reader).weights_hash != reader.weights_hash


def test_other_settings_are_an_error_unless_made_again(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    judged(trained, out, quick)
    other = replace(quick, each=3)
    with pytest.raises(RecordError, match=r"each: 4 there, 3 asked for.*redo=true"):
        judged(trained, out, other)
    assert judged(trained, out, other, redo=True)["novel"]["n"] == 150
    (out / "metrics.json").write_text("{}")
    with pytest.raises(RecordError, match="not the file"):
        judged(trained, out, other)


def test_a_method_that_was_changed_since_gives_other_results(
    trained: Any, quick: EvaluationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DFD's scale is no part of its weights: results of another one must not pass for its."""
    out, listed = tmp_path / "out", tmp_path / "registry"
    first = judged(trained, out, quick, "dfd")
    shutil.copytree(registry.FOLDER, listed)
    monkeypatch.setattr(registry, "FOLDER", listed)
    path = listed / "dfd.yaml"
    path.write_text(path.read_text().replace("scale: 2.0", "scale: 0.001"))
    assert registry.own_settings("dfd")["scale"] == 0.001
    with pytest.raises(RecordError, match="method_settings"):
        judged(trained, out, quick, "dfd")
    assert judged(trained, out, quick, "dfd", redo=True)["novel"]["fid"] != first["novel"]["fid"]


def test_another_method_of_the_same_weights(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> None:
    """DDM's and DFD's experts are the same networks, differently mixed."""
    out, few = tmp_path / "out", replace(quick, guidance=(2.0,))
    first = judged(trained, out, few, "ddm")
    judged(trained, tmp_path / "other", few, "dfd")
    assert first["weights_sha256"] == load(trained.root / "published/dfd", "cpu").metadata["files"]["model.safetensors"]
    with pytest.raises(RecordError, match="has the results of ddm, and dfd is asked for"):
        judged(trained, out, few, "dfd")
    again = judged(trained, out, few, "dfd", redo=True)
    assert again["method"] == read_points(out, "guidance")[0]["method"] == "dfd"
    assert again["novel"]["fid"] == json.loads((tmp_path / "other/metrics.json").read_text())["novel"]["fid"]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_cut_off_pictures(trained: Any, quick: EvaluationSettings, tmp_path: Path, part: float) -> None:
    judged(trained, tmp_path / "out", quick)
    path = tmp_path / "out" / "pictures.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(EvaluationError, match="missing or damaged"):
        read_pictures(tmp_path / "out")


def test_curves(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> None:
    settings = replace(quick, curve=(2, 5), rules=("joint",))
    found = judged(trained, tmp_path, settings)
    points = read_points(tmp_path, "curve")
    assert [point["evaluations"] for point in points] == [2, 4]  # the midpoint rule takes two a step
    assert {point["each"] for point in points} == {2}
    assert not (tmp_path / "selection.json").exists()  # nothing to choose from
    assert found["sampling"] == "joint"
    told: list[str] = []
    judged(trained, tmp_path, replace(settings, curve=(2, 5, 6)), on_progress=lambda what, *_: told.append(what))
    assert set(told) == {"curve 6, known", "curve 6, novel"}


def test_guidance_whatever_was_chosen(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> None:
    """Beside the chosen way: whole labels at each weight, in order; weight 1 is whole labels as they are."""
    found = judged(trained, tmp_path, replace(quick, guidance=(10.0, 1.0, 2.5), rules=("full",)))
    points = read_points(tmp_path, "guidance")
    assert [point["guidance"] for point in points] == [1.0, 2.5, 10.0]
    assert [point["sampling"] for point in points] == ["full, w = 1", "full, w = 2.5", "full, w = 10"]
    assert [point["novel"]["network_evaluations"] for point in points] == [4, 8, 8]
    same = judged(trained, tmp_path / "same", replace(quick, each=2, rules=("full",)))
    assert points[0]["known"] == same["known"]
    assert found["sampling"] == "full"


def test_a_curve_is_of_one_model(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> None:
    """In the order of its points, not of its files; those of a model that is gone are left out, and damaged ones."""
    settings = replace(quick, curve=(2, 8), rules=("joint",), each=2, curve_each=2)
    judged(trained, tmp_path, settings)
    many = tmp_path / "curve" / "1000.json"  # as of so many
    many.write_text((tmp_path / "curve" / "008.json").read_text().replace('"evaluations": 8', '"evaluations": 1000'))
    records.finish(tmp_path / "curve" / "1000.record.json", {}, [many.name])
    assert [point["evaluations"] for point in read_points(tmp_path, "curve")] == [2, 8, 1000]
    path = tmp_path / "curve" / "008.json"
    path.write_text(path.read_text().replace('"command"', '"comand"'))
    assert [point["evaluations"] for point in read_points(tmp_path, "curve")] == [2, 1000]
    record = tmp_path / "curve" / "002.record.json"
    other = tmp_path / "curve" / "002.json"
    weights = json.loads(other.read_text())["weights_sha256"]
    other.write_text(other.read_text().replace(weights, "0" * 64))
    records.finish(record, json.loads(record.read_text())["asked"], ["002.json"])
    assert [point["evaluations"] for point in read_points(tmp_path, "curve")] == [1000]


def test_points_of_a_curve_are_sampled_alike(
    trained: Any, quick: EvaluationSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A distance falls with the number of pictures: of few beside many is left out, as is another way of sampling."""
    settings = replace(quick, curve=(2,), rules=("joint",), each=2, curve_each=2)
    judged(trained, tmp_path, settings)
    judged(trained, tmp_path, replace(settings, curve=(4,), curve_each=3))
    assert [(point["evaluations"], point["each"]) for point in read_points(tmp_path, "curve")] == [(4, 3)]
    assert "1 points are left out" in caplog.text
    judged(trained, tmp_path, replace(settings, curve=(6,), curve_each=3, rules=("full",)), redo=True)
    assert [point["evaluations"] for point in read_points(tmp_path, "curve")] == [6]
    assert "its sampling is not that of" in caplog.text


def test_a_size_that_the_reader_did_not_learn_is_told(
    trained: Any, quick: EvaluationSettings, caplog: pytest.LogCaptureFixture
) -> None:
    problem, reader = trained.problem, load_reader()
    size = problem.reference.images.shape[-1]
    check(quick, problem, replace(reader, sizes=(size - 1, size + 1)), torch.device("cpu"))
    assert "reads others" not in caplog.text
    check(quick, problem, replace(reader, sizes=(size + 1, size + 2)), torch.device("cpu"))
    assert f"pictures have {size} pixels along an edge, the reader learned from {size + 1}" in caplog.text


def test_no_choice_is_kept_that_is_not_of_the_results(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> None:
    judged(trained, tmp_path, replace(quick, rules=("joint", "composed")))
    assert (tmp_path / "selection.json").exists()
    with pytest.raises(RecordError, match="sampling"):
        judged(trained, tmp_path, replace(quick, rules=("full",)))
    assert (tmp_path / "selection.json").exists()  # of the results that are there still
    assert judged(trained, tmp_path, replace(quick, rules=("full",)), redo=True)["sampling"] == "full"
    assert not list(tmp_path.glob("selection*"))
    (tmp_path / "selection.json").write_text("of an evaluation that was cut off after its choice")
    assert judged(trained, tmp_path, replace(quick, rules=("full",)))["sampling"] == "full"
    assert not list(tmp_path.glob("selection*"))


@pytest.mark.parametrize("method", ["dcfm_b", "dcfm_a", "ddm_l", "ddm"])
def test_snapshots(trained: Any, quick: EvaluationSettings, tmp_path: Path, method: str) -> None:
    model = load(trained.publish(method), "cpu")
    where = {"dcfm_b": ["dcfm_b"], "ddm_l": ["further/silo0", "further/silo1"]}
    where["ddm"] = ["further_no_ci/silo0", "further_no_ci/silo1"]
    where["dcfm_a"] = ["dcfm_a/round_10/silo0", "dcfm_a/round_10/silo1"]
    with pytest.raises(EvaluationError, match="snapshots=true"):
        kept_weights(model, trained.root / "published" / method)
    for other in (f"dcfm_a/round_{number}/silo{silo}" for number in (0, 9) for silo in (0, 1)):
        (trained.root / f"{other}.snapshots").mkdir(parents=True)  # of rounds before the last
    for name in where[method]:
        for step in (10, 20, 30):
            path = trained.root / f"{name}.snapshots" / f"step_{step:07d}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(path, trained.weights())
    assert [step for step, _ in kept_weights(model, trained.root / "published" / method)] == [10, 20, 30]
    if method in ("dcfm_b", "ddm_l"):
        judged(trained, tmp_path / "out", replace(quick, snapshots=2, rules=("joint",)), method)
        points = read_points(tmp_path / "out", "snapshots")
        assert [point["training_steps"] for point in points] == [10, 30]
        assert points[0]["novel"]["fid"] != points[1]["novel"]["fid"]  # other weights


def test_the_reference_was_in_no_silo(trained: Any) -> None:
    model = load(trained.publish("dcfm_b"), "cpu")
    problem = problem_of(model)
    assert torch.equal(problem.known, model.known)
    held = torch.cat([silo.data for silo in problem.silos]).flatten(1)
    assert not (problem.reference.images.flatten(1)[:, None] == held).all(-1).any()


def test_other_digits_than_the_training_s(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> None:
    trained.publish("dcfm_b")
    with pytest.raises(EvaluationError, match="other silos than those that the model was trained on"):
        judged(trained, tmp_path / "out", quick, digits="embedded")
    with pytest.raises(ValueError, match=r"the folder .*nowhere does not hold train-images"):
        judged(trained, tmp_path / "out", quick, folder=tmp_path / "nowhere")  # wherever the training took them from
    assert not (tmp_path / "out").exists()


def test_too_few_pictures_before_any_work(trained: Any, quick: EvaluationSettings, tmp_path: Path) -> None:
    with pytest.raises(SampleSizeError, match=r"each=4: 200 pictures .* at least 1281.*; each=26 gives enough"):
        judged(trained, tmp_path / "out", replace(quick, features="imagenet"))
    with pytest.raises(ValueError, match="each=7 pictures of a combination, and"):
        judged(trained, tmp_path / "out", replace(quick, each=7))
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_choosing_takes_fewer_pictures_than_a_covariance(
    trained: Any, quick: EvaluationSettings, tmp_path: Path
) -> None:
    """50 pictures, fewer than the space has features (64), are enough to choose by nearest neighbours."""
    found = judged(trained, tmp_path / "out", replace(quick, selection_each=1))
    assert json.loads((tmp_path / "out" / "selection.json").read_text())["chosen"] == found["sampling"]


def test_an_interrupted_one_leaves_nothing_half_written(
    trained: Any, quick: EvaluationSettings, tmp_path: Path
) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if what == "sampling, novel":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judged(trained, tmp_path / "out", quick, on_progress=interrupt)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["selection.json", "selection.record.json"]
    told: list[str] = []
    judged(trained, tmp_path / "out", quick, on_progress=lambda what, *_: told.append(what))
    assert "choosing how to sample" not in told
    shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"each": 1}, "at least 2"),
        ({"curve_each": 1}, "curve_each=1 and"),
        ({"draws": 1}, "draws=1 must be"),
        ({"selection_each": 0}, "selection_each=0 and"),
        ({"batch": 0}, "batch=0 at least 1"),
        ({"snapshots": -1}, "snapshots=-1"),
        ({"guidance": (100.0,)}, "weights are positive"),
        ({"guidance": (1.5, 1.5001)}, "each once"),
        ({"seed": 1}, "two different seeds"),
        ({"rules": ("both",)}, "'joint', 'composed'"),
        ({"evaluations": 1}, "at least as many"),
        ({"curve": (4, 1)}, "at least as many"),
        ({"curve": (4, 5)}, r"uses \[4, 4\] of them"),
        ({"guidance": (0.0,)}, "weights are positive"),
        ({"features": "vgg"}, "there are digits"),
        ({"solver": "adaptive"}, "fixed-step"),
    ],
)
def test_impossible_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationSettings(**changes)
