"""Two processes over gloo train what one does: the same weights up to the order of sums, in every kind of training."""

from pathlib import Path

import pytest
import torch

from dcfm.artefacts import load, plain_settings
from dcfm.decentralized import Federation
from dcfm.jobs import TrainingJob, run_job
from dcfm.silos import Silo
from dcfm.trainers import parallel
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.loop import LoopConfig
from dcfm.trainers.objective import IndependenceConfig, ObjectiveConfig
from dcfm.trainers.peers import PeerConfig
from dcfm.trainers.student import ReplayConfig, StudentConfig
from tests.dcfm.trainers.toy import ToyTask, silo_data

TASK = ToyTask(16, holds=True)
LOOP = LoopConfig(steps=12, batch=13, learning_rate=1e-3, warmup=5, checkpoint_every=8)  # 13 rows: 7 and 6
OBJECTIVE = ObjectiveConfig(independence=IndependenceConfig(paths="own", labels="own"))


def train_all(out: Path) -> None:
    """Stage I of two silos, a round of DCFM-A, DCFM-B's student."""
    silos = [Silo(f"silo{i}", *silo_data([[0, 0], [i, 1 - i]], 40, i)) for i in range(2)]
    histograms = [silo.histogram(TASK.space) for silo in silos]
    local = LocalConfig(LOOP, OBJECTIVE)
    experts = [
        run(TrainingJob("local", silo.name, out / silo.name, plain_settings(local), i, (silo, local, None)))
        for i, silo in enumerate(silos)
    ]
    peers = PeerConfig(LOOP, OBJECTIVE)
    run(
        TrainingJob(
            "peers", "peers", out / "peers", plain_settings(peers), 0, (silos[0], experts, histograms, 0, peers)
        )
    )
    student = StudentConfig(LOOP, OBJECTIVE, ReplayConfig(paths=8, steps=4, held=0.5))
    run(TrainingJob("student", "student", out / "student", plain_settings(student), 0, (experts, histograms, student)))


def run(job: TrainingJob) -> dict[str, torch.Tensor]:
    return run_job(job, TASK, 0, "cpu", None, False)


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    parallel.together(2, train_all, tmp_path / "two")
    train_all(tmp_path / "one")
    assert parallel.ranks() == 1
    for name in ("silo0", "silo1", "peers", "student"):
        one, two = (load(tmp_path / number / name).weights for number in ("one", "two"))
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-5)


def test_torchrun_goes_with_no_other_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    silos = [Silo("one", *silo_data([[0, 0], [1, 1], [0, 1]], 5, 0))]
    with pytest.raises(ValueError, match="give workers=0"):
        Federation(TASK, silos, tmp_path, workers=1).stage_one(LocalConfig(LOOP))
