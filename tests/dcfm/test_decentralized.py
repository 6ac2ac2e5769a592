"""The methods from start to end on the toy: what crosses, what is kept, what is trained again."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from dcfm import jobs
from dcfm.artefacts import ArtefactError
from dcfm.attributes import CoverageError
from dcfm.decentralized import Federation
from dcfm.jobs import TrainingJob
from dcfm.silos import Silo
from dcfm.trainers import local
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.loop import LoopConfig, Progress, ResumeError
from dcfm.trainers.peers import PeerConfig
from dcfm.trainers.student import ReplayConfig, StudentConfig
from dcfm.weights import Weights
from tests.dcfm.federation import TASK, Cut, federation, silos
from tests.dcfm.trainers.toy import ToyTask

LOOP = LoopConfig(steps=6, batch=16, warmup=2, checkpoint_every=3)
LOCAL, PEERS = LocalConfig(LOOP), PeerConfig(LOOP, rounds=2)
STUDENT = StudentConfig(LOOP, replay=ReplayConfig(paths=16, steps=3))


def test_only_weights_and_histograms_cross(tmp_path: Path) -> None:
    """Table 3's units: DCFM-B sends one model and receives one a client; DCFM-A sends and gathers every round."""
    run = federation(tmp_path)
    local = run.stage_one(LOCAL)
    for method, config in (("a", PEERS), ("b", STUDENT)):
        exchange = run.exchange()
        run.dcfm_a(local, config, exchange) if method == "a" else run.dcfm_b(local, config, exchange)
        messages = exchange.ledger.messages
        assert {m.kind for m in messages} == {"weights", "histogram"}
        shapes = {tuple(s) for m in messages if m.kind == "weights" for s in m.shapes.values()}
        template = {tuple(t.shape) for t in TASK.network().state_dict().values()}
        assert shapes == template
        assert tuple(silos()[0].data.shape) not in shapes
        if method == "b":
            assert exchange.ledger.units() == {"silo0": 2.0, "silo1": 2.0}


def test_every_training_draws_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds, stages, silos and runs with neighbouring seeds: no two of one method see the same times in any step."""
    times: list[tuple[str, tuple[float, ...]]] = []
    draw, train = local.draw_batch, jobs._run_job
    current = [""]

    def watched_draw(*arguments: Any) -> Any:
        found = draw(*arguments)
        times.append((current[0], tuple(found[0].t.tolist())))
        return found

    def watched_train(job: TrainingJob, task: Any, seed: int, *rest: Any) -> Weights:
        current[0] = f"{job.name}, seed {seed}"
        return train(job, task, seed, *rest)

    monkeypatch.setattr(local, "draw_batch", watched_draw)
    monkeypatch.setattr(jobs, "_run_job", watched_train)
    for seed in (0, 1):
        run = federation(tmp_path / str(seed), seed=seed)
        stage_one = run.stage_one(LOCAL)
        run.further(stage_one, LOCAL)
        run.dcfm_a(stage_one, PEERS, run.exchange())
    assert len({name for name, _ in times}) == 2 * 2 * 4  # seeds, silos; Stage I, further, two rounds
    assert len(times) == 16 * LOOP.steps
    # Whatever one network goes through; a first round begins as Stage I did, and goes on otherwise.
    for method in ("further", "round 2"):
        chain = [t for name, t in times if name.startswith("stage1") or method in name]
        assert len(set(chain)) == len(chain) == 8 * LOOP.steps


def test_a_date_is_a_seed_too(tmp_path: Path) -> None:
    """Of every training, and a run that is not the next day's."""
    students = []
    for seed in (20250101, 20250102):
        run = federation(tmp_path / str(seed), seed=seed)
        local = run.stage_one(LOCAL)
        run.dcfm_a(local, replace(PEERS, peers_per_round=1), run.exchange())
        run.fedavg("fedflow", FedAvgConfig(rounds=2, steps=2, batch=8), run.exchange())
        students.append(run.dcfm_b(local, STUDENT, run.exchange()))
    assert not any(torch.equal(students[0][name], value) for name, value in students[1].items())


