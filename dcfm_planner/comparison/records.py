"""Results on disk, each with a record of what it was made with, so that nothing is repeated and nothing mixed.

An entry's folder holds ``selection.json`` with ``selection.record.json``, and in one folder a protocol the files of
:func:`dcfm_planner.evaluation.report.write_report` with ``record.json``. A record says what was asked for and the
SHA-256 of the files that came of it; it is removed before the work and written after it, so a folder with a record is
complete.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Int

from dcfm.artefacts import file_hash, write_text_atomically
from dcfm_planner.comparison.settings import ComparisonError

SELECTION: Final = "selection.json"
SELECTION_RECORD: Final = "selection.record.json"
RECORD: Final = "record.json"
METRICS: Final = "metrics.json"
TRIALS: Final = "trials.csv"


def begin(record: Path) -> None:
    """Remove a record: what it says will not hold while the work is being done."""
    record.unlink(missing_ok=True)


def finish(record: Path, asked: Mapping[str, Any], files: Sequence[str], kept: Mapping[str, Any] | None = None) -> None:
    """Write a record beside the files that the work gave.

    Args:
        record: path of the record.
        asked: what was asked for, plain values.
        files: names of files in the record's folder.
        kept: further plain values.
    """
    hashes = {name: file_hash(record.parent / name) for name in files}
    text = json.dumps({"asked": dict(asked), "files": hashes, **(kept or {})}, indent=2, allow_nan=False)
    write_text_atomically(record, text + "\n")


def read(record: Path) -> dict[str, Any] | None:
    """A record, or ``None`` where the work is not done.

    Raises:
        ComparisonError: it is damaged, or its files are missing or were changed.
    """
    if not record.is_file():
        return None
    remedy = f"remove {record.parent} and run again, or copy it again"
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        files, _ = found["files"].items(), found["asked"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ComparisonError(f"{record} is damaged ({error!r}); {remedy}") from error
    for name, expected in files:
        path = record.parent / name
        if not path.is_file() or file_hash(path) != expected:
            raise ComparisonError(f"{path} is missing or not the file that {record.name} was written for; {remedy}")
    return found


def differences(asked: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What was asked for and what a record says, where the two differ; one text a key."""
    plain = json.loads(json.dumps(dict(asked)))
    return [
        f"{key}: {found.get(key)!r} there, {plain.get(key)!r} asked for"
        for key in {**plain, **found}
        if found.get(key) != plain.get(key)
    ]


@dataclass(frozen=True)
class Outcomes:
    """One arm's trials of known or of novel pairs.

    Attributes:
        problem: number of each problem and the seed of its noise.
        labels: source and target quadrant, by name.
        success: as :mod:`dcfm_planner.evaluation.report` counts it.
        counted: not solved at the start.
    """

    problem: Int[np.ndarray, "n 2"]
    labels: tuple[tuple[str, str], ...]
    success: Bool[np.ndarray, " n"]
    counted: Bool[np.ndarray, " n"]


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
        labels=tuple((row["source"], row["target"]) for row in rows),
        success=np.array([row["success"] == "1" for row in rows], dtype=bool),
        counted=np.array([row["solved_at_start"] == "0" for row in rows], dtype=bool),
    )
