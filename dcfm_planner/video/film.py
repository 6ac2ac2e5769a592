"""From recordings to pictures in order: every so many steps one, captioned, and several recordings side by side."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from jaxtyping import UInt8

from dcfm_envs.scene import CONTROL_PERIOD
from dcfm_planner.video import stage as scene
from dcfm_planner.video.caption import GREEN, RED, WHITE, Rgb, Text, caption
from dcfm_planner.video.recording import Recording
from dcfm_planner.video.stage import Colour, Stage

Frame = UInt8[np.ndarray, "height width 3"]

HOLD: Final = 1.0
"""Seconds for which the first and the last picture stay."""

_LEGEND: Final = {
    "planned cube": scene.PLANNED_CUBE,
    "planned effector": scene.PLANNED_EFFECTOR,
    "executed cube": scene.EXECUTED_CUBE,
    "goal, 4 cm around": scene.GOAL,
}


def frames_per_second(every: int) -> float:
    """With which a film with a picture every so many steps plays in real time.

    Raises:
        ValueError: fewer than one step a picture.
    """
    if every < 1:
        raise ValueError(f"every={every}: give at least 1 step a picture")
    return 1 / (CONTROL_PERIOD * every)


def steps_shown(recording: Recording, every: int) -> list[int]:
    """Steps of which there is a picture: every so many, and the last one."""
    last = len(recording.qpos) - 1
    return [*range(0, last, every), last]


def pictures(recording: Recording, stage: Stage, every: int = 2) -> Iterator[Frame]:
    """A recording's pictures, without those that are held."""
    for step in steps_shown(recording, every):
        plan = recording.plan_at(step)
        with stage.at(recording.qpos[step]) as sketch:
            sketch.quadrants()
            sketch.goal(recording.goal)
            sketch.path(plan.effector_position[0], scene.PLANNED_EFFECTOR)
            sketch.path(plan.cube_position[0], scene.PLANNED_CUBE)
            sketch.path(recording.cube[: step + 1], scene.EXECUTED_CUBE)
            picture = sketch.picture()
        yield caption(picture, text(recording, step))


def text(recording: Recording, step: int) -> list[list[Text]]:
    """The caption of a step: query and whose plan, feasibility, how it stands, and what the colours mean."""
    trial = recording.trial
    verdict = ("plan feasible", GREEN) if trial.feasible else (f"plan infeasible: {'; '.join(trial.reasons)}", RED)
    over = recording.executed and step == len(recording.qpos) - 1
    colour = WHITE if not over else GREEN if trial.success else RED
    return [
        [(f"{trial.source} to {trial.target} ({trial.cell})   ", WHITE), (recording.title, WHITE)],
        [verdict],
        [(recording.status_at(step), colour)],
        [(f"{name}   ", _rgb(value)) for name, value in _LEGEND.items()],
    ]


def _rgb(colour: Colour) -> Rgb:
    red, green, blue = (round(255 * part) for part in colour[:3])
    return red, green, blue


def hold_ends(frames: Sequence[Frame], every: int) -> list[Frame]:
    """The first and the last picture stay for a while."""
    number = round(HOLD * frames_per_second(every))
    return [frames[0]] * number + list(frames) + [frames[-1]] * number


def side_by_side(films: Sequence[Sequence[Frame]], columns: int) -> list[UInt8[np.ndarray, "tall wide 3"]]:
    """Films as one, row by row; a film that is over stays at its last picture, and places left over are black.

    Args:
        films: pictures of one size.
        columns: films in a row.

    Raises:
        ValueError: no film, or no column.
    """
    if not films or columns < 1:
        raise ValueError(f"{len(films)} films in {columns} columns: give at least one of each")
    columns = min(columns, len(films))
    empty = np.zeros_like(films[0][0])
    joined = []
    for time in range(max(map(len, films))):
        tiles = [film[min(time, len(film) - 1)] for film in films]
        tiles += [empty] * (-len(tiles) % columns)
        rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
        joined.append(np.concatenate(rows))
    return joined
