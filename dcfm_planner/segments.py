"""Play data cut into segments, one pick-and-place each, and segments turned into training trajectories.

Segments are found from the cube's own motion, so that play without any marks of its oracle can be cut. While a cube is
in the air its centre is more than ``LIFT_HEIGHT`` above where it rests; a *flight* is a run of such steps (shorter
breaks, such as a bounce, belong to it), and each flight is one pick-and-place. OGBench's oracle closes the gripper at
1.4 s +- 0.08 s of its plan, so the cube leaves the floor ``APPROACH_STEPS`` = 31 +- 2 steps after the plan's first;
it ends the plan ``RETREAT_STEPS`` = 23 +- 4 steps after the cube's last step in the air. The cube's motion alone thus
gives every boundary to 2 steps.

Within that window the recorded actions say more: a plan sets off from where the effector is, so the commanded motion
drops to almost nothing in a plan's first step. The boundary is put at the largest drop of the action's length
``|a_{t-1}| - |a_t|``. Measured against the oracle's marks on 500 episodes (5,500 plans, seed 0): boundaries from the
cube's motion alone are within 2 steps always and exact in 37 %; refined, every segment starts and stops exactly at the
marks. The 0.6 % of plans without a segment are failed grasps, which carry nothing. ``agreement`` measures it.

Row ``h`` of a trajectory is [state at step h, action taken at step h].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dcfm_envs.play_data import PlayData
from dcfm_envs.scene import CONTROL_PERIOD, CUBE_REST_HEIGHT, POSITION_SCALE, SCENE_CENTRE
from dcfm_planner.layout import STATE_COLUMNS, TRANSITION, normalise, state_features
from dcfm_planner.quadrants import border_distance, quadrant_of

HORIZON: Final = 96
"""Rows of a trajectory: one cycle of the oracle has 86 to 90 steps, and 96 halves well."""

LIFT_HEIGHT: Final = 0.01
"""m above rest from which the cube counts as in the air; pushes on grasp and release stay below 5 mm."""

SAME_FLIGHT_STEPS: Final = 15
"""Fewer steps than this between two spells in the air belong to one flight (0.75 s: no oracle releases, retreats,
returns and lifts in less than twice that)."""

SHORTEST_FLIGHT: Final = 10
"""Steps in the air below which the cube was knocked over, not carried; a plan carries it for more than 30."""

APPROACH_STEPS: Final = 31
"""Steps from the first of a pick-and-place to the cube's first in the air."""

RETREAT_STEPS: Final = 23
"""Steps from the cube's last in the air to the first of what follows the pick-and-place."""

START_TOLERANCE: Final = 3
"""Steps about ``lift - APPROACH_STEPS`` among which the boundary is refined; a start agrees with the oracle's mark when
it is at most this many steps away."""

STOP_TOLERANCE: Final = 5
"""The same about ``drop + RETREAT_STEPS``, where no later flight tells the boundary."""

SHORTEST_PLAN: Final = 60
"""Steps between an expected stop and the next start from which another plan (one that failed to lift the cube) must lie
between them; a plan has at least 86. Nearer starts are the stop itself: the cube slipped, and the plan went on."""

REST_SPEED: Final = 0.02
"""m/s below which the cube is at rest."""

_MOTION: Final = slice(0, 4)
"""The action's columns that move the effector (position and yaw)."""


def _cube_position(play: PlayData) -> Float[np.ndarray, "n 3"]:
    return np.asarray(play.part("cube_position") / POSITION_SCALE + SCENE_CENTRE, dtype=np.float64)


def find_flights(height: Float[np.ndarray, " steps"]) -> Int[np.ndarray, "flights 2"]:
    """First and last step in the air of each flight in one episode, from the cube's heights (m)."""
    aloft = np.flatnonzero(height > CUBE_REST_HEIGHT + LIFT_HEIGHT)
    if not len(aloft):
        return np.zeros((0, 2), dtype=np.int64)
    breaks = np.flatnonzero(np.diff(aloft) > SAME_FLIGHT_STEPS)
    firsts = aloft[np.concatenate([[0], breaks + 1])]
    lasts = aloft[np.concatenate([breaks, [len(aloft) - 1]])]
    flights = np.stack([firsts, lasts], axis=1).astype(np.int64)
    return flights[lasts - firsts >= SHORTEST_FLIGHT]


def _refine(effort: Float[np.ndarray, " steps"], expected: int, tolerance: int) -> int:
    """The step within ``tolerance`` of ``expected`` at which the commanded motion drops most."""
    candidates = np.arange(max(1, expected - tolerance), min(len(effort) - 1, expected + tolerance) + 1)
    return int(candidates[np.argmax(effort[candidates - 1] - effort[candidates])]) if len(candidates) else expected


