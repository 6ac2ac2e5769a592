"""One training of one network: skipped where its artefact is there, resumed where it was cut off, done by one process
where several would. :mod:`dcfm.decentralized` makes such jobs of methods, and silos over Flower of questions."""

import json
import logging
import multiprocessing
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from dcfm import artefacts, locks
from dcfm.privacy.accounting import sampling_rate, spent
from dcfm.privacy.settings import PrivacyConfig
from dcfm.seeds import training_seed
from dcfm.silos import Silo, silos_hash
from dcfm.task import Task, build_network, task_settings
from dcfm.trainers import parallel
from dcfm.trainers.local import LocalConfig, train_local
from dcfm.trainers.loop import LoopConfig, Progress
from dcfm.trainers.peers import train_peers
from dcfm.trainers.student import train_student
from dcfm.weights import Weights
from dcfm.workers import begin_worker

log = logging.getLogger(__name__)

ProgressFactory = Callable[[str, int], Progress]
"""Given a training's name and its position among those that run at once, what to call after each step; picklable."""


@dataclass(frozen=True)
class TrainingJob:
    """One training of one network.

    Attributes:
        kind: ``local`` (arguments: silo, settings, start or None), ``peers`` (silo, all weights, all histograms, place,
            settings) or ``student`` (all weights, all histograms, settings).
        name: for progress and the artefact's identity.
        folder: of the artefact.
        settings: plain values that the artefact must agree with.
        index: of the silo, see :func:`~dcfm.seeds.training_seed`.
        arguments: of the trainer.
        started_from: fingerprint of the weights that it starts from.
        part: of its kind in this silo, counted from 0: DCFM-A's rounds, and what goes on after Stage I.
        earlier: settings of the ``local`` trainings on the same silo that the start comes from; what they spent of its
            privacy counts.
    """

    kind: str
    name: str
    folder: Path
    settings: dict[str, Any]
    index: int
    arguments: tuple[Any, ...]
    started_from: str = ""
    part: int = 0
    earlier: tuple[LocalConfig, ...] = ()


@contextmanager
def pool(workers: int) -> Iterator[Callable[..., list[Any]]]:
    """A ``map`` over processes of one thread each that returns a list; over none, in this process."""
    if workers == 0:
        parallel.join()
        yield lambda function, *arguments: list(map(function, *arguments))
        return
    if parallel.started_by_torchrun():
        raise ValueError(f"workers={workers}; processes that torchrun started train together: give workers=0")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker) as executor:
        yield partial(_few_ahead, executor, 2 * workers)


def _few_ahead(
    executor: ProcessPoolExecutor, number: int, function: Callable[..., Any], *arguments: Iterable[Any]
) -> list[Any]:
    """The executor's ``map``, which draws arguments that large as all peers' weights only when they are needed."""
    pending: deque[Future[Any]] = deque()
    results = []
    try:
        for given in zip(*arguments, strict=False):  # some repeat without end
            if len(pending) == number:
                results.append(pending.popleft().result())
            pending.append(executor.submit(function, *given))
        return [*results, *(future.result() for future in pending)]
    finally:
        for future in pending:
            future.cancel()


def identity_of(task: Task, training: str, settings: dict[str, Any], seed: int, start: str = "") -> dict[str, Any]:
    """What an artefact must agree with to stand for this training; plain, as YAML gives it back."""
    own = {"training": training, "seed": seed, "from": start, "task": task_settings(task)}
    return json.loads(json.dumps(settings | own))


def finished(folder: Path, identity: dict[str, Any], data_hash: str | None, template: Weights) -> Weights | None:
    """The weights of a finished training of this identity, ``None`` where there is no artefact."""
    if not (folder / artefacts.MANIFEST).exists():
        return None
    found = artefacts.load(folder, template=template)
    # Artefacts of before tasks were recorded tell a network's shape alone.
    if {"task": identity["task"]} | found.config == identity and found.metadata["data_hash"] == data_hash:
        return found.weights
    raise artefacts.ArtefactError(
        f"{folder} holds a training with other settings, data or predecessors; choose another out folder, or "
        "delete it to train again"
    )


def run_job(
    job: TrainingJob, task: Task, seed: int, device: str, factory: ProgressFactory | None, snapshots: bool
) -> Weights:
    """One training, skipped if its artefact is there; writes the artefact and removes the checkpoint.

    Where another process is at it, this one waits and takes the result.
    """
    parallel.join()
    with only_here(job.folder, job.name):
        return _run_job(job, task, seed, device, factory, snapshots)


