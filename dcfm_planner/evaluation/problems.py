"""Problems: what is asked for, seeded, and spread evenly over the pairs of each cell, known and novel.

``paper``: a problem is a pair of quadrants and a noise seed; the plan proposes where to start and where to end.
``given``: start states and goals are fixed, in a file with its own hash that ships with the package, at least
``BORDER_MARGIN`` from quadrant borders and ``MIN_DISTANCE`` apart; a seed changes nothing but the noise.
"""

import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from dcfm.artefacts import write_text_atomically
from dcfm_envs.scene import CUBE_BOUNDS, CUBE_REST_HEIGHT, EFFECTOR_START_BOUNDS
from dcfm_planner.evaluation.simulation import Starts
from dcfm_planner.quadrants import (
    KNOWN_PAIRS,
    NOVEL_PAIRS,
    QUADRANTS,
    border_distance,
    pair_labels,
    quadrant_index,
    quadrant_of,
)

PROTOCOLS: Final = ("paper", "given")
CELLS: Final = {"known": KNOWN_PAIRS, "novel": NOVEL_PAIRS}

BORDER_MARGIN: Final = 0.02
"""m between any given position and the nearest border of quadrants, at least."""

MIN_DISTANCE: Final = 0.08
"""m between given starts and goals, at least: twice OGBench's success radius."""

DECIMALS: Final = 4
"""Given positions are drawn to 0.1 mm, yaws to 0.1 mrad."""

GIVEN_FILE: Final = "cube-single-given.json"
GIVEN_TRIALS: Final = 300
"""Problems a cell in the shipped file."""


class ProblemError(ValueError):
    """Problems that cannot be made, or a file of problems that is not what it says."""


@dataclass(frozen=True)
class Problems:
    """A cell's problems.

    Attributes:
        cell: ``known`` or ``novel``.
        index: number of each problem in its cell.
        labels: the query; for the cube source and target quadrant.
        noise_seed: of the plan; the execution's noise comes from the seed after it.
        starts: fixed starts and goals, or ``None`` where the plan proposes them.
    """

    cell: str
    index: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, "n k"]
    noise_seed: Int[np.ndarray, " n"]
    starts: Starts | None

    def __len__(self) -> int:
        return len(self.index)

    def chunks(self, size: int) -> list["Problems"]:
        """Cut into consecutive parts of at most ``size``."""
        parts = [slice(i, i + size) for i in range(0, len(self), size)]
        return [
            Problems(
                self.cell,
                self.index[part],
                self.labels[part],
                self.noise_seed[part],
                None if self.starts is None else self.starts[part],
            )
            for part in parts
        ]


def make_problems(protocol: str, trials: int, seed: int, file: Path | None = None) -> dict[str, Problems]:
    """The problems of both cells, ``trials`` each.

    Problem ``i`` asks for pair ``i mod P`` of the cell's ``P`` pairs, so that a smaller number of trials is a part of a
    larger one's.

    Args:
        protocol: ``paper`` or ``given``.
        trials: a cell.
        seed: of the noise.
        file: of given problems; the shipped one if not given.

    Raises:
        ProblemError: an unknown protocol, a number of trials that cannot be, or a damaged file.
    """
    if protocol not in PROTOCOLS:
        raise ProblemError(f"unknown protocol {protocol!r}; the protocols are {', '.join(PROTOCOLS)}")
    problems = spread({cell: pair_labels(pairs) for cell, pairs in CELLS.items()}, trials, seed)
    if protocol == "paper":
        return problems
    given = read_given(file)
    for starts in given.values():
        if trials > len(starts):
            raise ProblemError(f"trials={trials}: the file of given problems has {len(starts)} a cell; ask for no more")
    return {cell: replace(asked, starts=given[cell][:trials]) for cell, asked in problems.items()}


def spread(cells: Mapping[str, Int[np.ndarray, "pairs k"]], trials: int, seed: int) -> dict[str, Problems]:
    """Problems spread evenly over the combinations of each cell, their starts left to the plans; a cell without
    combinations has none.

    Raises:
        ProblemError: a number of trials or a seed that cannot be.
    """
    if trials < 1 or seed < 0:
        raise ProblemError(f"trials={trials}, seed={seed}: give at least 1 trial a cell and a seed of 0 or more")
    problems = {}
    for number, (cell, combinations) in enumerate(cells.items()):
        asked = trials if len(combinations) else 0  # resizing nothing would give zeros, a combination of the other cell
        labels = np.resize(combinations, (asked, combinations.shape[1]))
        seeds = [np.random.SeedSequence([seed, number, i]).generate_state(1, np.uint32)[0] for i in range(asked)]
        # Even seeds for plans; the odd one after each is the execution's.
        problems[cell] = Problems(cell, np.arange(asked), labels, 2 * np.array(seeds, dtype=np.int64), None)
    return problems


def pair_kind(source: int, target: int) -> str:
    """``same`` quadrant, ``adjacent`` or ``diagonal``."""
    if source == target:
        return "same"
    return "diagonal" if (QUADRANTS[source], QUADRANTS[target]) in NOVEL_PAIRS else "adjacent"