def _episode_segments(height: Float[np.ndarray, " steps"], effort: Float[np.ndarray, " steps"]) -> list[list[int]]:
    """Start and stop of each whole segment of one episode."""
    flights, steps, segments = find_flights(height), len(height), []
    starts: list[int] = []
    for k, (lift, _) in enumerate(flights):
        expected = int(lift) - APPROACH_STEPS
        # An episode begins with a plan's first step, before which there is no action that could drop.
        start = 0 if expected <= START_TOLERANCE else _refine(effort, expected, START_TOLERANCE)
        # A cube that is dropped may be lifted again at once; what carried it before the drop belongs to that flight.
        starts.append(start if k == 0 else max(start, int(flights[k - 1, 1]) + 1))
    for k, (_, drop) in enumerate(flights):
        expected = int(drop) + RETREAT_STEPS
        if k + 1 < len(flights) and starts[k + 1] - expected < SHORTEST_PLAN:
            stop = starts[k + 1]
        elif expected < steps:
            stop = _refine(effort, expected, STOP_TOLERANCE)
        else:
            continue  # the episode ends before the effector has retreated
        segments.append([starts[k], stop])
    return segments


def find_segments(play: PlayData) -> Int[np.ndarray, "m 2"]:
    """First row, and one past the last row, of every whole pick-and-place, in order.

    A plan of the oracle that never lifted the cube (a failed grasp) is no pick-and-place, and neither is one that the
    end of an episode cut off.
    """
    return _whole_and_cut_off(play)[0]


def _whole_and_cut_off(play: PlayData) -> tuple[Int[np.ndarray, "m 2"], int]:
    """The segments, and how many pick-and-places the end of an episode cut off."""
    height = _cube_position(play)[:, 2]
    effort = np.linalg.norm(play.actions[:, _MOTION].astype(np.float64), axis=1)
    segments, cut_off = [], 0
    for first, last in play.episodes():
        whole = _episode_segments(height[first:last], effort[first:last])
        cut_off += len(find_flights(height[first:last])) - len(whole)
        segments += [[first + start, first + stop] for start, stop in whole]
    return np.asarray(segments, dtype=np.int64).reshape(-1, 2), cut_off


@dataclass(frozen=True)
class Agreement:
    """How segments compare with an oracle's marks.

    Attributes:
        plans: plans that the oracle finished.
        found: plans matched one to one by a segment whose start and stop lie within the tolerance of the marks.
        exact: those whose start and stop are the marks.
        spurious: segments that match no plan.
    """

    plans: int
    found: int
    exact: int
    spurious: int

    @property
    def rate(self) -> float:
        """Matched plans in all that the oracle finished or a segment claims."""
        return self.found / max(1, self.plans + self.spurious)


def agreement(
    play: PlayData, segments: Int[np.ndarray, "m 2"], marks: Int[np.ndarray, " marks"], tolerance: int = START_TOLERANCE
) -> Agreement:
    """Compare segments with the rows at which the oracle began its plans (``starts`` of a ``-marks.npz`` file).

    A plan lasts from its mark to the next in the same episode; the last of an episode was cut off and counts as
    neither found nor missed. A plan that failed to lift the cube counts, and no segment matches it.
    """
    plans = []
    for first, last in play.episodes():
        here = marks[(marks >= first) & (marks < last)]
        plans += zip(here[:-1].tolist(), here[1:].tolist(), strict=True)
    table = np.asarray(plans, dtype=np.int64).reshape(-1, 2)
    taken: set[int] = set()
    found = exact = 0
    for segment in segments:
        if not len(table):
            break
        nearest = int(np.abs(table - segment).max(axis=1).argmin())
        miss = int(np.abs(table[nearest] - segment).max())
        if miss <= tolerance and nearest not in taken:
            taken.add(nearest)
            found += 1
            exact += miss == 0
    return Agreement(plans=len(table), found=found, exact=int(exact), spurious=len(segments) - found)


@dataclass(frozen=True)
class SegmentSet:
    """Segments as training trajectories.

    Attributes:
        trajectories: normalised transitions (``dcfm_planner.layout``), float32.
        labels: quadrants of the cube's first and last position (``dcfm_planner.quadrants``).
        lengths: rows of each trajectory before the padding.
        rows: first row, and one past the last, of each segment in the play data.
        counts: how many segments were found, kept, and dropped for which reason; ``ended early`` are pick-and-places
            besides, which the end of an episode cut off.
    """

    trajectories: Float[Tensor, "m horizon 17"]
    labels: Int[Tensor, "m 2"]
    lengths: Int[Tensor, " m"]
    rows: Int[Tensor, "m 2"]
    counts: dict[str, int]

    def __len__(self) -> int:
        return len(self.trajectories)

    def __getitem__(self, index: Tensor | slice) -> SegmentSet:
        """A part; ``counts`` stays that of the whole."""
        return SegmentSet(
            self.trajectories[index], self.labels[index], self.lengths[index], self.rows[index], self.counts
        )


