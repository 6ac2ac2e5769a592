"""The classifiers behind utility: made again only where that is asked for, and never from another training's middle."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dcfm.records import RecordError
from dcfm.trainers.loop import LoopConfig, Progress, ResumeError
from dcfm_xray import real
from dcfm_xray.classifier import Classifier, ClassifierConfig, Trained, logits, thresholds_at
from dcfm_xray.evaluation_settings import EvaluationError, EvaluationSettings
from dcfm_xray.findings import FINDINGS
from dcfm_xray.problem import Pictures, feasible_sets
from dcfm_xray.real import balanced_rows, fit_classifier, judged
from dcfm_xray.utility import utility

SETTINGS = EvaluationSettings(
    each=8,
    held_out=0.25,
    classifier=ClassifierConfig(width=8, loop=LoopConfig(steps=4, batch=8, warmup=1, checkpoint_every=2)),
)
HELD = torch.arange(16) % 4 == 0


class Killed(Exception):
    """What ends a training in the middle."""


def pictures(seed: int) -> Pictures:
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(16, 14, generator=generator) < 0.2).long()
    return Pictures(torch.randint(256, (16, 32, 32), generator=generator).to(torch.uint8), labels, torch.arange(16))


def fit(given: Pictures, folder: Path, *, redo: bool = False, progress: Progress | None = None) -> Trained:
    return fit_classifier(given, HELD, SETTINGS, folder, redo=redo, progress=progress)


def equal(a: Trained, b: Trained) -> bool:
    states = (a.network.state_dict(), b.network.state_dict())
    return torch.equal(a.thresholds, b.thresholds) and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def kill(done: int, total: int, terms: dict[str, float]) -> None:
    if done == 3:
        raise Killed


def test_a_classifier_is_made_again_only_if_asked_for(tmp_path: Path) -> None:
    first = fit(pictures(0), tmp_path / "a")
    assert equal(fit(pictures(0), tmp_path / "a"), first)
    with pytest.raises(RecordError, match="redo=true"):
        fit(pictures(1), tmp_path / "a")
    again = fit(pictures(1), tmp_path / "a", redo=True)
    assert equal(again, fit(pictures(1), tmp_path / "b"))
    assert not equal(again, first)
    with pytest.raises(RecordError, match="specificity"):
        fit_classifier(pictures(1), HELD, replace(SETTINGS, specificity=0.8), tmp_path / "a")


def test_held_out_pictures_fix_thresholds_and_train_nothing(tmp_path: Path) -> None:
    first, other, settings = pictures(0), pictures(1), replace(SETTINGS, specificity=0.5)
    mixed = replace(
        first,
        images=torch.where(HELD[:, None, None], other.images, first.images),
        labels=torch.where(HELD[:, None], other.labels, first.labels),
    )
    one = fit_classifier(first, HELD, settings, tmp_path / "a")
    two = fit_classifier(mixed, HELD, settings, tmp_path / "b")
    assert equal(replace(two, thresholds=one.thresholds), one)
    scores = logits(two.network, mixed.images[HELD])
    assert torch.equal(two.thresholds, thresholds_at(scores, mixed.labels[HELD], 0.5))
    again = fit_classifier(mixed, HELD, replace(settings, seed=3), tmp_path / "c")
    assert not equal(replace(again, thresholds=one.thresholds), one)


def test_it_judges_on_the_device_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where thresholds are fixed, and where it is there already."""
    fit(pictures(0), tmp_path / "a")
    there = fit_classifier(pictures(0), HELD, SETTINGS, tmp_path / "a", device="meta")
    assert {p.device.type for p in there.network.parameters()} == {"meta"}
    assert there.thresholds.device.type == "cpu"
    seen: list[str] = []

    def scored(network: Classifier, images: Tensor) -> Tensor:
        seen.extend({p.device.type for p in network.parameters()})
        raise Killed

    monkeypatch.setattr(real, "train_classifier", lambda *_, **__: Classifier(8))
    monkeypatch.setattr(real, "logits", scored)
    with pytest.raises(Killed):
        fit_classifier(pictures(0), HELD, SETTINGS, tmp_path / "b", device="meta")
    assert seen == ["meta"]


