"""DCFM-B: one student, distilled from synthetic replay of the silos' frozen networks (Eqs. 15-17).

The replay is made in blocks. A block draws a teacher ``r ~ n_r``, labels from that silo's histogram and noise, lets the
teacher's own ODE run, and keeps every point at which the teacher was evaluated on the way, with the velocity that it
gave there: one teacher evaluation a point. Where the task inpaints, a second pass holds random entries at the values of
the same teacher's finished samples. Time grids are jittered, so that all times between half a step after the start and
half a step before the end occur, and 0; a midpoint rule with as many steps asks the student about these alone. A block
depends on ``(seed, block number)`` alone and is made again on resuming, so it need not be stored.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dcfm.artefacts import plain_settings
from dcfm.attributes import apply_mask, draw_masks
from dcfm.fields import Field
from dcfm.losses import matching_loss, peer_independence_loss
from dcfm.seeds import derived
from dcfm.silos import LabelHistogram
from dcfm.solvers import TABLEAUS, evaluations, integrate
from dcfm.task import Task, release
from dcfm.trainers import parallel
from dcfm.trainers.loop import LoopConfig, Progress, fit
from dcfm.trainers.objective import (
    ObjectiveConfig,
    Points,
    check_pairs,
    independence_points,
    independence_term,
)
from dcfm.trainers.peers import draw_routing


@dataclass(frozen=True)
class ReplayConfig:
    """How replay is made.

    Args:
        paths: teacher paths of a block.
        steps: solver steps of a path.
        method: solver.
        reuse: how often a point is used, on average, before its block is replaced.
        held: share of the paths whose points carry held entries, for tasks that inpaint.
    """

    paths: int = 256
    steps: int = 12
    method: str = "euler"
    reuse: float = 2.0
    held: float = 0.7

    def __post_init__(self) -> None:
        if self.paths < 1 or self.steps < 1 or not 0 < self.reuse < math.inf or not 0 <= self.held <= 1:
            raise ValueError(f"paths and steps must be at least 1, reuse positive, held in [0, 1]: {self}")
        if self.method not in TABLEAUS:
            raise ValueError(f"replay by the solver {self.method!r}; its grid can be of {', '.join(TABLEAUS)}")

    def points(self, holds: bool) -> float:
        """Points of a block: one a path, step and stage of the solver, and those of the second pass with held entries,
        which only tasks that inpaint (``holds``) make."""
        return self.paths * evaluations(self.method, self.steps) * (1 + self.held * holds)


@dataclass(frozen=True)
class StudentConfig:
    """The student's training.

    Args:
        loop, objective, replay: see there.
        warm_start: from the first silo's weights.
        teachers_compose: the CI term's composition is served by the frozen teachers, each term by those that hold it,
            as in DCFM-A's round (Eq. 12), instead of by the student itself (Eq. 16).
    """

    loop: LoopConfig = field(default_factory=LoopConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    warm_start: bool = True
    teachers_compose: bool | None = None  # nothing, rather than false, leaves older settings as they were written

    def steps_of_block(self, holds: bool) -> int:
        """Steps that a block of replay serves; ``holds``: whether the task inpaints."""
        return max(1, round(self.replay.reuse * self.replay.points(holds) / self.loop.batch))


@dataclass(frozen=True)
class Replay:
    """A block: points with full labels, and the teacher's velocity at each."""

    points: Points
    velocity: Float[Tensor, " points *shape"]

    def draw(self, number: int, generator: torch.Generator) -> tuple[Points, Float[Tensor, " number *shape"]]:
        rows = torch.randint(len(self.points), (number,), generator=generator, device=self.velocity.device)
        held = None if self.points.held is None else self.points.held[rows]
        points = Points(self.points.x[rows], self.points.t[rows], self.points.y[rows], held)
        return points, self.velocity[rows]


@dataclass
class _Recorder:
    """A field that remembers where it was evaluated and what it answered."""

    field: Field
    rows: list[tuple[Tensor, Tensor, Tensor]]

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        velocity = self.field(x, t, y, held)
        self.rows.append((x, t, velocity))
        return velocity


def jittered_grid(steps: int, generator: torch.Generator) -> Float[Tensor, " times"]:
    """``0 = t_0 < t_1 < ... < t_steps = 1``, the inner times uniform in cells of width ``1 / steps``."""
    inner = torch.rand(steps - 1, generator=generator, device=generator.device).cpu()
    times = (torch.arange(1, steps) - 0.5 + inner) / steps
    return torch.cat([torch.zeros(1), times, torch.ones(1)])


@torch.no_grad()
def make_replay(
    task: Task,
    teachers: Sequence[Field],
    histograms: Sequence[LabelHistogram],
    config: ReplayConfig,
    generator: torch.Generator,
) -> Replay:
    """One block of replay; see the module's text. The device is the generator's."""
    device = generator.device
    sizes = torch.tensor([float(h.total) for h in histograms], device=device)
    owner = torch.multinomial(sizes, config.paths, replacement=True, generator=generator)
    blocks: list[Replay] = []
    for index, (teacher, histogram) in enumerate(zip(teachers, histograms, strict=True)):
        number = int((owner == index).sum())
        if number == 0:
            continue
        y = histogram.sample(number, generator).to(device)
        noise = torch.randn(number, *task.shape, generator=generator, device=device)
        free, finished = _record(teacher, noise, y, None, config, generator)
        blocks.append(free)
        again = round(config.held * number)
        held = task.draw_held(finished[:again], generator) if again else None
        if held is not None:
            noise = torch.randn(again, *task.shape, generator=generator, device=device)
            start = torch.where(held, finished[:again], noise)
            blocks.append(_record(teacher, start, y[:again], held, config, generator)[0])
    return _join(blocks)