def cut(play: PlayData, horizon: int = HORIZON, border_margin: float = 0.01) -> SegmentSet:
    """Cut play data into trajectories of ``horizon`` rows.

    A shorter segment is padded with the state after its last action and actions of zero; a longer one loses its end
    where the cube was put down and rests by then. Dropped are segments in which the cube, at the start or the end, is
    off the floor, or within ``border_margin`` of a border between quadrants, where a label says little; in which it
    moves at the end (longer ones: at the horizon); and longer ones in which it is not put down before the horizon, or
    not even lifted.

    Args:
        play: consecutive episodes.
        horizon: rows of a trajectory.
        border_margin: m.

    Raises:
        ValueError: ``horizon`` below 1, ``border_margin`` negative, or no segment left.
    """
    if horizon < 1 or not border_margin >= 0:
        raise ValueError(
            f"cannot cut with horizon={horizon} and border_margin={border_margin}: give a horizon of at least 1 row "
            f"({HORIZON} covers one cycle of the oracle) and a margin of at least 0 m"
        )
    segments, cut_off = _whole_and_cut_off(play)
    cube = _cube_position(play)
    ends = np.zeros(len(play), dtype=np.int64)
    for first, last in play.episodes():
        ends[first:last] = last
    moved = np.linalg.norm(np.diff(cube, axis=0, prepend=cube[:1]), axis=1) / CONTROL_PERIOD
    reasons = ("slipped", "not put down", "not at rest", "near a border", "cut short")
    counts = {"found": len(segments), "kept": 0, **dict.fromkeys(reasons, 0), "ended early": cut_off}
    resting = (np.abs(cube[:, 2] - CUBE_REST_HEIGHT) < LIFT_HEIGHT / 2) & (moved <= REST_SPEED)
    enough: list[int] = []  # rows that would have done, of those not put down
    features = np.concatenate([state_features(play.observations.astype(np.float64)), play.actions], axis=1)
    trajectories, labels, lengths, rows = [], [], [], []
    for start, stop in segments.tolist():
        length = min(stop - start, horizon)
        last = min(start + length, int(ends[start]) - 1)  # the row of the state after the last action
        both = cube[[start, last]]
        on_floor = np.abs(both[:, 2] - CUBE_REST_HEIGHT) < LIFT_HEIGHT / 2
        aloft = start + find_flights(cube[start:stop, 2])[-1, 1]
        if stop - aloft > RETREAT_STEPS + STOP_TOLERANCE:
            counts["slipped"] += 1
            continue
        if last <= aloft and stop - start > horizon:
            counts["not put down"] += 1
            rests = np.flatnonzero(resting[aloft + 1 : stop])
            enough.append(int(aloft + 1 - start + (rests[0] if len(rests) else 0)))
            continue
        if not on_floor.all() or moved[last] > REST_SPEED:
            counts["not at rest"] += 1
            continue
        if float(border_distance(both).min()) < border_margin:
            counts["near a border"] += 1
            continue
        counts["cut short"] += stop - start > horizon
        trajectory = np.zeros((horizon, TRANSITION))
        trajectory[:length] = features[start : start + length]
        trajectory[length:, :STATE_COLUMNS] = features[last, :STATE_COLUMNS]
        trajectories.append(trajectory.astype(np.float32))
        labels.append(quadrant_of(both))
        lengths.append(length)
        rows.append([start, stop])
    if not trajectories and 2 * len(enough) > len(segments):
        raise ValueError(
            f"no segment is left to train on ({counts}): in most the cube is not put down within "
            f"task.horizon={horizon} rows; {int(np.median(enough))} are the least that would do for half of these, and "
            f"{HORIZON} cover one cycle of the oracle"
        )
    if not trajectories and 2 * cut_off > len(segments) + cut_off:
        raise ValueError(
            f"no segment is left to train on ({counts}): in {cut_off} of {len(segments) + cut_off} pick-and-places the "
            f"episode ends before {RETREAT_STEPS} rows after the put-down; record a little longer"
        )
    if not trajectories:
        raise ValueError(
            f"no segment is left to train on ({counts}): give more play data (python scripts/collect.py) or a border "
            f"margin smaller than {border_margin} m"
        )
    counts["kept"] = len(trajectories)
    return SegmentSet(
        trajectories=normalise(torch.from_numpy(np.stack(trajectories))),
        labels=torch.from_numpy(np.stack(labels)),
        lengths=torch.tensor(lengths),
        rows=torch.tensor(rows),
        counts=counts,
    )
