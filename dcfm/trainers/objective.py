"""What the three trainers share of their objective: time, masks, and which points and labels the CI term sees."""

import math
from dataclasses import dataclass, field
from typing import Final

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from dcfm.attributes import AttributeSpace, MaskRates, apply_mask, draw_masks, is_among
from dcfm.fields import Field
from dcfm.losses import TimeWeight, draw_pairs, independence_loss, pair_labels, pairwise_independence_loss
from dcfm.path import draw_noise, interpolate, over, target_velocity
from dcfm.silos import LabelHistogram
from dcfm.task import Task


@dataclass(frozen=True)
class IndependenceConfig:
    """The conditional-independence term.

    Args:
        weight: ``lambda`` of Eqs. 11, 14 and 17; 0 leaves the term out.
        share: share of the batch that the term sees.
        labels: ``own`` takes the batch's own labels; ``global`` draws them uniformly from the whole attribute space,
            combinations that nobody holds included; ``held`` from the labels of all silos that take part, by the
            square root of their counts, so that rare ones occur.
        paths: ``batch`` evaluates it at the batch's points ``x_t``; ``own`` on the network's own ODE paths from fresh
            noise, for the term's labels (of a pair of attributes: for the label with both).
        path_steps: Euler steps of such a path.
        pairwise: on a random pair of attributes instead of all (four evaluations, for many attributes).
        contrast: such a pair between whole labels, none of them null: a label that is held, the same with one of two
            attributes changed, with the other changed, with both (:func:`draw_contrast`); labels ``own`` or ``held``.
    """

    weight: float = 1.0
    share: float = 0.25
    labels: str = "global"
    paths: str = "batch"
    path_steps: int = 4
    pairwise: bool = False
    contrast: bool | None = None  # nothing, rather than false, leaves older settings as they were written

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf or not 0 < self.share <= 1 or self.path_steps < 1:
            raise ValueError(
                f"CI weight {self.weight} must be finite and must not be negative, its share {self.share} of the batch "
                f"must be in (0, 1], path_steps {self.path_steps} at least 1"
            )
        if self.labels not in ("own", "global", "held") or self.paths not in ("batch", "own"):
            raise ValueError(
                f"CI labels {self.labels!r} and paths {self.paths!r}: labels are 'own', 'global' or 'held', paths "
                "'batch' or 'own'"
            )
        if self.contrast and (not self.pairwise or self.labels == "global"):
            raise ValueError(
                f"contrast: true starts from a label that is held and changes a pair of its attributes; set pairwise: "
                f"true and labels: own or held (now {self.pairwise} and {self.labels!r}), or leave contrast out"
            )


@dataclass(frozen=True)
class ObjectiveConfig:
    """What a trainer minimises: masks of Eq. 8, the CI term, and the weight over time (``TimeWeight.power``)."""

    masks: MaskRates = field(default_factory=MaskRates)
    independence: IndependenceConfig = field(default_factory=IndependenceConfig)
    time_power: float = 1.0

    def __post_init__(self) -> None:
        _ = self.weight  # checks it

    @property
    def weight(self) -> TimeWeight:
        return TimeWeight(self.time_power)


def own_labels() -> ObjectiveConfig:
    """A silo's objective unless another is given: the CI term of Eq. 10 for the labels of its own batch, since it has
    learned nothing of values that it does not hold."""
    return ObjectiveConfig(independence=IndependenceConfig(labels="own"))


def check_pairs(objective: ObjectiveConfig, space: AttributeSpace) -> None:
    """Raise ``ValueError`` where a CI term on pairs of attributes would be about labels that nothing else trains."""
    term = objective.independence
    if term.weight > 0 and term.pairwise and not term.contrast and space.size > 2 and not objective.masks.pair:
        raise ValueError(
            f"pairwise: true asks for labels of two of the {space.size} attributes, and masks.pair=0 trains the "
            "network on none; give masks.pair a share, e.g. 0.15, or set contrast: true or pairwise: false"
        )


@dataclass(frozen=True)
class Points:
    """Points at which fields are compared: ``x`` at times ``t``, full labels ``y``, held entries, and the four labels
    of the ``pair`` of attributes that a pairwise CI term is about (:func:`~dcfm.losses.pair_labels`)."""

    x: Float[Tensor, " batch *shape"]
    t: Float[Tensor, " batch"]
    y: Int[Tensor, "batch k"]
    held: Bool[Tensor, " batch *shape"] | None
    pair: Int[Tensor, "4 batch k"] | None = None

    def __len__(self) -> int:
        return len(self.t)

    def first(self, number: int) -> "Points":
        """The first ``number`` points; batches are drawn in random order, so these are a random share."""
        held = None if self.held is None else self.held[:number]
        pair = None if self.pair is None else self.pair[:, :number]
        return Points(self.x[:number], self.t[:number], self.y[:number], held, pair)


