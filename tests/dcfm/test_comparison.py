"""Entries have folders of their own, and one that fails leaves the others alone."""

import json
import logging
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from dcfm.artefacts import MODEL, file_hash, save
from dcfm.comparison import (
    ComparisonError,
    Entry,
    attempt,
    check_any,
    check_failed,
    check_list,
    check_recipes,
    check_there,
    check_weights,
    entries_of,
    other_trainings,
    other_within_seeds,
    recipe_differences,
    recipe_of,
    training_config,
)
from dcfm.methods import registry
from dcfm.records import METHOD

ENTRY = Entry("noniid", "dcfm_a", 3)


def test_folders() -> None:
    assert str(ENTRY) == "noniid/seed3/dcfm_a"
    assert ENTRY.published(Path("runs")) == Path("runs/noniid/seed3/published/dcfm_a")
    assert ENTRY.results(Path("out")) == Path("out/noniid/seed3/dcfm_a")
    assert not ENTRY.trained(Path("runs"))


def test_order_of_entries() -> None:
    entries = entries_of(iter(("iid", "noniid")), iter((0, 1)), iter(("ddm", "dcfm_b")))
    assert [str(entry) for entry in entries[:3]] == ["iid/seed0/ddm", "iid/seed0/dcfm_b", "iid/seed1/ddm"]
    assert len(set(entries)) == 8


