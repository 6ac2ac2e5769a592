"""An X-ray model under audit: members are its hospitals' latents, others those of test patients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from dcfm.privacy.audit import AuditSettings, audit, read_subject
from dcfm_xray.lineage import problem_of
from dcfm_xray.models import load
from dcfm_xray.training import train


def configured(model: Path, *overrides: str) -> Any:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        return compose("audit", overrides=["subject=xray", f"xray.model={model}", "xray.steps=2", *overrides])


def test_members_are_latents_of_silos_and_others_of_test_patients(
    configuration: Callable[..., DictConfig], tmp_path: Path
) -> None:
    model = train(configuration(f"out={tmp_path}", "methods=[dcfm_b]"))["dcfm_b"]
    subject = read_subject(configured(model, "xray.heldout=80"))
    problem = problem_of(load(model, "cpu"), model)
    (target,) = subject.targets
    assert torch.equal(target.training.x, torch.cat([silo.data for silo in problem.silos]).float())
    assert len(target.heldout) == 80
    assert target.heldout.x.shape[1:] == target.training.x.shape[1:]
    test = {tuple(row) for row in problem.source.labels[problem.split.test].tolist()}
    assert {tuple(row) for row in target.heldout.y.tolist()} <= test
    assert target.training.sources is not None
    assert target.heldout.sources is not None
    patients = torch.cat([problem.source.patients[rows] for rows in problem.split.silos])
    assert torch.equal(target.training.sources, patients)  # all phantoms are readable
    assert not set(target.heldout.sources.tolist()) & set(patients.tolist())
    assert subject.facts["data"] == problem.source.name
    record = audit(subject, AuditSettings(noises=1, most=100, generated=20))[0]
    assert 0 < record["membership"]["members_sources"] < record["membership"]["members"]
    with pytest.raises(ValueError, match=r"xray\.heldout=0"):
        read_subject(configured(model, "xray.heldout=0"))
