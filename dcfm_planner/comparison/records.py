"""Results on disk, each with a record of what it was made with, so that nothing is repeated and nothing mixed.

An entry's folder holds ``selection.json`` with ``selection.record.json``, and in one folder a protocol the files of
:func:`dcfm_planner.evaluation.report.write_report` with ``record.json``. A record says what was asked for and the
SHA-256 of the files that came of it (:mod:`dcfm.records`).
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from dcfm.comparison import ComparisonError

SELECTION: Final = "selection.json"
SELECTION_RECORD: Final = "selection.record.json"
RECORD: Final = "record.json"
METRICS: Final = "metrics.json"
TRIALS: Final = "trials.csv"
_ENDS: Final = ("start_x", "start_y", "goal_x", "goal_y")


@dataclass(frozen=True)
class Outcomes:
    """One arm's trials of known or of novel pairs.

    Attributes:
        problem: number of each problem and the seed of its noise.
        labels: what was asked for, by name: source and target quadrant, or another domain's combination.
        success: as :mod:`dcfm_planner.evaluation.report` counts it.
        counted: not solved at the start.
        ends: x and y of start and goal, m; NaN where a plan proposed none.
    """

    problem: Int[np.ndarray, "n 2"]
    labels: tuple[tuple[str, ...], ...]
    success: Bool[np.ndarray, " n"]
    counted: Bool[np.ndarray, " n"]
    ends: Float[np.ndarray, "n 4"]


def read_outcomes(path: Path) -> dict[tuple[str, str], Outcomes]:
    """Trials of a ``trials.csv`` by (arm, known or novel).

    Raises:
        ComparisonError: the file is not one of trials.
    """
    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                rows.setdefault((row["arm"], row["cell"]), []).append(row)
        return {key: _outcomes(found) for key, found in rows.items()}
    except (KeyError, ValueError, TypeError) as error:
        raise ComparisonError(f"{path} is no file of trials ({error!r}); run the evaluation again") from error


def _outcomes(rows: Sequence[Mapping[str, str]]) -> Outcomes:
    return Outcomes(
        problem=np.array([[int(row["index"]), int(row["noise_seed"])] for row in rows]).reshape(-1, 2),
        labels=tuple((row["combination"],) if "combination" in row else (row["source"], row["target"]) for row in rows),
        success=np.array([row["success"] == "1" for row in rows], dtype=bool),
        counted=np.array([row["solved_at_start"] == "0" for row in rows], dtype=bool),
        ends=np.array([[float(row[name]) for name in _ENDS] for row in rows]).reshape(-1, len(_ENDS)),
    )
