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

from dcfm.attributes import AttributeSpace
from dcfm.fields import Field
from dcfm.solvers import integrate
from dcfm_planner.columns import Layout
from dcfm_planner.layout import LAYOUT, state_features
from dcfm_planner.plan import Plan
from dcfm_planner.query import (
    NULL,
    Observation,
    Quadrant,
    batched,
    check_names,
    cube_positions,
    goal_positions,
    labels_at,
    labels_of,
)


@dataclass(frozen=True)
class HeldEntries:
    """Normalised values and where they hold, for a batch of plans of a layout. Each method returns a new one."""

    values: Float[Tensor, "batch horizon columns"]
    mask: Bool[Tensor, "batch horizon columns"]
    layout: Layout = LAYOUT

    @classmethod
    def none(cls, batch: int, horizon: int, layout: Layout = LAYOUT) -> "HeldEntries":
        """Nothing held."""
        shape = (batch, horizon, layout.width)
        return cls(torch.zeros(shape), torch.zeros(shape, dtype=torch.bool), layout)

    def with_history(
        self,
        states: Float[np.ndarray, "batch steps state"],
        actions: Float[np.ndarray, "batch steps_before action"] | None = None,
        lengths: Int[np.ndarray, " batch"] | None = None,
    ) -> "HeldEntries":
        """Hold the first ``steps`` states (SI units; for the cube :func:`~dcfm_planner.layout.state_features`) and the
        actions that were taken in all but the last of them, if given. One step is a start state.

        What is held already and is not part of the history, a goal for instance, stays as it is.

        Args:
            lengths: hold only so many states of a row, and the actions before the last of these.

        Raises:
            ValueError: more states than the horizon has steps, lengths of more states than there are, or another
                number of actions than states less one.
        """
        values, mask = torch.zeros_like(self.values), torch.zeros_like(self.mask)
        steps, state = states.shape[1], self.layout.state
        if not 1 <= steps <= values.shape[1]:
            raise ValueError(f"a history of {steps} steps; it must have 1 to {values.shape[1]} (the horizon)")
        if actions is not None and actions.shape[1] != steps - 1:
            raise ValueError(f"{actions.shape[1]} actions between {steps} states; give {steps - 1}, or none at all")
        if lengths is not None and not ((lengths >= 0) & (lengths <= steps)).all():
            raise ValueError(f"lengths={lengths.tolist()} of a history of {steps} states; give 0 to {steps}")
        length = torch.full((len(values), 1), steps) if lengths is None else torch.from_numpy(lengths)[:, None]
        counted = torch.arange(values.shape[1])
        values[:, :steps, :state] = self.layout.normalise(torch.as_tensor(states, dtype=values.dtype))
        mask[..., :state] |= (counted < length)[..., None]
        if actions is not None and actions.shape[1]:
            values[:, : actions.shape[1], state:] = self._normalised(actions, slice(state, None))
            mask[..., state:] |= (counted < length - 1)[..., None]
        return HeldEntries(torch.where(mask, values, self.values), self.mask | mask, self.layout)

    def with_goal(self, goal: Float[np.ndarray, "batch goal"]) -> "HeldEntries":
        """Hold the layout's goal (SI units; for the cube its position, m) at the last step."""
        values, mask = self.values.clone(), self.mask.clone()
        where = self.layout.columns[self.layout.goal].slice
        values[:, -1, where] = self._normalised(goal, where)
        mask[:, -1, where] = True
        return HeldEntries(values, mask, self.layout)

    def _normalised(self, part: Float[np.ndarray, "*batch width"], where: slice) -> Float[Tensor, "*batch width"]:
        whole = torch.zeros(*part.shape[:-1], self.layout.width)
        whole[..., where] = torch.as_tensor(part, dtype=whole.dtype)
        return self.layout.normalise(whole)[..., where]


