"""An evaluation: problems dealt to processes in chunks, all arms of a chunk in one place, results in the order asked.

A trial's noise comes from its own seed, and a chunk has the same trials however many processes share the work, so the
number of workers changes nothing but the time.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, Final

import torch

from dcfm.workers import begin_worker, usable_cores
from dcfm_planner.controllers import Controller, PlannedActions, TrackEffector
from dcfm_planner.domain import Bench, Domain
from dcfm_planner.domains.cube import CUBE
from dcfm_planner.evaluation.problems import Problems
from dcfm_planner.evaluation.trials import PLANNER_ARM, Timing
from dcfm_planner.execution import ExecutionOptions
from dcfm_planner.models import LoadedPlanner, Sampling, load_planner

CHUNK: Final = 20
"""Problems that a process plans in one batch and executes in lock step."""

CONTROLLERS: Final = ("track", "planned")


class EvaluationError(ValueError):
    """An evaluation that cannot be run as asked for."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What to evaluate and how.

    Args:
        weights: name of a shipped planner, or the path of an artefact's folder.
        protocol: ``paper`` or ``given``; see :mod:`dcfm_planner.evaluation.problems`.
        trials: for the known cell, and as many for the novel one.
        seed: of the noise.
        device: ``auto``, ``cpu``, ``cuda``.
        workers: processes; ``None`` for one a core, 0 for this process alone.
        controls: arms run on the same problems besides the planner's.
        controller: ``track`` the planned effector path, or execute the ``planned`` actions.
        lookahead: steps, of ``track``.
        options: of execution.
        sampling: how plans are sampled; ``None`` for what measured best.
        max_steps: control steps a trial; ``None`` for as many as the domain allows.
        domain: of the planner.

    Raises:
        EvaluationError: a value that cannot be.
    """

    weights: str
    protocol: str = "paper"
    trials: int = 100
    seed: int = 0
    device: str = "auto"
    workers: int | None = None
    controls: tuple[str, ...] = ()
    controller: str = "track"
    lookahead: int = TrackEffector.lookahead
    options: ExecutionOptions = field(default_factory=ExecutionOptions)
    sampling: Sampling | None = None
    max_steps: int | None = None
    domain: Domain = CUBE

    def __post_init__(self) -> None:
        allowed, most = self.domain.evaluation().controls, self.domain.evaluation().max_steps
        if unknown := [name for name in self.controls if name not in allowed]:
            raise EvaluationError(f"unknown controls {', '.join(map(repr, unknown))}; there are {', '.join(allowed)}")
        if len(set(self.controls)) < len(self.controls):
            raise EvaluationError(f"controls {', '.join(self.controls)}: give each one once")
        if self.controller not in CONTROLLERS:
            raise EvaluationError(f"unknown controller {self.controller!r}; there are {', '.join(CONTROLLERS)}")
        if self.workers is not None and self.workers < 0:
            raise EvaluationError(f"workers={self.workers}: give a number of processes, or null for one a core")
        if not 1 <= self.limit <= most:
            raise EvaluationError(f"max_steps={self.max_steps}: give 1 to {most}, the limit of {self.domain.name}")
        TrackEffector(self.lookahead)  # a wrong one is refused, whatever the controller
        self.make_problems()

    @property
    def limit(self) -> int:
        """Control steps a trial."""
        return self.domain.evaluation().max_steps if self.max_steps is None else self.max_steps

    def make_controller(self) -> Controller:
        """The cube's controller asked for."""
        return TrackEffector(self.lookahead) if self.controller == "track" else PlannedActions()

    def make_problems(self) -> dict[str, Problems]:
        """The problems asked for."""
        return self.domain.evaluation().problems(self)


@dataclass(frozen=True)
class Results:
    """What an evaluation gave.

    Attributes:
        settings: what was asked for.
        method, partition: of the planner that was loaded.
        planner: how it is sampled, in words.
        weights_hash: SHA-256 of its weights' file.
        trials: all arms' (:class:`~dcfm_planner.evaluation.trials.Trial` or the domain's own kind), in the order of
            cells, arms and problems.
        timing: of the planner's arm.
        seconds: of the whole evaluation, starting processes included.
        workers: processes.
    """

    settings: EvaluationSettings
    method: str
    partition: str
    planner: dict[str, Any]
    weights_hash: str
    trials: list[Any]
    timing: Timing
    seconds: float
    workers: int