def _record(
    teacher: Field,
    noise: Float[Tensor, " batch *shape"],
    y: Int[Tensor, "batch k"],
    held: Bool[Tensor, " batch *shape"] | None,
    config: ReplayConfig,
    generator: torch.Generator,
) -> tuple[Replay, Float[Tensor, " batch *shape"]]:
    recorder = _Recorder(teacher, [])
    grid = jittered_grid(config.steps, generator).tolist()
    finished = integrate(recorder, noise, y, held=held, grid=grid, method=config.method)
    calls = len(recorder.rows)
    x, t, velocity = (torch.cat([row[i] for row in recorder.rows]) for i in range(3))
    masks = None if held is None else held.repeat(calls, *(1,) * (held.ndim - 1))
    return Replay(Points(x, t, y.repeat(calls, 1), masks), velocity), finished


def _join(blocks: Sequence[Replay]) -> Replay:
    held = None
    if any(b.points.held is not None for b in blocks):
        held = torch.cat(
            [torch.zeros_like(b.points.x, dtype=torch.bool) if b.points.held is None else b.points.held for b in blocks]
        )
    x, t, y = (torch.cat([getattr(b.points, name) for b in blocks]) for name in ("x", "t", "y"))
    return Replay(Points(x, t, y, held), torch.cat([b.velocity for b in blocks]))


def train_student(
    task: Task,
    networks: Sequence[nn.Module],
    histograms: Sequence[LabelHistogram],
    config: StudentConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    snapshot: Callable[[int, nn.Module], None] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Distil the silos' Stage I networks into one student; returns its EMA network on the networks' device.

    Args:
        networks, histograms: one of each a silo, as uploaded.
        origin: what the training comes from, see :func:`~dcfm.trainers.loop.fit`.
    """
    if not networks or len(networks) != len(histograms):
        raise ValueError(f"{len(networks)} networks and {len(histograms)} histograms; give one of each a silo")
    teachers = [parallel.shared(deepcopy(network).requires_grad_(False).eval()) for network in networks]
    device = next(teachers[0].parameters()).device
    torch.manual_seed(seed)
    student = release(deepcopy(networks[0]), task) if config.warm_start else task.network().to(device)
    objective, batch = config.objective, config.loop.batch
    check_pairs(objective, task.space)
    held = LabelHistogram.merge(histograms)

    def independence(network: Field, points: Points, generator: torch.Generator) -> Float[Tensor, ""]:
        if not config.teachers_compose:
            return independence_term(network, points, task.space, objective, generator, held)
        at = independence_points(points, network, task.space, objective.independence, generator, held)
        routing = draw_routing(at.y, histograms, None, generator, pair=at.pair)
        return peer_independence_loss(
            network, teachers, routing, None, at.x, at.t, at.y, task.space.null, at.held, objective.weight, at.pair
        )

    source = _ReplaySource(task, teachers, histograms, config, seed)

    def loss(network: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        points, velocity = source.at(step).draw(batch, generator)
        mask = draw_masks(batch, points.y.shape[1], objective.masks, generator)
        given = apply_mask(points.y, mask, task.space.null)
        terms = {"matching": matching_loss(network, velocity, points.x, points.t, given, points.held, objective.weight)}
        terms["loss"] = terms["matching"]
        if objective.independence.weight > 0:
            terms["independence"] = independence(network, points, generator)
            terms["loss"] = terms["matching"] + objective.independence.weight * terms["independence"]
        return terms

    return fit(
        student,
        loss,
        config.loop,
        seed=seed,
        settings={"config": plain_settings(config)},
        origin=origin,
        checkpoint=checkpoint,
        progress=progress,
        snapshot=snapshot,
    )


class _ReplaySource:
    """The replay block of a step, made when its turn comes."""

    def __init__(
        self,
        task: Task,
        teachers: list[nn.Module],
        histograms: Sequence[LabelHistogram],
        config: StudentConfig,
        seed: int,
    ) -> None:
        self.task, self.teachers, self.histograms, self.config, self.seed = task, teachers, histograms, config, seed
        self.device = next(teachers[0].parameters()).device
        probe = torch.zeros(1, *task.shape, device=self.device)
        holds = task.draw_held(probe, torch.Generator(self.device).manual_seed(0)) is not None
        self.steps_of_block = config.steps_of_block(holds)
        self.number, self.block = -1, None

    def at(self, step: int) -> Replay:
        number = step // self.steps_of_block
        if self.block is None or number != self.number:
            generator = torch.Generator(self.device).manual_seed(derived(self.seed, number))
            self.block = make_replay(self.task, self.teachers, self.histograms, self.config.replay, generator)
            self.number = number
        return self.block
