"""The decentralised methods from start to end: Stage I, DCFM-A and DCFM-B over a set of silos, in one place.

Silos train in processes of their own, one thread each. What passes between them passes through an
:class:`~dcfm.exchange.Exchange`. Each finished training is an artefact folder; one that is there already, made with the
same settings from the same data, is not trained again, and one that was cut off goes on from its checkpoint.

    out/stage1/<silo>/          Stage I networks
    out/dcfm_a/round_<r>/<silo>/   experts after round r
    out/dcfm_b/                 the student
"""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dcfm import artefacts
from dcfm.exchange import Exchange
from dcfm.silos import LabelHistogram, Silo, check_silos
from dcfm.task import Task
from dcfm.trainers.local import LocalConfig, train_local
from dcfm.trainers.loop import Progress
from dcfm.trainers.peers import PeerConfig, train_peers
from dcfm.trainers.student import StudentConfig, train_student
from dcfm.weights import Weights

ProgressFactory = Callable[[str, int], Progress]
"""Given a training's name and its position among those that run at once, what to call after each step; picklable."""


@dataclass(frozen=True)
class Federation:
    """Silos that train together, and how.

    Args:
        task: what is trained.
        silos: private data; together they must satisfy Eq. 2 (checked at once).
        out: folder of artefacts, checkpoints and the ledger.
        seed: of the run; silo ``i`` trains with ``seed + i``.
        device: of every training.
        workers: trainings at once; 0 trains in this process.
        progress: see :data:`ProgressFactory`.
        snapshots: keep the EMA weights of each checkpoint under ``<folder>.snapshots``, for learning curves.
    """

    task: Task
    silos: Sequence[Silo]
    out: Path
    seed: int = 0
    device: str = "cpu"
    workers: int = 1
    progress: ProgressFactory | None = None
    snapshots: bool = False

    def __post_init__(self) -> None:
        check_silos(self.task.space, self.silos)

    @property
    def histograms(self) -> list[LabelHistogram]:
        """Each silo's label statistics."""
        return [silo.histogram(self.task.space) for silo in self.silos]

    def exchange(self) -> Exchange:
        """A new exchange between these silos, its template the task's network."""
        return Exchange([silo.name for silo in self.silos], template=self.task.network().state_dict())

    def stage_one(self, config: LocalConfig) -> list[Weights]:
        """Every silo alone (Eqs. 8-11); returns each one's EMA weights."""
        jobs = [
            _Job("local", f"stage1 {silo.name}", self.out / "stage1" / silo.name, asdict(config), i, (silo, config))
            for i, silo in enumerate(self.silos)
        ]
        return self._run(jobs)

    def dcfm_a(self, stage_one: Sequence[Weights], config: PeerConfig, exchange: Exchange) -> list[Weights]:
        """``config.rounds`` allgathers, each followed by cross-peer training in every silo (Eqs. 12-14)."""
        weights = list(stage_one)
        histograms = self._gather_histograms(exchange)
        for number in range(1, config.rounds + 1):
            sent = {silo.name: weights[i] for i, silo in enumerate(self.silos)}
            received = exchange.allgather("weights", sent)
            folder = self.out / "dcfm_a" / f"round_{number}"
            jobs = []
            for i, silo in enumerate(self.silos):
                gathered = [received[silo.name][peer.name] for peer in self.silos]
                arguments = (silo, gathered, histograms, i, config)
                name = f"dcfm_a round {number} {silo.name}"
                jobs.append(
                    _Job("peers", name, folder / silo.name, asdict(config), i, arguments, fingerprint(gathered))
                )
            weights = self._run(jobs)
        return weights

    def dcfm_b(self, stage_one: Sequence[Weights], config: StudentConfig, exchange: Exchange) -> Weights:
        """Upload once, distil, download once (Eqs. 15-17); returns the student's EMA weights."""
        uploaded, histograms = [], []
        for silo, weights, histogram in zip(self.silos, stage_one, self.histograms, strict=True):
            uploaded.append(exchange.upload(silo.name, "weights", weights))
            payload = exchange.upload(silo.name, "histogram", histogram.state_dict())
            histograms.append(LabelHistogram.from_state_dict(payload))
        job = _Job(
            "student",
            "dcfm_b",
            self.out / "dcfm_b",
            asdict(config),
            0,
            (uploaded, histograms, config),
            fingerprint(uploaded),
        )
        (student,) = self._run([job])
        for silo in self.silos:
            exchange.download(silo.name, "weights", student)
        return student

    def _gather_histograms(self, exchange: Exchange) -> list[LabelHistogram]:
        sent = {silo.name: h.state_dict() for silo, h in zip(self.silos, self.histograms, strict=True)}
        received = exchange.allgather("histogram", sent)[self.silos[0].name]
        return [LabelHistogram.from_state_dict(received[silo.name]) for silo in self.silos]

    def _run(self, jobs: list["_Job"]) -> list[Weights]:
        common = (self.task, self.seed, self.device, self.progress, self.snapshots)
        if self.workers == 0:
            return [_train(job, *common) for job in jobs]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, mp_context=context, initializer=_one_thread) as pool:
            return list(pool.map(_train, jobs, *([value] * len(jobs) for value in common)))