def load(settings: EvaluationSettings) -> LoadedPlanner:
    """The planner that settings name.

    Raises:
        ModelError, ArtefactError: see :func:`~dcfm_planner.models.load_planner`.
    """
    return load_planner(settings.weights, device=settings.device, sampling=settings.sampling, domain=settings.domain)


def described(loaded: LoadedPlanner) -> dict[str, Any]:
    """How a planner is sampled, as plain values for a record."""
    planner, sampling = loaded.planner, loaded.sampling
    return {
        "steps": planner.steps,
        "solver": planner.method,
        "horizon": planner.horizon,
        "rule": sampling.rule,
        "guidance": list(sampling.guidance or ()),
    }


def evaluate(settings: EvaluationSettings, on_trials: Callable[[int, int], None] | None = None) -> Results:
    """Run an evaluation.

    Args:
        settings: what to evaluate.
        on_trials: called with (problems done, problems in all), at the start and after each chunk.

    Raises:
        ValueError: settings or weights that cannot be, before any work.
        EvaluationError: a process died.
    """
    begin = time.perf_counter()
    loaded = load(settings)  # here too, so that bad weights are one clear error
    chunks = [chunk for problems in settings.make_problems().values() for chunk in problems.chunks(CHUNK)]
    workers = min(usable_cores() if settings.workers is None else settings.workers, len(chunks))
    total = sum(len(chunk) for chunk in chunks)
    notify = on_trials or (lambda done, total: None)
    notify(0, total)
    found: dict[int, tuple[list[Any], Timing]] = {}
    done = 0
    for number, result in _run_chunks(settings, chunks, workers):
        found[number] = result
        done += len(chunks[number])
        notify(done, total)
    trials = [trial for number in sorted(found) for trial in found[number][0]]
    allowed = settings.domain.evaluation().controls
    return Results(
        settings=settings,
        method=loaded.method,
        partition=loaded.partition,
        planner=described(loaded),
        weights_hash=loaded.metadata["files"]["model.safetensors"],
        trials=sorted(trials, key=lambda t: (t.cell, (PLANNER_ARM, *allowed).index(t.arm), t.index)),
        timing=sum((timing for _, timing in found.values()), Timing()),
        seconds=time.perf_counter() - begin,
        workers=workers,
    )


def _run_chunks(
    settings: EvaluationSettings, chunks: list[Problems], workers: int
) -> Iterator[tuple[int, tuple[list[Any], Timing]]]:
    """Chunks as they are done, with their numbers."""
    arms = (PLANNER_ARM, *settings.controls)
    if workers == 0:
        bench, threads = make_workbench(settings), torch.get_num_threads()
        torch.set_num_threads(1)  # as in a worker: the last digits of a plan depend on how many share a sum
        try:
            for number, chunk in enumerate(chunks):
                yield number, bench.run(chunk, arms)
        finally:
            torch.set_num_threads(threads)
        return
    with (
        _without_pictures(),
        ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=(settings,)) as pool,
    ):
        jobs = {pool.submit(_run, chunk, arms): number for number, chunk in enumerate(chunks)}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        except BrokenProcessPool as error:
            raise EvaluationError(
                "a worker process died, most likely for want of memory (each takes about 1 GB): try fewer workers=; "
                'or the calling script lacks `if __name__ == "__main__":` (workers=0 does without)'
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def make_workbench(settings: EvaluationSettings) -> Bench:
    """A planner and the means to try its plans, as settings ask for."""
    return settings.domain.evaluation().bench(load(settings).planner, settings, CHUNK)


@contextmanager
def _without_pictures() -> Iterator[None]:
    """Let processes that start in the block load neither OpenGL nor threads that would compete for cores."""
    wanted = {"MUJOCO_GL": "disable", "OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_bench: list[Bench] = []
"""A worker process's own, made once."""


def _start(settings: EvaluationSettings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent alone decides
    begin_worker()
    _bench.append(make_workbench(settings))


def _run(chunk: Problems, arms: tuple[str, ...]) -> tuple[list[Any], Timing]:
    return _bench[0].run(chunk, arms)