def draw_batch(
    task: Task,
    stored: Shaped[Tensor, "batch ..."],
    y: Int[Tensor, "batch k"],
    objective: ObjectiveConfig,
    generator: torch.Generator,
) -> tuple[Points, Float[Tensor, " batch *shape"], Int[Tensor, "batch k"]]:
    """Points on paths to a silo's samples, the target velocity there (Eq. 3), and labels masked by Eq. 8."""
    x1 = task.prepare(stored, y)
    t = torch.rand(len(y), generator=generator, device=stored.device, dtype=x1.dtype)
    held = task.draw_held(x1, generator)
    x0 = draw_noise(x1, held, generator)
    points = Points(interpolate(x0, x1, t), t, y, held)
    mask = draw_masks(len(y), y.shape[1], objective.masks, generator)
    return points, target_velocity(x0, x1), apply_mask(y, mask, task.space.null)


CANDIDATES: Final = 16
"""Pairs of attributes among which a contrast looks for one whose single changes are known."""


def draw_contrast(
    y: Int[Tensor, "batch k"],
    space: AttributeSpace,
    known: Int[Tensor, "m k"],
    generator: torch.Generator,
) -> Int[Tensor, "4 batch k"]:
    """The labels of a contrast: ``y``; with one of two random attributes changed to a random other value; with the
    other changed; with both.

    Of :data:`CANDIDATES` draws the first is taken of which both single changes are ``known`` labels and the double one
    is not: three labels that are learned from data say what the fourth must be, and where there is data of the fourth
    it speaks for itself. Without such a draw, one of known single changes is taken, then any.
    """
    labels = y.repeat(CANDIDATES, 1)
    shift = torch.stack(
        [
            torch.randint(1, n, (len(labels),), generator=generator, device=generator.device)
            for n in space.cardinalities
        ],
        dim=1,
    ).to(y.device)
    changed = (labels + shift) % torch.tensor(space.cardinalities, device=y.device)
    terms = pair_labels(changed, labels, draw_pairs(labels, generator))
    supported = is_among(terms[1], known) & is_among(terms[2], known)
    rank = supported.int() + (supported & ~is_among(terms[3], known)).int()
    chosen = rank.reshape(CANDIDATES, len(y)).argmax(0) * len(y) + torch.arange(len(y), device=y.device)
    return terms[:, chosen]


def independence_points(
    points: Points,
    network: Field,
    space: AttributeSpace,
    config: IndependenceConfig,
    generator: torch.Generator,
    histogram: LabelHistogram | None = None,
) -> Points:
    """Where the CI term is evaluated, and with which labels (see :class:`IndependenceConfig`); ``histogram``: of all
    labels that are held, which those of ``points`` stand for if there is none."""
    part = points.first(max(1, round(config.share * len(points))))
    y = part.y
    if config.labels == "global":
        y = space.draw_combinations(len(part), generator)
    elif config.labels == "held" and histogram is not None:
        y = histogram.sample(len(part), generator, power=0.5)
    pair = None
    if config.contrast:
        pair = draw_contrast(y, space, y if histogram is None else histogram.combinations.to(y.device), generator)
    elif config.pairwise:
        pair = pair_labels(y, space.null, draw_pairs(y, generator))
    if config.paths == "batch":
        return Points(part.x, part.t, y, part.held, pair)
    asked = y if pair is None else pair[-1]
    noise = torch.randn(part.x.shape, generator=generator, device=part.x.device, dtype=part.x.dtype)
    x = noise if part.held is None else torch.where(part.held, part.x, noise)
    with torch.no_grad():
        for step in range(config.path_steps):
            share = part.t / config.path_steps
            x = x + over(share, x) * network(x, share * step, asked, part.held)
    return Points(x, part.t, y, part.held, pair)


def independence_term(
    network: Field,
    points: Points,
    space: AttributeSpace,
    objective: ObjectiveConfig,
    generator: torch.Generator,
    histogram: LabelHistogram | None = None,
) -> Float[Tensor, ""]:
    """Eq. 10 or 16 (or its pairwise form) at the points that the configuration asks for."""
    at = independence_points(points, network, space, objective.independence, generator, histogram)
    if at.pair is not None:
        return pairwise_independence_loss(network, at.x, at.t, at.pair, at.held, objective.weight)
    return independence_loss(network, at.x, at.t, at.y, space.null, at.held, objective.weight)