def draw_given(trials: int, seed: int) -> dict[str, Starts]:
    """Draw starts and goals as OGBench draws its own, margins kept; what the shipped file holds was made with this."""
    generator = np.random.default_rng(seed)
    drawn = {}
    for cell, pairs in CELLS.items():
        labels = np.resize(pair_labels(pairs), (trials, 2))
        ends = np.array([_draw_ends(row, generator) for row in labels])
        drawn[cell] = Starts(
            cube_position=ends[:, 0],
            cube_yaw=generator.uniform(0, 2 * np.pi, trials).round(DECIMALS),
            effector_position=generator.uniform(*EFFECTOR_START_BOUNDS, size=(trials, 3)).round(DECIMALS),
            effector_yaw=generator.uniform(-np.pi, np.pi, trials).round(DECIMALS),
            goal_position=ends[:, 1],
        )
    return drawn


def _draw_ends(labels: Int[np.ndarray, "2"], generator: np.random.Generator) -> Float[np.ndarray, "2 3"]:
    while True:
        drawn = generator.uniform(*CUBE_BOUNDS, size=(2, 2)).round(DECIMALS)
        ends = np.column_stack([drawn, np.full(2, CUBE_REST_HEIGHT)])
        far_enough = np.linalg.norm(ends[0] - ends[1]) >= MIN_DISTANCE and border_distance(ends).min() >= BORDER_MARGIN
        if far_enough and (quadrant_of(ends) == labels).all():
            return ends


def _rows(starts: Starts, cell: str) -> list[dict[str, Any]]:
    return [
        {
            "source": CELLS[cell][i % len(CELLS[cell])][0],
            "target": CELLS[cell][i % len(CELLS[cell])][1],
            "cube_position": starts.cube_position[i].tolist(),
            "cube_yaw": float(starts.cube_yaw[i]),
            "effector_position": starts.effector_position[i].tolist(),
            "effector_yaw": float(starts.effector_yaw[i]),
            "goal_position": starts.goal_position[i].tolist(),
        }
        for i in range(len(starts))
    ]


def _hash(problems: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(problems, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_given(path: Path, trials: int = GIVEN_TRIALS, seed: int = 0) -> None:
    """Draw problems and write them to a file with its hash. The shipped file is ``write_given(Path(GIVEN_FILE))``."""
    problems = {cell: _rows(starts, cell) for cell, starts in draw_given(trials, seed).items()}
    head = {
        "what": "Start states and goals of protocol=given; m and rad, the gripper open, the arm at rest.",
        "seed": seed,
        "border_margin": BORDER_MARGIN,
        "min_distance": MIN_DISTANCE,
        "sha256": _hash(problems),
    }
    lines = [json.dumps(head)[:-1] + ', "problems": {']
    for number, (cell, rows) in enumerate(problems.items()):
        lines.append(f'"{cell}": [')
        lines += [json.dumps(row) + ("," if i < len(rows) - 1 else "") for i, row in enumerate(rows)]
        lines.append("]" + ("," if number < len(problems) - 1 else ""))
    write_text_atomically(path, "\n".join([*lines, "}}"]) + "\n")


def read_given(path: Path | None = None) -> dict[str, Starts]:
    """Read a file of given problems and check its hash, its margins and its quadrants.

    Args:
        path: the shipped file if not given.

    Raises:
        ProblemError: the file is missing, damaged, changed, or breaks the margins.
    """
    if path is None:
        path = Path(str(importlib.resources.files("dcfm_planner.evaluation"))) / GIVEN_FILE
    remedy = "install the package again, or write a file with write_given()"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        problems, stated = content["problems"], content["sha256"]
    except FileNotFoundError as error:
        raise ProblemError(f"there is no file of given problems {path}; {remedy}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ProblemError(f"{path} is not a file of given problems ({error!r}); {remedy}") from error
    if _hash(problems) != stated:
        raise ProblemError(f"{path} was changed after it was written: its hash differs from the one in it; {remedy}")
    return {cell: _starts(problems[cell], cell, path) for cell in CELLS}


def _starts(rows: list[dict[str, Any]], cell: str, path: Path) -> Starts:
    columns = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in Starts.__dataclass_fields__}
    starts = Starts(**columns)
    labels = np.array([[quadrant_index(row["source"]), quadrant_index(row["target"])] for row in rows])
    ends = np.stack([starts.cube_position, starts.goal_position], axis=1)
    apart = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    slack = 1e-9
    good = (
        (quadrant_of(ends) == labels).all(axis=1)
        & (labels == np.resize(pair_labels(CELLS[cell]), labels.shape)).all(axis=1)
        & (border_distance(ends).min(axis=1) >= BORDER_MARGIN - slack)
        & (apart >= MIN_DISTANCE - slack)
    )
    if not good.all():
        raise ProblemError(
            f"{path}: {cell} problem {int(np.argmin(good))} breaks its own rules (its pair, {BORDER_MARGIN} m from "
            f"borders, {MIN_DISTANCE} m apart); write the file again with write_given()"
        )
    return starts