def fingerprint(weights: Sequence[Mapping[str, Tensor]]) -> str:
    """SHA-256 over names, shapes and values: tells whether a training started from these weights."""
    digest = hashlib.sha256()
    for part in weights:
        for name in sorted(part):
            digest.update(f"{name}{tuple(part[name].shape)}".encode())
            digest.update(part[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Job:
    kind: str
    name: str
    folder: Path
    settings: dict[str, Any]
    index: int
    arguments: tuple[Any, ...]
    started_from: str = ""


def _one_thread() -> None:
    torch.set_num_threads(1)


def _network(task: Task, weights: Weights, device: str) -> nn.Module:
    network = task.network()
    network.load_state_dict(weights)
    return network.to(device)


def _train(job: _Job, task: Task, seed: int, device: str, factory: ProgressFactory | None, snapshots: bool) -> Weights:
    """One training, skipped if its artefact is there; writes the artefact and removes the checkpoint."""
    silo = job.arguments[0] if isinstance(job.arguments[0], Silo) else None
    data_hash = fingerprint([{"data": silo.data, "labels": silo.labels}]) if silo else None
    config = json.loads(json.dumps(job.settings | {"training": job.name, "seed": seed, "from": job.started_from}))
    if (job.folder / "artefact.json").exists():
        found = artefacts.load(job.folder, template=task.network().state_dict())
        if found.config == config and found.metadata["data_hash"] == data_hash:
            return found.weights
        raise artefacts.ArtefactError(
            f"{job.folder} holds a training with other settings, data or predecessors; choose another out folder, or "
            "delete it to train again"
        )
    checkpoint = job.folder.with_name(job.folder.name + ".checkpoint.safetensors")
    progress = None if factory is None else factory(job.name, job.index)

    def snapshot(step: int, network: nn.Module) -> None:
        folder = job.folder.with_name(job.folder.name + ".snapshots")
        artefacts.save_tensors(folder / f"step_{step:07d}.safetensors", network.state_dict())

    extras: dict[str, Any] = {
        "seed": seed + job.index,
        "checkpoint": checkpoint,
        "progress": progress,
        "snapshot": snapshot if snapshots else None,
    }
    if job.kind == "local":
        silo, settings = job.arguments
        network = train_local(task, silo.data.to(device), silo.labels.to(device), settings, **extras)
    elif job.kind == "peers":
        silo, gathered, histograms, index, settings = job.arguments
        networks = [_network(task, weights, device) for weights in gathered]
        data, labels = silo.data.to(device), silo.labels.to(device)
        network = train_peers(task, data, labels, networks, histograms, index, settings, **extras)
    else:
        uploaded, histograms, settings = job.arguments
        networks = [_network(task, weights, device) for weights in uploaded]
        network = train_student(task, networks, histograms, settings, **extras)
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    artefacts.save(job.folder, weights, config, data_hash=data_hash)
    checkpoint.unlink(missing_ok=True)
    return weights
