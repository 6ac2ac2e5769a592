"""What the three trainers share of their objective: time, masks, and which points and labels the CI term sees."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from dcfm.attributes import AttributeSpace, MaskRates, apply_mask, draw_masks
from dcfm.fields import Field
from dcfm.losses import TimeWeight, draw_pairs, independence_loss, pair_labels, pairwise_independence_loss
from dcfm.path import draw_noise, interpolate, over, target_velocity
from dcfm.task import Task


@dataclass(frozen=True)
class IndependenceConfig:
    """The conditional-independence term.

    Args:
        weight: ``lambda`` of Eqs. 11, 14 and 17; 0 leaves the term out.
        share: share of the batch that the term sees.
        labels: ``own`` takes the batch's own labels; ``global`` draws them uniformly from the whole attribute space,
            combinations that nobody holds included.
        paths: ``batch`` evaluates it at the batch's points ``x_t``; ``own`` on the network's own ODE paths from fresh
            noise, for the term's labels (of a pair of attributes: for these two alone).
        path_steps: Euler steps of such a path.
        pairwise: on a random pair of attributes instead of all (four evaluations, for many attributes).
    """

    weight: float = 1.0
    share: float = 0.25
    labels: str = "global"
    paths: str = "batch"
    path_steps: int = 4
    pairwise: bool = False

    def __post_init__(self) -> None:
        if self.weight < 0 or not 0 < self.share <= 1 or self.path_steps < 1:
            raise ValueError(
                f"CI weight {self.weight} must not be negative, its share {self.share} of the batch must be in (0, 1], "
                f"path_steps {self.path_steps} at least 1"
            )
        if self.labels not in ("own", "global") or self.paths not in ("batch", "own"):
            raise ValueError(
                f"CI labels {self.labels!r} and paths {self.paths!r}: labels are 'own' or 'global', paths 'batch' or "
                "'own'"
            )


@dataclass(frozen=True)
class ObjectiveConfig:
    """What a trainer minimises: masks of Eq. 8, the CI term, and the weight over time (``TimeWeight.power``)."""

    masks: MaskRates = field(default_factory=MaskRates)
    independence: IndependenceConfig = field(default_factory=IndependenceConfig)
    time_power: float = 1.0

    @property
    def weight(self) -> TimeWeight:
        return TimeWeight(self.time_power)


@dataclass(frozen=True)
class Points:
    """Points at which fields are compared: ``x`` at times ``t``, full labels ``y``, held entries, and the ``pair`` of
    attributes that a pairwise CI term is about."""

    x: Float[Tensor, "batch *shape"]
    t: Float[Tensor, " batch"]
    y: Int[Tensor, "batch k"]
    held: Bool[Tensor, "batch *shape"] | None
    pair: Int[Tensor, "batch 2"] | None = None

    def __len__(self) -> int:
        return len(self.t)

    def first(self, number: int) -> "Points":
        """The first ``number`` points; batches are drawn in random order, so these are a random share."""
        rows = slice(number)
        held, pair = (None if part is None else part[rows] for part in (self.held, self.pair))
        return Points(self.x[rows], self.t[rows], self.y[rows], held, pair)


def draw_batch(
    task: Task,
    stored: Shaped[Tensor, "batch ..."],
    y: Int[Tensor, "batch k"],
    objective: ObjectiveConfig,
    generator: torch.Generator,
) -> tuple[Points, Float[Tensor, "batch *shape"], Int[Tensor, "batch k"]]:
    """Points on paths to a silo's samples, the target velocity there (Eq. 3), and labels masked by Eq. 8."""
    x1 = task.prepare(stored, y)
    t = torch.rand(len(y), generator=generator, device=stored.device, dtype=x1.dtype)
    held = task.draw_held(x1, generator)
    x0 = draw_noise(x1, held, generator)
    points = Points(interpolate(x0, x1, t), t, y, held)
    mask = draw_masks(len(y), y.shape[1], objective.masks, generator)
    return points, target_velocity(x0, x1), apply_mask(y, mask, task.space.null)


def independence_points(
    points: Points, network: Field, space: AttributeSpace, config: IndependenceConfig, generator: torch.Generator
) -> Points:
    """Where the CI term is evaluated, and with which labels (see :class:`IndependenceConfig`)."""
    part = points.first(max(1, round(config.share * len(points))))
    y = part.y
    if config.labels == "global":
        y = space.draw_combinations(len(part), generator)
    pair = draw_pairs(y, generator) if config.pairwise else None
    if config.paths == "batch":
        return Points(part.x, part.t, y, part.held, pair)
    asked = y if pair is None else pair_labels(y, space.null, pair)[-1]
    noise = torch.randn(part.x.shape, generator=generator, device=part.x.device, dtype=part.x.dtype)
    x = noise if part.held is None else torch.where(part.held, part.x, noise)
    with torch.no_grad():
        for step in range(config.path_steps):
            share = part.t / config.path_steps
            x = x + over(share, x) * network(x, share * step, asked, part.held)
    return Points(x, part.t, y, part.held, pair)


def independence_term(
    network: Field, points: Points, space: AttributeSpace, objective: ObjectiveConfig, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Eq. 10 or 16 (or its pairwise form) at the points that the configuration asks for."""
    at = independence_points(points, network, space, objective.independence, generator)
    if at.pair is not None:
        return pairwise_independence_loss(network, at.x, at.t, at.y, space.null, at.pair, at.held, objective.weight)
    return independence_loss(network, at.x, at.t, at.y, space.null, at.held, objective.weight)
