"""The real thing, very short: shipped planners are selected and evaluated in MuJoCo, once, apart from one another."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from dcfm import artefacts
from dcfm.comparison import ComparisonError, Entry
from dcfm_planner.comparison import records, runs
from dcfm_planner.comparison.collate import collect
from dcfm_planner.comparison.sampling import CANDIDATES, candidates, choose, count_feasible
from dcfm_planner.comparison.settings import ComparisonSettings
from dcfm_planner.comparison.state import look
from dcfm_planner.models import weights_folder
from dcfm_planner.quadrants import KNOWN_PAIRS, pair_labels

STUDENT = "cube-single/noniid/dcfm_b"


@pytest.fixture
def short(settings: ComparisonSettings) -> ComparisonSettings:
    return replace(
        settings, methods=("dcfm_a", "dcfm_b"), protocols=("given",), trials=1, selection_plans=1, max_steps=2
    )


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_entries_are_done_once_and_apart(short: ComparisonSettings, shipped) -> None:
    good, bad = Entry("noniid", "dcfm_b", 0), Entry("noniid", "dcfm_a", 0)
    shipped(short, good)
    shipped(short, bad)
    found = artefacts.load(bad.published(short.runs))
    task = found.config["task"] | {"channels": [8, 16]}  # another architecture than its weights'
    artefacts.save(bad.published(short.runs), found.weights, found.config | {"task": task}, **kept(found))
    seen: list[tuple[str, int, int]] = []
    failed = runs.run(short, "python x", lambda *what: seen.append(what))
    assert list(failed) == [bad]
    assert "another architecture" in failed[bad]
    assert seen[-1] == ("[2/2] noniid/seed0/dcfm_b: protocol given", 2, 2)

    state = look(short, good)
    assert set(state.evaluations) == {"given"}
    evaluated = collect(short).evaluated
    assert set(evaluated) == {("noniid", "given", "dcfm_b")}
    assert set(evaluated["noniid", "given", "dcfm_b"].outcomes[0]) == {
        (arm, cell) for arm in ("planner", "null", "wrong") for cell in ("known", "novel")
    }

    assert (good.results(short.out).parent / ".dcfm_b.lock").exists()  # one process at a time writes there
    before = times(good.results(short.out))
    assert list(runs.run(short, "python x")) == [bad]  # tried again, and the other one left alone
    assert times(good.results(short.out)) == before

    (good.results(short.out) / "given" / records.RECORD).unlink()  # as after an interruption
    only = replace(short, methods=("dcfm_b",))
    assert runs.run(only, "python x") == {}
    changed = {path for path, time in times(good.results(short.out)).items() if before[path] != time}
    assert {Path(path).parent.name for path in changed} == {"given"}


def test_sampling_is_chosen_as_the_settings_say_and_taken(
    short: ComparisonSettings, shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict] = []
    real = runs.choose
    monkeypatch.setattr(runs, "choose", lambda weights, **how: asked.append(how) or real(weights, **how))
    only = replace(short, methods=("dcfm_b",), rules=("joint",), selection_plans=2, selection_seed=3)
    shipped(only, Entry("noniid", "dcfm_b", 0))
    assert runs.run(only, "python x") == {}
    assert [(how["plans"], how["seed"], how["rules"]) for how in asked] == [(2, 3, ("joint",))]
    made = collect(only).evaluated["noniid", "given", "dcfm_b"].metrics[0]
    assert (made["planner"]["rule"], made["planner"]["guidance"]) == ("joint", [1.0, 1.0])


def test_weights_that_change_while_they_are_evaluated_are_an_error(
    short: ComparisonSettings, shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, real = Entry("noniid", "dcfm_b", 0), runs.evaluate
    monkeypatch.setattr(runs, "evaluate", lambda *what: replace(real(*what), weights_hash="b" * 64))
    shipped(short, entry)
    failed = runs.run(replace(short, methods=("dcfm_b",)), "python x")
    assert "changed while they were evaluated" in failed[entry]
    assert look(short, entry).evaluations == {}


def kept(found: artefacts.Artefact) -> dict:
    return {"normalizer": found.metadata["normalizer"], "data_hash": found.metadata["data_hash"], "half": True}


def test_what_is_not_trained_is_trained(short: ComparisonSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[DictConfig] = []

    def train(config: DictConfig, **progress: Callable) -> None:  # in place of hours
        asked.append(config)
        (method,) = config.methods
        shutil.copytree(weights_folder() / "cube-single/noniid" / method, Path(config.out) / "published" / method)

    monkeypatch.setattr(runs, "train_planner", train)
    training = replace(short, train=True, evaluate=False, training=("workers=0", "silos=3"), max_entries=1)
    assert runs.run(training, "python x") == {}
    assert [Entry(c.partition, c.methods[0], c.seed) for c in asked] == [Entry("noniid", "dcfm_a", 0)]
    assert (asked[0].workers, asked[0].silos, asked[0].device) == (0, 3, "cpu")
    assert runs.run(training, "python x") == {}
    assert runs.run(training, "python x") == {}
    assert [c.methods[0] for c in asked] == ["dcfm_a", "dcfm_b"]
    assert not short.out.exists()


def test_a_planner_whose_results_are_there_is_not_trained_anew_without_a_word(short: ComparisonSettings, write) -> None:
    entry = Entry("noniid", "dcfm_b", 0)
    write(short, entry, {}, protocols=())
    before = times(short.out)
    with pytest.raises(ComparisonError, match=r"has results of noniid/seed0/dcfm_b, whose planners are not in runs="):
        runs.run(replace(short, train=True), "python x")
    assert (times(short.out), short.runs.exists()) == (before, False)


def test_overrides_that_do_not_fit_are_an_error_before_any_work(short: ComparisonSettings) -> None:
    with pytest.raises(ComparisonError, match=r"does not fit configs/train_planner\.yaml"):
        runs.run(replace(short, train=True, training=("batches=3",)), "python x")
    assert not short.runs.exists()


def test_selection_is_on_known_pairs_with_noise_of_its_own() -> None:
    known = torch.from_numpy(pair_labels(KNOWN_PAIRS))
    selection = choose(STUDENT, plans=1, seed=1, device="cpu")
    assert set(selection.scores) == set(CANDIDATES)
    assert {n for _, n in selection.scores.values()} == {12}
    assert torch.equal(selection.known, known)
    again = count_feasible(STUDENT, CANDIDATES["joint"], known, plans=1, seed=1, device="cpu")
    assert again == selection.scores["joint"]
    best = max(k for k, _ in selection.scores.values())
    assert selection.chosen == next(name for name, (k, _) in selection.scores.items() if k == best)


def test_selection_among_the_ways_of_one_rule() -> None:
    selection = choose(STUDENT, plans=1, seed=1, device="cpu", rules=("joint",))
    assert list(selection.scores) == ["joint"]
    assert all(sampling.rule == "composed" for sampling in candidates(("composed",)).values())
    assert candidates(("joint", "composed")) == CANDIDATES
