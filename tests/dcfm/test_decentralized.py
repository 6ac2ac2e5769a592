"""The methods from start to end on the toy: what crosses, what is kept, what is trained again."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dcfm import decentralized, jobs
from dcfm.artefacts import ArtefactError, load_tensors
from dcfm.attributes import CoverageError
from dcfm.curves import Watch, read_curve
from dcfm.decentralized import Federation
from dcfm.exchange import Message
from dcfm.jobs import TrainingJob
from dcfm.silos import Silo
from dcfm.trainers import fedavg, local
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.loop import LoopConfig, Progress, ResumeError
from dcfm.trainers.peers import PeerConfig
from dcfm.trainers.student import ReplayConfig, StudentConfig
from dcfm.weights import Weights
from tests.dcfm.trainers.toy import ToyTask, silo_data

LOOP = LoopConfig(steps=6, batch=16, warmup=2, checkpoint_every=3)
LOCAL, PEERS = LocalConfig(LOOP), PeerConfig(LOOP, rounds=2)
STUDENT = StudentConfig(LOOP, replay=ReplayConfig(paths=16, steps=3))
TASK = ToyTask(width=8)


def silos() -> list[Silo]:
    parts = ([[0, 0], [0, 1]], [[0, 0], [1, 0]])
    return [Silo(f"silo{i}", *silo_data(list(p), 40, seed=i)) for i, p in enumerate(parts)]


def federation(out: Path, **options: object) -> Federation:
    return Federation(TASK, silos(), out, workers=0, **options)  # type: ignore[arg-type]


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


def test_messages_of_before_an_averaging_are_not_its_own(tmp_path: Path) -> None:
    """Begun, cut off and resumed, or found finished, it adds its own messages to those that were there."""
    config = FedAvgConfig(rounds=3, steps=2, batch=8, checkpoint_every=1)

    def cut(name: str, position: int) -> Progress:
        def round_done(done: int, total: int, terms: dict[str, float]) -> None:
            if done == 2 * config.steps:
                raise _Cut

        return round_done

    def train(**options: object) -> list[Message]:
        run = federation(tmp_path, **options)
        exchange = run.exchange()
        run._gather_histograms(exchange)
        earlier = list(exchange.ledger.messages)
        run.fedavg("fedflow", config, exchange)
        assert exchange.ledger.messages[: len(earlier)] == earlier
        return exchange.ledger.messages[len(earlier) :]

    with pytest.raises(_Cut):
        train(progress=cut)
    resumed = train()
    assert {(m.kind, m.peer) for m in resumed} == {("weights", "server"), ("histogram", "server")}
    assert len(resumed) == 3 * 2 * 2 + 2  # rounds, down and up, silos; and a histogram of each
    assert train() == resumed


class _Cut(Exception):
    """Ends a training between two checkpoints."""


def test_averaging_has_a_loss_curve_a_silo_and_one_that_goes_on(tmp_path: Path) -> None:
    """A row a step of every round; cut off and resumed, the rows are those of a training that was not."""
    config = FedAvgConfig(rounds=3, steps=4, batch=8, checkpoint_every=1)
    read: dict[str, dict[str, list[float]]] = {}
    for name in ("whole", "cut"):
        out = tmp_path / name
        if name == "cut":
            with pytest.raises(_Cut):
                federation(out, progress=_CutAt(out, 10)).fedavg("fedflow", config, federation(out).exchange())
            assert read_curve(out / "losses/fedflow-silo0.csv")["step"] == list(range(1, 10))
        run = federation(out, progress=Watch(out))
        run.fedavg("fedflow", config, run.exchange())
        read[name] = {silo.name: read_curve(out / f"losses/fedflow-{silo.name}.csv") for silo in silos()}
    assert read["cut"] == read["whole"]
    for curve in read["whole"].values():
        assert curve["step"] == list(range(1, 13))
        assert np.isfinite(curve["loss"]).all()
    assert read["whole"]["silo0"]["loss"] != read["whole"]["silo1"]["loss"]


def test_long_rounds_go_on_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off in the middle of the second silo's second round; the result and its curves are those of one run."""
    monkeypatch.setattr(fedavg, "LONG_ROUND", 2)
    config = FedAvgConfig(rounds=2, steps=5, batch=8, checkpoint_every=10)
    found, curves = [], []
    for name in ("whole", "cut"):
        out = tmp_path / name
        if name == "cut":
            with pytest.raises(_Cut):
                federation(out, progress=_CutAt(out, 8, "silo1")).fedavg("fedflow", config, federation(out).exchange())
            left = {path.name for path in out.glob("*.checkpoint.safetensors")}
            assert left == {
                f"fedflow{part}.checkpoint.safetensors" for part in ("", ".silo0.round_1", ".silo1.round_1")
            }
            # As a process leaves it that ended after storing a round and before it removed what is within.
            shutil.copy(out / "fedflow.checkpoint.safetensors", out / "fedflow.silo0.round_0.checkpoint.safetensors")
        run = federation(out, progress=Watch(out))
        found.append(run.fedavg("fedflow", config, run.exchange()))
        curves.append({silo.name: read_curve(out / f"losses/fedflow-{silo.name}.csv") for silo in silos()})
        assert not list(out.glob("*.checkpoint.safetensors"))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert curves[0] == curves[1]
    assert all(curve["step"] == list(range(1, 11)) for curve in curves[0].values())
    short = replace(config, rounds=5, steps=2)
    run = federation(tmp_path / "short", progress=Watch(tmp_path / "short"))
    run.fedavg("fedflow", short, run.exchange())  # the same number of steps, shown round by round
    assert read_curve(tmp_path / "short/losses/fedflow-silo0.csv")["step"] == list(range(1, 11))


