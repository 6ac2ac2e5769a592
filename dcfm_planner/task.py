"""A planner's task: a domain's attribute space and network, and what training holds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace
from dcfm_planner.domain import Domain
from dcfm_planner.domains.cube import CUBE


@dataclass(frozen=True)
class HoldRates:
    """How often training holds what (independent draws).

    Args:
        start: the state at the first step.
        goal: the goal (for the cube its position) at the last step.
        history: where the start is held, also the states of a prefix of uniform length, at most all rows but eight.
        actions: where a history is held, also its actions.

    Raises:
        ValueError: a rate that is no share.
    """

    start: float = 0.65
    goal: float = 0.6
    history: float = 0.35
    actions: float = 0.3

    def __post_init__(self) -> None:
        if wrong := {name: rate for name, rate in asdict(self).items() if not 0 <= rate <= 1}:
            raise ValueError(f"hold rates {wrong}: give shares from 0 to 1")


@dataclass(frozen=True)
class PlannerTask:
    """Plans in a domain; a :class:`dcfm.task.Task`.

    Args:
        horizon: steps of a plan.
        fold, channels, condition: sizes of the domain's network, see :class:`~dcfm_planner.network.PlanNetwork`.
        hold: what training holds.
        domain: pick-and-places between quadrants if not given.
    """

    horizon: int = 96
    fold: int = 8
    channels: Sequence[int] = (96, 160)
    condition: int = 128
    hold: HoldRates = HoldRates()
    domain: Domain = CUBE

    @property
    def space(self) -> AttributeSpace:
        return self.domain.space

    @property
    def shape(self) -> tuple[int, int]:
        return (self.horizon, self.domain.layout.width)

    def network(self) -> nn.Module:
        """A fresh network of the domain."""
        return self.domain.network(self.horizon, self.fold, tuple(self.channels), self.condition)

    def prepare(
        self, stored: Float[Tensor, "batch horizon columns"], y: Int[Tensor, "batch k"]
    ) -> Float[Tensor, "batch horizon columns"]:
        """Silos store normalised plans."""
        return stored

    def draw_held(
        self, x1: Float[Tensor, "batch horizon columns"], generator: torch.Generator
    ) -> Bool[Tensor, "batch horizon columns"]:
        """Start states, goals and histories, as :class:`HoldRates` says."""
        batch, horizon, _ = x1.shape
        layout = self.domain.layout
        draw = torch.rand(batch, 4, generator=generator, device=x1.device)
        longest = max(1, horizon - 8)  # of a shorter plan the start alone is held
        length = 1 + (torch.rand(batch, generator=generator, device=x1.device) * longest).long()
        start = draw[:, 0] < self.hold.start
        history = start & (draw[:, 2] < self.hold.history)
        length = torch.where(history, length, start.long())
        steps = torch.arange(horizon, device=x1.device)
        held = torch.zeros_like(x1, dtype=torch.bool)
        held[..., : layout.state] = (steps < length[:, None])[..., None]
        taken = history & (draw[:, 3] < self.hold.actions)
        held[..., layout.state :] = ((steps < length[:, None] - 1) & taken[:, None])[..., None]
        held[draw[:, 1] < self.hold.goal, -1, layout.columns[layout.goal].slice] = True
        return held
