"""An image model under audit: members are its silos' coloured digits, others are reference digits in known colours."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module

from dcfm.privacy.audit import AuditSettings, audit, read_subject
from dcfm_images.audit import known_colours
from dcfm_images.colours import colourise
from dcfm_images.evaluation_settings import EvaluationError
from tests.dcfm_images.evaluation.conftest import Trained


def configured(model: Path, *overrides: str) -> Any:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        return compose("audit", overrides=["subject=images", f"images.model={model}", "images.steps=2", *overrides])


def test_members_and_others_are_pictures_of_known_combinations(trained: Trained) -> None:
    subject = read_subject(configured(trained.publish("dcfm_a"), "images.heldout=40"))
    assert [len(t.training) for t in subject.targets] == [len(silo) for silo in trained.problem.silos]
    target, silo = subject.targets[0], trained.problem.silos[0]
    assert torch.equal(target.training.x, colourise(silo.data, silo.labels[:, 1]))
    known = {tuple(pair) for pair in trained.problem.known.tolist()}
    assert {tuple(pair) for pair in target.heldout.y.tolist()} <= known
    shown = (target.heldout.x.double() + 1).amax(1)  # the brightest channel is the digit itself
    reference = (trained.problem.reference.images.double() * 2 / 255).flatten(1)
    assert (torch.cdist(shown.flatten(1), reference).min(1).values < 1e-3).all()
    assert (subject.facts["method"], subject.facts["samples_trained_on"]) == ("dcfm_a", 240)
    record = audit(subject, AuditSettings(noises=1, generated=20))[0]
    assert 0 < record["membership"]["members"] <= len(silo)
    assert 0 < record["neighbours"]["generated"] <= 20


def test_colours_are_those_that_a_digit_is_observed_in(trained: Trained) -> None:
    known, reference = trained.problem.known, trained.problem.reference
    labels = torch.cat([known_colours(reference, known, torch.Generator().manual_seed(i)) for i in range(40)])
    assert torch.equal(torch.unique(labels, dim=0), known)


def test_bad_settings_are_one_error(trained: Trained, tmp_path: Path) -> None:
    model = trained.publish("dcfm_b")
    with pytest.raises(ValueError, match=r"images\.heldout=0"):
        read_subject(configured(model, "images.heldout=0"))
    with pytest.raises(EvaluationError, match="other silos"):
        read_subject(configured(model, "images.digits=embedded"))
    with pytest.raises(ValueError, match=r"no artefact|missing"):
        read_subject(configured(tmp_path / "nothing"))
