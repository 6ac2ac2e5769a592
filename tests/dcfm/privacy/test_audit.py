"""The audit from start to end on the toy, and the planner's reader."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module

from dcfm.artefacts import plain_settings
from dcfm.privacy.audit import AuditSettings, Target, audit, generate, make_targets, read_subject, table
from dcfm.privacy.neighbours import Samples
from dcfm.silos import LabelHistogram, Silo
from dcfm_planner.audit import histogram_difference

TINY = ("training.width=8", "training.stage_one.steps=2", "training.student.steps=2", "toy.samples=20")


def configured(*overrides: str) -> Any:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        return compose("audit", overrides=list(overrides))


def test_the_toy_is_audited(tmp_path: Path) -> None:
    subject = read_subject(configured(f"out={tmp_path}", "toy.heldout=100", *TINY))
    (target,) = subject.targets
    assert (len(target.training), len(target.heldout)) == (60, 300)
    assert not (target.heldout.x[:, None] == target.training.x).all(-1).any()  # no member is among the non-members
    calls: list[int] = []
    (record,) = audit(subject, AuditSettings(noises=1, generated=40), lambda: calls.append(1))
    assert calls == [1]
    membership, neighbours = record["membership"], record["neighbours"]
    assert (membership["members"], membership["non_members"], neighbours["generated"]) == (60, 300, 40)
    assert 0 <= membership["auc"]["low"] <= membership["auc"]["value"] <= membership["auc"]["high"] <= 1
    assert list(membership["auc_by_time"]) == ["0.1", "0.3", "0.5", "0.7", "0.9"]
    assert json.loads(json.dumps(record)) == record
    assert "all silos' network" in table([record])


def test_each_expert_is_attacked_on_its_own_silo(tmp_path: Path) -> None:
    subject = read_subject(configured(f"out={tmp_path}", "subject=toy_overfit", *TINY, "training.peers.steps=2"))
    assert [len(t.training) for t in subject.targets] == [180, 300]
    assert not torch.equal(subject.targets[0].training.y, subject.targets[1].training.y)
    record = audit(subject, AuditSettings(noises=1, generated=10, most=50))[0]
    assert record["membership"]["members"] <= 50


def test_members_are_pooled_for_one_network() -> None:
    silos = [Silo(name, torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.long)) for name in ("a", "b")]
    held = Samples(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.long))
    assert [len(t.training) for t in make_targets([lambda x, t, y, held=None: x], silos, held)] == [6]


def test_samples_are_generated_in_the_held_out_proportions() -> None:
    """Of held-out samples that are sorted by combination, as the toy's are; one combination was not trained on."""
    y = torch.tensor([0, 1, 2, 3]).repeat_interleave(torch.tensor([300, 100, 200, 400]))[:, None]
    trained = Samples(torch.zeros(3, 2), torch.tensor([[0], [1], [3]]))
    target = Target("still", lambda x, t, y, held=None: 0 * x, trained, Samples(torch.zeros(1000, 2), y))
    few, again, many = (generate(target, 1, AuditSettings(generated=n)) for n in (80, 80, 1600))
    assert [int((few.y == v).sum()) for v in range(4)] == pytest.approx([30, 10, 0, 40], abs=8)
    assert [int((many.y == v).sum()) for v in range(4)] == [600, 200, 0, 800]
    assert torch.equal(few.y, again.y)
    assert torch.equal(few.x, again.x)
    other = generate(target, 1, AuditSettings(generated=80, seed=1))
    assert not torch.equal(few.y, other.y)


def read_badly(config: object) -> object:
    """A reader whose own code is wrong."""
    raise AttributeError("no attribute 'network'")


def test_a_readers_own_error_is_not_taken_for_a_wrong_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'network'"):
        read_subject(configured(f"reader={__name__}.read_badly"))


def test_bad_settings_are_one_error() -> None:
    with pytest.raises(ValueError, match="is not the name of a function"):
        read_subject(configured("reader=dcfm.toy.audit.nothing"))
    with pytest.raises(ValueError, match="heldout=0"):
        read_subject(configured("toy.heldout=0"))
    with pytest.raises(ValueError, match="is neither a folder nor a shipped planner"):
        read_subject(configured("subject=planner", "planner.model=nothing"))
    with pytest.raises(ValueError, match="is no file; collect it"):
        read_subject(configured("subject=planner", "planner.data=nowhere.npz"))
    with pytest.raises(ValueError, match="at least 1"):
        AuditSettings(generated=0)
    assert plain_settings(AuditSettings())["most"] == 5000


def test_histograms_that_differ() -> None:
    a, b = (LabelHistogram.from_labels(torch.tensor(y), (4, 4)) for y in ([[0, 0], [0, 0], [1, 2]], [[0, 0], [3, 3]]))
    assert (histogram_difference(a, a), histogram_difference(a, b)) == (0, 3)
