"""A planner under audit: what its silos held is dealt again from play data, and must be what they held."""

from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from dcfm.silos import silos_hash
from dcfm_planner import audit
from dcfm_planner.models import publish
from dcfm_planner.quadrants import KNOWN_PAIRS, SPACE
from dcfm_planner.segments import SegmentSet
from dcfm_planner.task import PlannerTask
from dcfm_planner.training import deal
from tests.dcfm_planner.test_training import HORIZON, segments

TASK = PlannerTask(horizon=HORIZON, channels=(8, 8), condition=8)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[SegmentSet]:
    """What is cut from play data, whatever file is given: the last of these."""
    cut = [segments(KNOWN_PAIRS)]
    monkeypatch.setattr(audit, "open_play", lambda source: source)
    monkeypatch.setattr(audit, "cut", lambda *_: cut[-1])
    return cut


def configured(folder: Path, method: str, play: list[SegmentSet]) -> DictConfig:
    """Of a planner of two silos, one network a silo or one for both."""
    silos = deal(play[0], "noniid", 2, alpha=0.3, seed=0)
    number = 2 if method == "dcfm_a" else 1
    experts = [TASK.network().state_dict() for _ in range(number)]
    told = {"method": method, "partition": "noniid", "data_hash": silos_hash(silos)}
    training = {"alpha": 0.3, "seed": 0, "border_margin": 0.0}
    publish(folder / method, experts, [s.histogram(SPACE) for s in silos], TASK, training=training, **told)
    (folder / "play.npz").touch()
    files = {
        "data": str(folder / "play.npz"),
        "heldout": "minari:mine",
    }  # of files alone it is asked whether they are there
    return OmegaConf.create({"planner": {"model": str(folder / method), **files}})


def test_experts_are_attacked_with_what_each_of_them_saw(found: list[SegmentSet], tmp_path: Path) -> None:
    """One segment less deals those after it anew, which label counts hardly show."""
    configs = {method: configured(tmp_path, method, found) for method in ("dcfm_a", "dcfm_b")}
    expert, other = audit.read(configs["dcfm_a"]).targets
    assert len(expert.training) + len(other.training) == len(found[0].labels)
    found.append(found[0][torch.arange(1, len(found[0].labels))])
    with pytest.raises(ValueError, match="which expert saw which segment is not known"):
        audit.read(configs["dcfm_a"])
    subject = audit.read(configs["dcfm_b"])
    assert subject.facts["segments_that_differ_from_the_training"] == 1
    assert len(subject.targets[0].training) == len(found[1].labels)
    found.append(found[0][torch.arange(20, len(found[0].labels))])
    with pytest.raises(ValueError, match="differs in 20 of 240 segments"):
        audit.read(configs["dcfm_b"])


def test_a_file_that_is_gone_is_told_before_any_work(found: list[SegmentSet], tmp_path: Path) -> None:
    config = configured(tmp_path, "dcfm_b", found)
    (tmp_path / "play.npz").unlink()
    with pytest.raises(ValueError, match=r"planner\.data=.*play\.npz is no file; collect it"):
        audit.read(config)
