"""The planner as a task: attribute space, network, and what training holds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace
from dcfm_planner.layout import COLUMNS, STATE_COLUMNS, TRANSITION
from dcfm_planner.network import PlanNetwork
from dcfm_planner.quadrants import SPACE


@dataclass(frozen=True)
class HoldRates:
    """How often training holds what (independent draws).

    Args:
        start: the state at the first step.
        goal: the cube's position at the last step.
        history: where the start is held, also the states of a prefix of uniform length.
        actions: where a history is held, also its actions.
    """

    start: float = 0.65
    goal: float = 0.6
    history: float = 0.35
    actions: float = 0.3


@dataclass(frozen=True)
class PlannerTask:
    """Plans of pick-and-places between quadrants; a :class:`dcfm.task.Task`.

    Args:
        horizon: steps of a plan.
        fold, channels, condition: see :class:`~dcfm_planner.network.PlanNetwork`.
        hold: what training holds.
    """

    horizon: int = 96
    fold: int = 8
    channels: Sequence[int] = (96, 160)
    condition: int = 128
    hold: HoldRates = HoldRates()

    @property
    def space(self) -> AttributeSpace:
        return SPACE

    @property
    def shape(self) -> tuple[int, int]:
        return (self.horizon, TRANSITION)

    def network(self) -> nn.Module:
        """A fresh :class:`~dcfm_planner.network.PlanNetwork`."""
        return PlanNetwork(SPACE.cardinalities, self.horizon, self.fold, tuple(self.channels), self.condition)

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
        draw = torch.rand(batch, 4, generator=generator, device=x1.device)
        length = 1 + (torch.rand(batch, generator=generator, device=x1.device) * (horizon - 8)).long()
        start = draw[:, 0] < self.hold.start
        history = start & (draw[:, 2] < self.hold.history)
        length = torch.where(history, length, start.long())
        steps = torch.arange(horizon, device=x1.device)
        held = torch.zeros_like(x1, dtype=torch.bool)
        held[..., :STATE_COLUMNS] = (steps < length[:, None])[..., None]
        taken = history & (draw[:, 3] < self.hold.actions)
        held[..., COLUMNS["action"].slice] = ((steps < length[:, None] - 1) & taken[:, None])[..., None]
        held[draw[:, 1] < self.hold.goal, -1, COLUMNS["cube_position"].slice] = True
        return held