def _tell_of_warmup(job: TrainingJob) -> None:
    """A training that is cut short by steps= alone never reaches its learning rate."""
    loop = LoopConfig(**job.settings["loop"])
    if loop.warmup > loop.steps > 0 and parallel.is_first():
        log.warning(
            "%s: the learning rate rises over warmup=%d steps, and steps=%d reach %.2g of %.2g",
            *(job.name, loop.warmup, loop.steps, loop.rate(loop.steps - 1), loop.learning_rate),
        )


def spent_in_all(
    privacy: PrivacyConfig, samples: int, batch: int, steps: int, earlier: Sequence[LocalConfig]
) -> dict[str, Any]:
    """:func:`~dcfm.privacy.accounting.spent` of a training that goes on from ``earlier`` ones of the same silo, as
    plain data; its noise is secret if that of all of them is."""
    private = [(config, config.privacy) for config in earlier if config.privacy is not None]
    before = [
        (given.noise_multiplier, sampling_rate(config.loop.batch, samples), config.loop.steps)
        for config, given in private
    ]
    found = asdict(spent(privacy, samples, batch, steps, before))
    return found | {"secret": privacy.secret and all(given.secret for _, given in private)}


def keep_snapshot(folder: Path, step: int, weights: Weights) -> None:
    """Keep a training's weights of a step beside its folder, for learning curves."""
    artefacts.save_tensors(_snapshots(folder) / f"step_{step:07d}.safetensors", weights)


def forget_snapshots(folder: Path) -> None:
    """Remove what an earlier training, whose folder was deleted, kept on its way: a curve must not mix the two."""
    if parallel.is_first() and _snapshots(folder).exists():
        shutil.rmtree(_snapshots(folder))


def _snapshots(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.snapshots")


@contextmanager
def only_here(folder: Path, name: str) -> Iterator[None]:
    """Methods share trainings, and may be trained by several processes at once: one trains, the others wait."""
    if parallel.started_by_torchrun():  # these train one network together
        yield
        return
    waiting = partial(log.warning, "%s: process %s trains it; waiting for the result", name)
    with locks.alone(folder.with_name(f".{folder.name}.lock"), on_wait=waiting):
        yield


def _run_job(
    job: TrainingJob, task: Task, seed: int, device: str, factory: ProgressFactory | None, snapshots: bool
) -> Weights:
    silo = job.arguments[0] if isinstance(job.arguments[0], Silo) else None
    data_hash = silos_hash([silo]) if silo else None
    identity = identity_of(task, job.name, job.settings, seed, job.started_from)
    if (found := finished(job.folder, identity, data_hash, task.network().state_dict())) is not None:
        return found
    _tell_of_warmup(job)
    checkpoint = job.folder.with_name(job.folder.name + ".checkpoint.safetensors")
    if not checkpoint.exists():
        forget_snapshots(job.folder)
    progress = None if factory is None or not parallel.is_first() else factory(job.name, job.index)

    def snapshot(step: int, network: nn.Module) -> None:
        keep_snapshot(job.folder, step, network.state_dict())

    extras: dict[str, Any] = {
        "seed": training_seed(seed, job.index, job.part),
        "checkpoint": checkpoint,
        "progress": progress,
        "snapshot": snapshot if snapshots else None,
        "origin": {"data": data_hash, "from": job.started_from, "task": identity["task"]},
    }
    metrics = None
    if job.kind == "local":
        silo, settings, start = job.arguments
        if settings.privacy is not None:
            loop = settings.loop
            cost = spent_in_all(settings.privacy, len(silo), loop.batch, loop.steps, job.earlier)
            metrics = {"privacy": cost}
        extras["start"] = None if start is None else build_network(task, start, device)
        network = train_local(task, silo.data.to(device), silo.labels.to(device), settings, **extras)
    elif job.kind == "peers":
        silo, gathered, histograms, index, settings = job.arguments
        networks = [build_network(task, weights, device) for weights in gathered]
        data, labels = silo.data.to(device), silo.labels.to(device)
        network = train_peers(task, data, labels, networks, histograms, index, settings, **extras)
    else:
        uploaded, histograms, settings = job.arguments
        networks = [build_network(task, weights, device) for weights in uploaded]
        network = train_student(task, networks, histograms, settings, **extras)
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    if parallel.is_first():
        artefacts.save(job.folder, weights, identity, metrics=metrics, data_hash=data_hash)
    parallel.wait()
    checkpoint.unlink(missing_ok=True)
    return weights