@pytest.mark.parametrize(("size", "stem", "lines"), [(224, "small", 1), (224, "large", 0), (64, "small", 0)])
def test_a_stem_that_is_slow_at_this_size_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int, stem: str, lines: int
) -> None:
    large = replace(pictures(0), images=torch.zeros(16, size, size, dtype=torch.uint8))
    settings = replace(SETTINGS, classifier=replace(SETTINGS.classifier, stem=stem))
    fit_classifier(large, HELD, settings, tmp_path)
    assert [r.getMessage().count("give stem=large") for r in caplog.records] == [1] * lines
    fit_classifier(large, HELD, settings, tmp_path)  # there already
    assert len(caplog.records) == lines


def test_at_equal_specificity_thresholds_of_its_own_do_not_matter(tmp_path: Path) -> None:
    """Only the order of a classifier's scores: one that says yes to all then finds as much as one that says no."""
    trained, test, settings = fit(pictures(0), tmp_path), pictures(1), replace(SETTINGS, specificity=0.7, seed=3)
    sets = {"all": feasible_sets()}
    eager, shy = (
        judged(replace(trained, thresholds=torch.full((14,), value)), test, sets, settings) for value in (-99.0, 99.0)
    )
    assert set(eager["specificity_on_test"].values()) == {0.0}
    assert set(shy["specificity_on_test"].values()) == {1.0}
    assert eager["utility"]["all"]["utility"]["value"] == 1.0
    assert shy["utility"]["all"]["utility"]["value"] == 0.0
    assert eager["utility_at_equal_specificity"] == shy["utility_at_equal_specificity"]
    scores = logits(trained.network, test.images)
    above = scores > thresholds_at(scores, test.labels, settings.specificity)
    assert (
        eager["utility_at_equal_specificity"]["all"]
        == utility(above, test.labels, test.patients, sets, draws=settings.draws, seed=settings.seed)["all"]
    )
    middle = scores.median(0).values  # scores themselves: what is predicted lies above
    own = judged(replace(trained, thresholds=middle), test, sets, settings)["specificity_on_test"]
    for i, finding in enumerate(FINDINGS):
        without = test.labels[:, i] == 0
        assert settings.specificity <= float((~above[without, i]).float().mean()) < settings.specificity + 1 / 9
        assert own[finding] == pytest.approx(float((scores[without, i] <= middle[i]).float().mean()))
    everywhere = replace(test, labels=torch.ones_like(test.labels))
    found = judged(trained, everywhere, sets, settings)
    assert found["utility_at_equal_specificity"] is None
    assert set(found["specificity_on_test"].values()) == {None}


def test_an_interrupted_training_goes_on_with_the_same_pictures_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with pytest.raises(Killed):
            fit(pictures(0), tmp_path / name, progress=kill)
        assert (tmp_path / name / "training.safetensors").is_file()
    seen: list[int] = []
    whole = fit(pictures(0), tmp_path / "whole")
    assert equal(fit(pictures(0), tmp_path / "a", progress=lambda done, *_: seen.append(done)), whole)
    assert seen == [3, 4]
    with pytest.raises(ResumeError, match=r"training\.safetensors"):
        fit(pictures(1), tmp_path / "b")
    assert equal(fit(pictures(1), tmp_path / "b", redo=True), fit(pictures(1), tmp_path / "other"))


@pytest.mark.parametrize("seed", range(8))
def test_balanced_rows_repeat_rare_sets_and_keep_patients_apart(seed: int) -> None:
    sets = feasible_sets()[:3]
    labels = sets[torch.tensor([0] * 40 + [1] * 6 + [2])]
    patients = torch.cat([torch.arange(40) // 2, torch.arange(7)])  # each has two images or three
    generator = torch.Generator().manual_seed(seed)
    rows, held = balanced_rows(labels, patients, torch.arange(47), sets, SETTINGS, generator)
    assert [int((labels[rows[~held]] == s).all(1).sum()) for s in sets] == [6, 6, 6]
    assert not set(patients[rows[held]].tolist()) & set(patients[rows[~held]].tolist())
    out = [int((labels[rows[held]] == s).all(1).sum()) for s in sets]
    assert out[0] == 2
    assert out[1] <= 2
    assert out[2] == 0  # of a single patient
    assert len(rows[held].unique()) == len(rows[held])


def test_one_patient_is_too_few(generator: torch.Generator) -> None:
    labels = feasible_sets()[:1].expand(9, 14)
    with pytest.raises(EvaluationError, match="no patient can be held out"):
        balanced_rows(labels, torch.zeros(9, dtype=torch.long), torch.arange(9), feasible_sets(), SETTINGS, generator)