def test_averaging_keeps_one_network_and_never_another_tasks(tmp_path: Path) -> None:
    """Two tasks may look alike: what tells them apart may not show in their text."""
    config = FedAvgConfig(rounds=1, steps=2, batch=8)
    found = []
    for number, factor in enumerate((1.0, 5.0, 5.0)):
        task = _Scaled(width=8, factor=factor)
        if number == 2:
            decentralized._network.clear()
        run = Federation(task, silos(), tmp_path / str(number), workers=0)
        found.append(run.fedavg("fedflow", config, run.exchange()))
        assert len(decentralized._network) == 1
    assert str(_Scaled(factor=1.0)) == str(_Scaled(factor=5.0))
    assert all(torch.equal(found[1][name], value) for name, value in found[2].items())
    assert not all(torch.equal(found[0][name], value) for name, value in found[1].items())


def test_averaging_takes_tasks_that_cannot_be_sent(tmp_path: Path) -> None:
    """In this process: a task that holds a function of its own."""
    config = FedAvgConfig(rounds=2, steps=2, batch=8)
    found = []
    for name, task in (("plain", TASK), ("own", _WithRule(width=8, rule=lambda: None))):
        run = Federation(task, silos(), tmp_path / name, workers=0)
        found.append(run.fedavg("fedflow", config, run.exchange()))
    assert all(torch.equal(found[0][name], value) for name, value in found[1].items())


@dataclass(frozen=True)
class _WithRule(ToyTask):
    rule: Callable[[], None] | None = None


@dataclass(frozen=True)
class _Scaled(ToyTask):
    factor: float = field(default=1.0, repr=False)

    def network(self) -> nn.Module:
        return _Factor(super().network(), self.factor)


class _Factor(nn.Module):
    def __init__(self, inner: nn.Module, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        return self.factor * self.inner(x, t, y, held)


def test_averaging_refuses_what_it_cannot_train_on(tmp_path: Path) -> None:
    """As other trainings do; no silo's round has begun."""
    wrong = {
        "shape": [Silo(s.name, s.data[:, :1], s.labels) for s in silos()],
        "float64": [Silo(s.name, s.data.double(), s.labels) for s in silos()],
    }
    for message, given in wrong.items():
        run = Federation(TASK, given, tmp_path, workers=0)
        with pytest.raises(ValueError, match=message):
            run.fedavg("fedflow", FedAvgConfig(rounds=1, steps=2, batch=8), run.exchange())
    assert not list(tmp_path.glob("*.safetensors"))


@dataclass(frozen=True)
class _CutAt:
    """Loss curves of a training that is killed before it tells of a step."""

    out: Path
    step: int
    silo: str = ""  # of one silo alone

    def __call__(self, name: str, position: int) -> Progress:
        watch = Watch(self.out)(name, position)

        def show(done: int, total: int, terms: dict[str, float]) -> None:
            if done == self.step and name.endswith(self.silo):
                raise _Cut
            watch(done, total, terms)

        return show


def _cut(name: str, position: int) -> Progress:
    def step(done: int, total: int, terms: dict[str, float]) -> None:
        if done == LOOP.checkpoint_every + 1:
            raise _Cut

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
    with pytest.raises(_Cut):
        federation(tmp_path, progress=_cut).stage_one(LOCAL)
    with pytest.raises(ResumeError, match="delete"):
        other().stage_one(LOCAL)
    for train in trainings:
        with pytest.raises(_Cut):
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


def test_averages_are_kept_for_curves_by_a_silo_s_steps(tmp_path: Path) -> None:
    """At each checkpoint and at the end, where they are the result."""
    run = federation(tmp_path, snapshots=True)
    result = run.fedavg("fedflow", FedAvgConfig(rounds=3, steps=4, batch=8, checkpoint_every=2), run.exchange())
    kept = {path.name: load_tensors(path) for path in (tmp_path / "fedflow.snapshots").iterdir()}
    assert sorted(kept) == ["step_0000008.safetensors", "step_0000012.safetensors"]
    assert all(torch.equal(kept["step_0000012.safetensors"][name], value) for name, value in result.items())
    assert not all(torch.equal(kept["step_0000008.safetensors"][name], value) for name, value in result.items())
