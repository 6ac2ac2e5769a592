"""Whether a plan can be executed as a plan of what was asked for: a result with reasons, from the plan's arrays alone.

Five checks: the cube lies on the floor at both ends, starts in the quadrant asked for, ends in the quadrant asked for,
both ends lie inside the workspace - the box that OGBench clips effector targets to, so that the fingers can get there -
and the effector starts where the environment can put it. Where the effector goes in between is not judged here: OGBench
clips it, and the rollout shows what comes of that.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int

from dcfm_envs.placement import OVERSHOOT
from dcfm_envs.scene import CUBE_REST_HEIGHT, EFFECTOR_BOUNDS
from dcfm_planner.plan import Plan
from dcfm_planner.quadrants import QUADRANTS, quadrant_of

FLOOR_TOLERANCE: Final = 0.01
"""m by which the cube's height at either end may differ from that of a cube at rest: a quarter of its edge."""

EFFECTOR_SLACK: Final = OVERSHOOT
"""m by which the effector may start outside ``EFFECTOR_BOUNDS``: it overshoots its targets a little, and the
environment's reset takes no more."""


@dataclass(frozen=True)
class Feasibility:
    """What was found for one plan; true where nothing speaks against it.

    Attributes:
        on_floor: the cube lies on the floor at both ends.
        source: it starts in the quadrant asked for (true where none was).
        target: it ends in the quadrant asked for (true where none was).
        workspace: start and goal lie inside the workspace.
        effector: the effector starts inside its bounds.
        reasons: a sentence for each check that failed.
    """

    on_floor: bool
    source: bool
    target: bool
    workspace: bool
    effector: bool
    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.reasons


def check(plan: Plan, labels: Int[np.ndarray, "batch 2"] | None = None) -> list[Feasibility]:
    """Check every plan of a batch.

    Args:
        plan: a batch.
        labels: the quadrants asked for, source and target; the null token (4) asks for none. All null if not given.

    Raises:
        ValueError: not one pair of labels a plan, or labels that there are not.
    """
    null = len(QUADRANTS)
    labels = np.full((len(plan), 2), null, dtype=np.int64) if labels is None else np.asarray(labels)
    if labels.shape != (len(plan), 2):
        raise ValueError(f"labels of shape {labels.shape} for {len(plan)} plans; give one (source, target) a plan")
    if unknown := sorted(set(labels[~np.isin(labels, np.arange(null + 1))].tolist())):
        raise ValueError(f"labels {unknown}: give 0 to {null - 1} for {', '.join(QUADRANTS)}, or {null} for none")
    return [_check_one(plan, row, labels[row]) for row in range(len(plan))]


def _check_one(plan: Plan, row: int, labels: Int[np.ndarray, "2"]) -> Feasibility:
    ends = np.stack([plan.start[row], plan.goal[row]])
    reasons = []

    on_floor = np.abs(ends[:, 2] - CUBE_REST_HEIGHT) <= FLOOR_TOLERANCE
    for where, height, good in zip(("start", "goal"), ends[:, 2], on_floor, strict=True):
        if not good:
            reasons.append(
                f"the cube's {where} is {height:.3f} m high; at rest on the floor it is {CUBE_REST_HEIGHT} m "
                f"(+- {FLOOR_TOLERANCE} m)"
            )

    asked_for = labels < len(QUADRANTS)
    found = quadrant_of(ends)
    in_quadrant = (found == labels) | ~asked_for
    for verb, i in (("starts", 0), ("ends", 1)):
        if not in_quadrant[i]:
            reasons.append(f"the cube {verb} in {QUADRANTS[found[i]]}; {QUADRANTS[labels[i]]} was asked for")

    box = EFFECTOR_BOUNDS[:, :2]
    outside = ~(_excess(ends[:, :2], box) <= 0)  # NaN included
    for where, position, bad in zip(("start", "goal"), ends, outside, strict=True):
        if bad:
            reasons.append(
                f"the cube's {where} ({position[0]:.3f}, {position[1]:.3f}) m lies outside the workspace {box.tolist()}"
            )

    excess = float(_excess(plan.effector_position[row, 0], EFFECTOR_BOUNDS))
    if not excess <= EFFECTOR_SLACK:  # NaN included
        reasons.append(
            f"the effector starts {excess:.3f} m outside its bounds {EFFECTOR_BOUNDS.tolist()}; {EFFECTOR_SLACK} m is "
            "allowed"
        )
    return Feasibility(
        on_floor=bool(on_floor.all()),
        source=bool(in_quadrant[0]),
        target=bool(in_quadrant[1]),
        workspace=not bool(outside.any()),
        effector=excess <= EFFECTOR_SLACK,
        reasons=tuple(reasons),
    )


def _excess(positions: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """How far (m) each position lies outside a box, along the worst axis; not above 0 inside."""
    return np.asarray(np.maximum(bounds[0] - positions, positions - bounds[1]).max(axis=-1))
