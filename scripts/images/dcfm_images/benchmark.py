"""How near a trainer comes to the speed of its network: throughput against a bare forward/backward loop.

The bare loop evaluates the same network on a batch that lies ready and goes back through it; no optimizer, no averaged
weights, no data, no loss terms. It gives the seconds of one evaluation: forward and backward ``c``, forward alone
``f``. A trainer's step of ``B`` samples makes ``B b`` evaluations that a gradient goes back through and ``B (F - b)``
that are forward only (of frozen peers and teachers, and on the way to points of the CI term), as counted while it is
timed (:class:`dcfm.metrics.cost.computation.EvaluationCounter`). Were the trainer free, a step would take

    B (b c + (F - b) f)

and the ratio of that to what a step takes is the *efficiency* reported here: 1 where the trainer adds nothing.

Trainer and bare loop take turns, a block of steps each, so that what else the machine does meets both. One turn gives
one ratio; the interval is Student's over the turns. On the CPU seconds are this process's CPU time, on a GPU the
clock's after synchronisation.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from dcfm.methods.method import Recipe
from dcfm.metrics.cost.computation import CountedTask, EvaluationCounter, Evaluations
from dcfm.metrics.intervals import mean_interval
from dcfm.networks.cuda_graphs import SEEN
from dcfm.trainers.local import train_local
from dcfm.trainers.peers import train_peers
from dcfm.trainers.student import train_student
from dcfm_images.problem import Problem
from dcfm_images.task import ImageTask

TRAINERS: Final = ("stage_one", "peers", "student")

WARM_UP: Final = SEEN + 2
"""Steps of the bare loop that are not timed: on a GPU its calls are recorded in one of them."""


@dataclass(frozen=True)
class Efficiency:
    """A trainer's throughput beside its network's.

    Attributes:
        trainer: one of :data:`TRAINERS`.
        batch: samples of a step.
        evaluations: of the network in a step, counted, in units of the batch.
        step_seconds: of the trainer's step, mean over the turns.
        bare_seconds: that the same evaluations take in the bare loop.
        ratio, low, high: their quotient, mean over the turns with its 95 % interval.
        n: turns.
        steps: of the trainer in a turn.
    """

    trainer: str
    batch: int
    evaluations: Evaluations
    step_seconds: float
    bare_seconds: float
    ratio: float
    low: float
    high: float
    n: int
    steps: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            **vars(self),
            "evaluations": vars(self.evaluations),
            "samples_per_second": self.batch / self.step_seconds,
        }


class _Turns:
    """A trainer's progress function that times blocks of steps, and runs a bare block after each."""

    def __init__(self, bare: Callable[[int], tuple[float, float]], device: torch.device, steps: int) -> None:
        self.bare, self.device, self.steps = bare, device, steps
        self.trained: list[float] = []
        self.evaluated: list[tuple[float, float]] = []
        self.begun: float | None = None

    def __call__(self, done: int, total: int, terms: dict[str, float]) -> None:
        if done % self.steps:
            return
        if self.begun is not None:  # the first block is a warm-up
            self.trained.append((seconds(self.device) - self.begun) / self.steps)
            self.evaluated.append(self.bare(self.steps))
        self.begun = seconds(self.device)


def seconds(device: torch.device) -> float:
    """This process's CPU time; on a GPU the clock's, with all work done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def bare_loop(
    network: nn.Module, task: ImageTask, batch: int, device: torch.device
) -> Callable[[int], tuple[float, float]]:
    """A function of a number of steps that gives the seconds of one sample's evaluation: forward and backward, and
    forward alone."""
    x = torch.randn(batch, *task.shape, device=device)
    t = torch.rand(batch, device=device)
    y = torch.zeros(batch, task.space.size, dtype=torch.long, device=device)

    def measure(steps: int) -> tuple[float, float]:
        begun = seconds(device)
        for _ in range(steps):
            network.zero_grad(set_to_none=True)
            network(x, t, y).square().mean().backward()
        both = seconds(device)
        with torch.no_grad():
            for _ in range(steps):
                network(x, t, y)
        return (both - begun) / (steps * batch), (seconds(device) - both) / (steps * batch)

    measure(WARM_UP)
    return measure


def measure_trainer(
    trainer: str,
    task: ImageTask,
    problem: Problem,
    recipe: Recipe,
    *,
    device: torch.device,
    turns: int,
    steps: int,
    seed: int = 0,
) -> Efficiency:
    """Time a trainer against the bare loop.

    Args:
        trainer: one of :data:`TRAINERS`.
        task, problem, recipe: what is trained; of the recipe's loops only the lengths are changed.
        turns: blocks of the trainer that are timed, after one that is not; at least 2.
        steps: of a block; for the student rounded up to whole blocks of replay.
        device: of network and data.
        seed: of weights and draws.

    Raises:
        ValueError: an unknown trainer, or too few turns or steps.
    """
    check_timing(trainer, turns, steps)
    torch.manual_seed(seed)
    silo = problem.silos[0]
    data, labels = silo.data.to(device), silo.labels.to(device)
    histograms = [s.histogram(problem.space) for s in problem.silos]
    counter = EvaluationCounter()
    counted_task = CountedTask(task, counter)
    networks = [counted_task.network().to(device) for _ in problem.silos]
    config = {"stage_one": recipe.stage_one, "peers": recipe.peers, "student": recipe.student}[trainer]
    batch = config.loop.batch
    if trainer == "student":
        block = recipe.student.steps_of_block(holds=False)
        steps = -(-steps // block) * block
    loop = replace(config.loop, steps=steps * (turns + 1), checkpoint_every=steps * (turns + 1))
    timer = _Turns(bare_loop(task.network().to(device), task, batch, device), device, steps)
    if trainer == "stage_one":
        train_local(counted_task, data, labels, replace(recipe.stage_one, loop=loop), seed=seed, progress=timer)
    elif trainer == "peers":
        asked = replace(recipe.peers, loop=loop)
        train_peers(counted_task, data, labels, networks, histograms, 0, asked, seed=seed, progress=timer)
    else:
        train_student(counted_task, networks, histograms, replace(recipe.student, loop=loop), seed=seed, progress=timer)
    counted = counter.per_step(loop.steps, batch)
    bare = [batch * (counted.backward * c + (counted.forward - counted.backward) * f) for c, f in timer.evaluated]
    ratio = mean_interval([b / s for b, s in zip(bare, timer.trained, strict=True)])
    times = float(np.mean(timer.trained)), float(np.mean(bare))
    return Efficiency(trainer, batch, counted, *times, ratio["mean"], ratio["low"], ratio["high"], turns, steps)


def check_timing(trainer: str, turns: int, steps: int) -> None:
    """Raise ``ValueError`` unless :func:`measure_trainer` can measure that."""
    if trainer not in TRAINERS or turns < 2 or steps < 1:
        raise ValueError(
            f"trainer={trainer!r}, turns={turns}, steps={steps}: the trainers are {', '.join(TRAINERS)}, turns are at "
            "least 2 and steps at least 1"
        )