def test_finished_trainings_are_not_repeated(tmp_path: Path) -> None:
    first = federation(tmp_path).stage_one(LOCAL)
    written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    again = federation(tmp_path).stage_one(LOCAL)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")} == written
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_what_two_runs_share_one_of_them_trains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two methods at once in one folder, each in its own run: Stage I is trained once, and both have it."""
    steps: Counter[str] = Counter()
    begun = Event()

    def progress(name: str, position: int) -> Progress:
        def count(done: int, total: int, terms: dict[str, float]) -> None:
            steps[name] += 1
            begun.set()
            time.sleep(0.02)

        return count

    def train() -> list[Weights]:
        return federation(tmp_path, progress=progress).stage_one(LOCAL)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(train)
        assert begun.wait(60)
        second = pool.submit(train)
        one, two = first.result(), second.result()
    assert steps == {f"stage1 silo{i}": LOOP.steps for i in range(2)}
    assert f"process {os.getpid()} trains it" in caplog.text
    for a, b in zip(one, two, strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    federation(tmp_path).stage_one(LOCAL)
    with pytest.raises(ArtefactError, match="choose another out folder"):
        federation(tmp_path).stage_one(LocalConfig(LoopConfig(steps=7, batch=16)))
    with pytest.raises(ArtefactError, match="choose another out folder"):
        federation(tmp_path, seed=5).stage_one(LOCAL)


@dataclass(frozen=True)
class _Renamed(ToyTask):
    """Of the same network, with a setting that no shape tells."""

    rate: float = 0.5


def test_another_task_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    def train(rate: float) -> None:
        Federation(_Renamed(width=8, rate=rate), silos(), tmp_path, workers=0).stage_one(LOCAL)

    train(0.5)
    train(0.5)
    with pytest.raises(ArtefactError, match="choose another out folder"):
        train(0.25)


def _cut(name: str, position: int) -> Progress:
    def step(done: int, total: int, terms: dict[str, float]) -> None:
        if done == LOOP.checkpoint_every + 1:
            raise Cut

    return step


def test_a_cut_off_training_goes_on_only_with_its_own_data_and_predecessors(tmp_path: Path) -> None:
    """Same settings and seed, other samples or other first networks: the checkpoint is of another training."""

    def other() -> Federation:
        moved = [Silo(silo.name, silo.data + 1, silo.labels) for silo in silos()]
        return Federation(TASK, moved, tmp_path, workers=0)

    torch.manual_seed(0)
    starts = [[TASK.network().state_dict() for _ in silos()] for _ in range(2)]
    trainings: list[Callable[[Federation, list[Weights]], object]] = [
        lambda run, start: run.further(start, LOCAL),
        lambda run, start: run.dcfm_a(start, PEERS, run.exchange()),
        lambda run, start: run.dcfm_b(start, STUDENT, run.exchange()),
    ]
    with pytest.raises(Cut):
        federation(tmp_path, progress=_cut).stage_one(LOCAL)
    with pytest.raises(ResumeError, match="delete"):
        other().stage_one(LOCAL)
    for train in trainings:
        with pytest.raises(Cut):
            train(federation(tmp_path, progress=_cut), starts[0])
        with pytest.raises(ResumeError, match="delete"):
            train(federation(tmp_path), starts[1])
        train(federation(tmp_path), starts[0])


def test_processes_give_what_one_process_gives(tmp_path: Path) -> None:
    one = federation(tmp_path / "one").stage_one(LOCAL)
    two = Federation(TASK, silos(), tmp_path / "two", workers=2).stage_one(LOCAL)
    for a, b in zip(one, two, strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_coverage_is_checked_at_once(tmp_path: Path) -> None:
    with pytest.raises(CoverageError, match="no silo holds"):
        Federation(TASK, silos()[:1], tmp_path)


def test_snapshots_are_kept_for_curves(tmp_path: Path) -> None:
    federation(tmp_path, snapshots=True).stage_one(LOCAL)
    names = sorted(p.name for p in (tmp_path / "stage1" / "silo0.snapshots").iterdir())
    assert names == ["step_0000003.safetensors", "step_0000006.safetensors"]


def test_a_curve_has_nothing_of_a_training_that_was_deleted(tmp_path: Path) -> None:
    """As the error that refuses other settings advises; what is trained together with it stays."""
    averaging = FedAvgConfig(rounds=2, steps=3, batch=8, checkpoint_every=1)
    run = federation(tmp_path, snapshots=True)
    run.stage_one(LOCAL)
    run.fedavg("fedflow", averaging, run.exchange())
    for folder in (tmp_path / "stage1" / "silo0", tmp_path / "fedflow"):
        shutil.rmtree(folder)
    shorter = replace(LOCAL, loop=replace(LOOP, steps=4))
    with pytest.raises(ArtefactError, match="delete it to train again"):
        run.stage_one(shorter)
    shutil.rmtree(tmp_path / "stage1" / "silo1")
    run.stage_one(shorter)
    run.fedavg("fedflow", replace(averaging, steps=2), run.exchange())
    kept = {
        name: sorted(p.stem for p in (tmp_path / f"{name}.snapshots").iterdir()) for name in ("stage1/silo0", "fedflow")
    }
    assert kept == {"stage1/silo0": ["step_0000003", "step_0000004"], "fedflow": ["step_0000002", "step_0000004"]}