@pytest.mark.parametrize(
    ("given", "allowed", "message"),
    [
        ((), None, r"names=\[\]: give at least one$"),
        ((), ("a", "b"), "give at least one of a, b"),
        (("a", "c"), ("a", "b"), "unknown names 'c'; there are a, b"),
        (("a", "a"), ("a", "b"), "names something twice"),
        ((0, -1), None, "0 or more"),
    ],
)
def test_lists_that_cannot_be(given: tuple[str | int, ...], allowed: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(ComparisonError, match=message):
        check_list("names", given, allowed)


def test_a_training_is_the_entrys() -> None:
    def config(*training: str):
        return training_config(ENTRY, Path("r"), "dcfm_configs", "train_planner", device="cpu", training=training)

    found = config("preset=quick", "workers=1")
    assert (found.seed, found.partition, list(found.methods), found.out) == (3, "noniid", ["dcfm_a"], "r/noniid/seed3")
    with pytest.raises(ComparisonError, match=r"no_such=1.*does not fit configs/train_planner\.yaml"):
        config("no_such=1")
    for word, own in (
        ("seed=8", "seeds"),
        ("methods=[ddm]", "methods"),
        ("++partition=iid", "partitions"),
        ("out=x", "runs"),
        ("device=cuda", "device"),
    ):
        with pytest.raises(ComparisonError, match=rf"the table says that; give {own}= beside training="):
            config("preset=quick", word)


@pytest.mark.parametrize("runs", ["a,b", "x=y", "ü e", "(a)", "{a}", "[a]", "a#b", "it's", '"', "${seed}", "a: b"])
def test_folders_of_any_name(runs: str) -> None:
    found = training_config(ENTRY, Path("/tmp") / runs, "dcfm_configs", "train_planner", device="cpu", training=())
    assert found.out == f"/tmp/{runs}/noniid/seed3"
    assert OmegaConf.to_container(found, resolve=True)["out"] == found.out  # type: ignore[call-overload,index]


def test_failures_are_noted_and_work_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    failed: dict[str, str] = {}

    def fail(error: Exception) -> None:
        raise error

    for name, error in (("full", OSError("disk full")), ("wrong", ValueError("too few")), ("bug", KeyError("x"))):
        with caplog.at_level(logging.CRITICAL):
            attempt(name, lambda error=error: fail(error), failed)
    attempt("good", lambda: None, failed)
    assert failed == {"full": "disk full", "wrong": "too few", "bug": "KeyError: 'x'"}
    check_failed({})
    with pytest.raises(ComparisonError, match=r"3 entries failed.*\n  full: disk full\n"):
        check_failed(failed)
    with pytest.raises(KeyboardInterrupt):
        attempt("stopped", lambda: fail(KeyboardInterrupt()), failed)  # pyright: ignore[reportArgumentType]


def test_a_table_of_nothing_is_not_written() -> None:
    """It would take the place of a good one; one row is enough, and so is that nothing was tried."""
    nothing, something = ({"tables": [{"rows": [{"run": False}, {"run": run}]}]} for run in (False, True))
    with pytest.raises(ComparisonError, match=r"1 entries failed, and there is nothing else: no table was written"):
        check_any(nothing, {"iid/seed0/ddm": "disk full"})
    check_any(something, {"iid/seed0/ddm": "disk full"})
    check_any(nothing, {})


def trained(runs: Path, **training: object) -> Path:
    """As :data:`ENTRY` leaves it."""
    save(ENTRY.published(runs), {"a": torch.ones(2)}, {"training": training})
    return ENTRY.published(runs)


def test_what_is_trained_otherwise_than_is_asked_for_is_refused(tmp_path: Path) -> None:
    """Whatever it was called, or where it ran; what is not there yet is trained as asked."""
    asked = OmegaConf.create({"peers": {"steps": 3, "new": 1}, "out": "here", "workers": 2})
    check_recipes([ENTRY], tmp_path, lambda entry: asked)
    trained(tmp_path, peers={"steps": 3}, out="there", workers=0)
    check_recipes([ENTRY], tmp_path, lambda entry: asked)
    other = OmegaConf.merge(asked, {"peers": {"steps": 4}})
    assert isinstance(other, DictConfig)
    with pytest.raises(ComparisonError, match=r"noniid/seed3/dcfm_a was trained .*\(peers\.steps: 3 there, 4 now\)"):
        check_recipes([Entry("iid", "ddm", 0), ENTRY], tmp_path, lambda entry: other)


def test_what_was_trained_by_a_method_of_other_settings_is_refused(tmp_path: Path) -> None:
    """Its YAML file was changed since; models of before say nothing of them."""
    entry, asked = Entry("noniid", "dcfm_b_r", 0), OmegaConf.create({"seed": 0})
    there = registry.own_settings("dcfm_b_r")
    for settings in (there, there | {"rounds": 10}):
        save(entry.published(tmp_path), {"a": torch.ones(2)}, {"training": {"seed": 0}, METHOD: settings})
        if settings == there:
            check_recipes([entry], tmp_path, lambda entry: asked)
    with pytest.raises(ComparisonError, match=r"method_settings\.rounds: 10 there, 3 now"):
        check_recipes([entry], tmp_path, lambda entry: asked)


def test_metrics_of_other_weights_are_refused(tmp_path: Path) -> None:
    check_weights(ENTRY, {"weights_sha256": "0"}, tmp_path)  # the model is not at hand
    model = trained(tmp_path) / MODEL
    check_weights(ENTRY, {}, tmp_path)
    check_weights(ENTRY, {"weights_sha256": file_hash(model)}, tmp_path)
    with pytest.raises(ComparisonError, match="metrics are of other weights than"):
        check_weights(ENTRY, {"weights_sha256": "0"}, tmp_path)


def test_a_table_of_what_is_there_needs_something(tmp_path: Path) -> None:
    runs, out = tmp_path / "runs", tmp_path / "out"
    with pytest.raises(ComparisonError, match=r"holds no training and .* no result of noniid/seed3/dcfm_a; check"):
        check_there([ENTRY], runs, out)
    ENTRY.results(out).mkdir(parents=True)
    check_there(iter([Entry("iid", "ddm", 0), ENTRY]), runs, out)
    trained(runs)
    check_there([ENTRY], runs, tmp_path)


def test_a_recipe_without_privacy_is_not_one_with_it() -> None:
    """Also where the key is lacking, as in a configuration that privacy is added to, or an artefact of before."""
    private = {"noise_multiplier": 1.0, "delta": 1e-5}
    plain, none, with_it = ({"fedavg": {"rounds": 2} | more} for more in ({}, {"privacy": None}, {"privacy": private}))
    assert recipe_differences(plain, none) == recipe_differences(none, plain) == []
    assert recipe_differences(with_it, with_it) == []
    for without in (plain, none):
        for pair in ((with_it, without), (without, with_it)):
            (text,) = recipe_differences(*pair)
            assert text.startswith("fedavg.privacy: ")
    louder = {"fedavg": {"rounds": 2, "privacy": private | {"noise_multiplier": 2.0}}}
    assert len(recipe_differences(louder, with_it)) == 1
    assert recipe_differences({"fedavg": {"new": 1}}, plain) == []  # other keys may be younger than an artefact


def test_a_setting_that_a_recipe_lacks_is_its_class_s_default() -> None:
    """A key of ``+key=value``, which the preset lacks, is no younger one: without it something else is trained."""
    peers = {"_target_": "dcfm.trainers.peers.PeerConfig", "rounds": 2}
    plain, few, none = ({"peers": peers | more} for more in ({}, {"peers_per_round": 4}, {"peers_per_round": None}))
    assert recipe_differences(few, plain) == ["peers.peers_per_round: None there, 4 now"]
    assert recipe_differences(plain, few) == ["peers.peers_per_round: 4 there, None now"]
    assert recipe_differences(plain, none) == recipe_differences(none, plain) == []
    assert recipe_differences({"peers": peers | {"routing": "support"}}, {"peers": {"rounds": 2}}) == []
    assert recipe_differences({"peers": peers | {"routing": "uniform"}}, {"peers": {"rounds": 2}}) != []
    assert recipe_differences({"peers": peers | {"routing": "uniform"}}, {"seed": 0}) == []  # a younger section


def test_every_preset_is_its_own_recipe() -> None:
    for module, name in (
        ("dcfm_configs", "train_planner"),
        ("dcfm_configs.images", "train"),
        ("dcfm_configs.xray", "train"),
    ):
        found = training_config(ENTRY, Path("runs"), module, name, device="cpu", training=())
        recipe = recipe_of(OmegaConf.to_container(found, resolve=True))
        assert recipe_differences(recipe, json.loads(json.dumps(recipe))) == []


def test_recipes_tell_a_section_that_is_switched_off() -> None:
    on, off = {"student": {"replay": {"paths": 8}}}, {"student": {"replay": None}}
    assert recipe_differences(on, off) == ["student.replay: None there, {'student.replay.paths': 8} now"]
    assert recipe_differences(off, on) == ["student.replay: {'student.replay.paths': 8} there, None now"]
    assert recipe_differences(off, off) == recipe_differences(on, on) == []


def test_rows_of_other_trainings_or_judges_are_told() -> None:
    alike = {"a": {0: {"test": "x"}, 1: {"test": "y"}}, "b": {0: {"test": "x"}, 1: {}}}
    assert other_trainings(alike) == other_within_seeds(alike, {"test": "tests"}) == []
    assert other_trainings({"a": {0: {}}, "b": {0: {}, 1: {}}, "none": {}}) == [
        "the rows are means over different training seeds (a: 0; b: 0, 1); only equal ones compare"
    ]
    alike["c"] = {1: {"test": "z"}}
    assert other_within_seeds(alike, {"test": "tests", "other": "others"}) == [
        "seed 1: tests differ between rows (a; c); they cannot be compared"
    ]