@dataclass(frozen=True)
class Planner:
    """Samples plans from a field: :meth:`trajectories` in any layout, :meth:`sample` and :meth:`plan` the cube's.

    Args:
        field: over normalised plans, ``(batch, horizon, layout.width)``.
        horizon: steps of a plan.
        steps, method: of the solver, for a plan from scratch.
        device: where the field lives.
        layout: of a transition.
        space: of the labels, which are checked where it is given.
    """

    field: Field
    horizon: int
    steps: int = 8
    method: str = "midpoint"
    device: torch.device | str = "cpu"
    layout: Layout = LAYOUT
    space: AttributeSpace | None = None

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
            seed: of the noise; that of plan ``i`` of a batch is the same however many there are, the plan up to
                rounding.

        Raises:
            ValueError: wrong shapes, numbers that do not fit together, an unknown quadrant, or plans that are not the
                cube's.
        """
        self.check_cube()
        if not isinstance(number, int | np.integer) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"number={number!r}, seed={seed!r}: give integers, number at least 1, seed at least 0")
        for name, given in (("source", source), ("target", target)):
            check_names(given, name)
        observations, single = (None, True) if observation is None else batched(observation)
        sizes = {len(given) for given in (source, target) if given is not None and not isinstance(given, str)}
        if observations is not None and not single:
            sizes.add(len(observations))
        if number != 1:
            sizes.add(number)
        if number < 1:
            raise ValueError(f"number={number}: give at least 1 plan")
        if 0 in sizes:
            raise ValueError("no names or no observations at all are given; give one or more, or leave them out")
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
        asked = labels_of(source, "source", starts, rows, batch), labels_of(target, "target", goals, rows, batch)
        labels = np.column_stack(asked)
        noise = [torch.Generator().manual_seed(_seed(seed, row)) for row in range(batch)]
        return self.sample(torch.from_numpy(labels), noise, held)

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
            labels, generator, held, start, steps: see :meth:`trajectories`.
            warm: plans to start from, carried back to time ``start``.

        Raises:
            ValueError: plans that are not the cube's, or as :meth:`trajectories`.
        """
        self.check_cube()
        first = None if warm is None else warm.normalised
        return Plan.from_normalised(self.trajectories(labels, generator, held, warm=first, start=start, steps=steps))

    def check_cube(self) -> None:
        """Raise ``ValueError`` unless plans are of the cube, for which alone there is :class:`Plan`."""
        if list(self.layout.columns) != list(LAYOUT.columns):
            raise ValueError(
                f"this planner's plans have the columns {', '.join(self.layout.columns)}, not the cube's; use "
                "trajectories() and layout.parts (docs/own-domain.md)"
            )

    @torch.no_grad()
    def trajectories(
        self,
        labels: Int[Tensor, "batch k"],
        generator: torch.Generator | Sequence[torch.Generator],
        held: HeldEntries | None = None,
        *,
        warm: Float[Tensor, "given horizon columns"] | None = None,
        start: float = 0.5,
        steps: int | None = None,
    ) -> Float[Tensor, "batch horizon columns"]:
        """One normalised trajectory a label, on the CPU.

        Args:
            labels: with null tokens.
            generator: on the CPU, so that a seed gives the same noise on every device; one for all plans or one a
                plan, whose noise then does not depend on its companions.
            held: what is held; nothing if not given.
            warm: normalised trajectories to start from, carried back to time ``start``.
            steps: solver steps; for a warm start the default is that of a plan from scratch times ``1 - start``.

        Raises:
            ValueError: fewer than one step, labels that there are not, or other numbers of labels, generators, held
                plans and plans to start from.
        """
        if self.space is not None:
            self.space.check_labels(labels, null_allowed=True)
        sizes = [len(labels), len(labels) if isinstance(generator, torch.Generator) else len(generator)]
        sizes += [len(given) for given in (None if held is None else held.values, warm) if given is not None]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"{sizes} labels, generators, held plans and plans to start from are given; give as many of each"
            )
        asked = self.steps if steps is None else steps
        if asked < 1:
            raise ValueError(f"steps={asked}: a plan takes at least 1 solver step")
        shape = (self.horizon, self.layout.width)
        if isinstance(generator, torch.Generator):
            noise = torch.randn(len(labels), *shape, generator=generator)
        else:
            noise = torch.stack([torch.randn(shape, generator=g) for g in generator])
        x, begin = noise, 0.0
        if warm is not None:
            x, begin = torch.lerp(noise, warm.cpu(), start), start
        if held is not None:
            x = torch.where(held.mask, held.values, x)
        number = asked if steps is not None else max(1, round(asked * (1 - begin)))
        return integrate(
            self.field,
            x.to(self.device),
            labels.to(self.device),
            held=None if held is None else held.mask.to(self.device),
            steps=number,
            method=self.method,
            start=begin,
        ).cpu()


def _seed(seed: int, row: int) -> int:
    return int(np.random.SeedSequence([seed, row]).generate_state(1, np.uint32)[0])
