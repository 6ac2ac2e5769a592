"""Sampling plans from a field, with any subset of (time, coordinate) entries held.

:meth:`Planner.plan` asks by names and in SI units; :meth:`Planner.sample` is the one below it.

Held entries are chosen at call time: a start state, a goal position, a history with the rest of the horizon to plan.
A warm start replans from a plan that exists: it is carried back to time ``start`` with fresh noise and integrated from
there, at a fraction of the evaluations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm.fields import Field
from dcfm.solvers import integrate
from dcfm_planner.layout import COLUMNS, STATE_COLUMNS, TRANSITION, normalise, state_features
from dcfm_planner.plan import Plan
from dcfm_planner.query import (
    NULL,
    Observation,
    Quadrant,
    batched,
    cube_positions,
    goal_positions,
    labels_at,
    labels_of,
)


@dataclass(frozen=True)
class HeldEntries:
    """Normalised values and where they hold, for a batch of plans. Each method returns a new one."""

    values: Float[Tensor, "batch horizon columns"]
    mask: Bool[Tensor, "batch horizon columns"]

    @classmethod
    def none(cls, batch: int, horizon: int) -> "HeldEntries":
        """Nothing held."""
        return cls(torch.zeros(batch, horizon, TRANSITION), torch.zeros(batch, horizon, TRANSITION, dtype=torch.bool))

    def with_history(
        self,
        states: Float[np.ndarray, "batch steps 12"],
        actions: Float[np.ndarray, "batch steps_before 5"] | None = None,
    ) -> "HeldEntries":
        """Hold the first ``steps`` states (SI units, :func:`~dcfm_planner.layout.state_features`) and the actions
        that were taken in all but the last of them, if given. One step is a start state."""
        values, mask = self.values.clone(), self.mask.clone()
        steps = states.shape[1]
        if not 1 <= steps <= values.shape[1]:
            raise ValueError(f"a history of {steps} steps; it must have 1 to {values.shape[1]} (the horizon)")
        values[:, :steps, :STATE_COLUMNS] = normalise(torch.as_tensor(states, dtype=values.dtype))
        mask[:, :steps, :STATE_COLUMNS] = True
        if actions is not None and actions.shape[1]:
            column = COLUMNS["action"]
            taken = torch.zeros(len(values), actions.shape[1], TRANSITION)
            taken[..., column.slice] = torch.as_tensor(actions, dtype=values.dtype)
            values[:, : actions.shape[1], column.slice] = normalise(taken)[..., column.slice]
            mask[:, : actions.shape[1], column.slice] = True
        return HeldEntries(values, mask)

    def with_goal(self, position: Float[np.ndarray, "batch 3"]) -> "HeldEntries":
        """Hold the cube's position (m) at the last step."""
        values, mask = self.values.clone(), self.mask.clone()
        column = COLUMNS["cube_position"]
        goal = torch.zeros(len(values), TRANSITION)
        goal[:, column.slice] = torch.as_tensor(position, dtype=values.dtype)
        values[:, -1, column.slice] = normalise(goal)[:, column.slice]
        mask[:, -1, column.slice] = True
        return HeldEntries(values, mask)


@dataclass(frozen=True)
class Planner:
    """Samples plans from a field.

    Args:
        field: over normalised plans, ``(batch, horizon, 17)``.
        horizon: steps of a plan.
        steps, method: of the solver, for a plan from scratch.
        device: where the field lives.
    """

    field: Field
    horizon: int
    steps: int = 8
    method: str = "midpoint"
    device: torch.device | str = "cpu"

    def plan(
        self,
        source: Quadrant = None,
        target: Quadrant = None,
        *,
        observation: Observation | None = None,
        goal: Any = None,
        number: int = 1,
        seed: int = 0,
    ) -> Plan:
        """Plans in SI units for what is asked for, any part of which may be left to the planner.

        Args:
            source, target: names of quadrants; for several plans, one for all or one each (``None`` for the default).
                By default the quadrant in which the observed cube or the goal lies, none within
                ``dcfm_planner.query.LABEL_MARGIN`` of a border, and none where neither is given.
            observation: OGBench's state vector to start from, or one a plan; the plan proposes a start if not given.
            goal: an OGBench goal observation (28 numbers) or a cube position (x, y or x, y, z; m), one for all plans
                or one each; the plan proposes a goal if not given.
            number: of plans, where neither a batch of observations nor of names says so.
            seed: of the noise; plan ``i`` of a batch is the same however many there are.

        Raises:
            ValueError: wrong shapes, numbers that do not fit together, or an unknown quadrant.
        """
        observations, single = (None, True) if observation is None else batched(observation)
        sizes = {len(given) for given in (source, target) if given is not None and not isinstance(given, str)}
        if observations is not None and not single:
            sizes.add(len(observations))
        if number != 1:
            sizes.add(number)
        if number < 1:
            raise ValueError(f"number={number}: give at least 1 plan")
        if len(sizes) > 1:
            raise ValueError(f"{sorted(sizes)} plans are asked for at once; give as many names, observations and plans")
        batch = sizes.pop() if sizes else 1
        held, none = HeldEntries.none(batch, self.horizon), np.full(batch, NULL)
        starts, goals = none, none
        if observations is not None:
            observations = np.broadcast_to(observations, (batch, observations.shape[1]))
            held = held.with_history(state_features(observations)[:, None])
            starts = labels_at(cube_positions(observations))
        if goal is not None:
            positions = goal_positions(goal, batch)
            held, goals = held.with_goal(positions), labels_at(positions)
        rows = np.arange(batch)
        labels = np.column_stack([labels_of(source, "source", starts, rows), labels_of(target, "target", goals, rows)])
        noise = [torch.Generator().manual_seed(_seed(seed, row)) for row in range(batch)]
        return self.sample(torch.from_numpy(labels), noise, held)

    @torch.no_grad()
    def sample(
        self,
        labels: Int[Tensor, "batch k"],
        generator: torch.Generator | Sequence[torch.Generator],
        held: HeldEntries | None = None,
        *,
        warm: Plan | None = None,
        start: float = 0.5,
        steps: int | None = None,
    ) -> Plan:
        """One plan a label.

        Args:
            labels: with null tokens.
            generator: on the CPU, so that a seed gives the same noise on every device; one for all plans or one a
                plan, whose noise then does not depend on its companions.
            held: what is held; nothing if not given.
            warm: plans to start from, carried back to time ``start``.
            steps: solver steps; for a warm start the default is that of a plan from scratch times ``1 - start``.
        """
        shape = (self.horizon, TRANSITION)
        if isinstance(generator, torch.Generator):
            noise = torch.randn(len(labels), *shape, generator=generator)
        else:
            noise = torch.stack([torch.randn(shape, generator=g) for g in generator])
        x, begin = noise, 0.0
        if warm is not None:
            x, begin = torch.lerp(noise, warm.normalised.cpu(), start), start
        if held is not None:
            x = torch.where(held.mask, held.values, x)
        number = steps or max(1, round(self.steps * (1 - begin)))
        trajectory = integrate(
            self.field,
            x.to(self.device),
            labels.to(self.device),
            held=None if held is None else held.mask.to(self.device),
            steps=number,
            method=self.method,
            start=begin,
        )
        return Plan.from_normalised(trajectory.cpu())


def _seed(seed: int, row: int) -> int:
    return int(np.random.SeedSequence([seed, row]).generate_state(1, np.uint32)[0])
