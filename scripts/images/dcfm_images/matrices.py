"""Who holds what, of the silos that results were made with; not of those that a folder of trainings has by now.

An evaluation writes the matrix of its model's silos beside its metrics. Results of before have a copy beside the
methods' folders, which tables kept; where there is neither, the training's own file is all there is to go by.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dcfm.comparison import Entry
from dcfm_images.evaluation_settings import EvaluationError
from dcfm_images.results import RECORD
from dcfm_images.table_settings import REAL, TableSettings
from dcfm_images.training import COMBINATIONS

COMPARED: Final = ("silos", "counts", "known", "novel")
"""Keys by which two matrices are of the same silos; the others say how and from where these were made."""


def matrix_of(settings: TableSettings, partition: str, seed: int) -> tuple[dict[str, Any] | None, list[str]]:
    """The matrix of a partition's and seed's results, ``None`` where none is known, and warnings: results of different
    silos, or trainings that are no longer those of the results.

    Raises:
        EvaluationError: a file that is damaged.
    """
    entries = {method: Entry(partition, method, seed) for method in settings.methods}
    folders = {method: entry.results(settings.out) for method, entry in entries.items()}
    evaluated = {method: folder for method, folder in folders.items() if (folder / RECORD).is_file()}
    own = {f"those of {method}": _read(folder / COMBINATIONS) for method, folder in evaluated.items()}
    kept = {"those kept beside the results": _read(kept_at(settings, partition, seed))}
    runs = {"those trained now": _read(Entry(partition, REAL, seed).training(settings.runs) / COMBINATIONS)}
    if not evaluated:
        return next((matrix for matrix in (*runs.values(), *kept.values()) if matrix), None), []
    named = {name: matrix for name, matrix in (own if any(own.values()) else kept).items() if matrix}
    named |= {name: matrix for name, matrix in runs.items() if matrix}
    if not named:
        return None, []
    (name, shown), *others = named.items()
    return shown, [_warning(f"{partition}/seed{seed}", name, other) for other, m in others if not same(shown, m)]


def kept_at(settings: TableSettings, partition: str, seed: int) -> Path:
    """The copy beside the methods' folders of results."""
    return Entry(partition, REAL, seed).results(settings.out).parent / COMBINATIONS


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two matrices are of the same silos."""
    return all(one.get(key) == other.get(key) for key in COMPARED)


def warnings_of(settings: TableSettings, partition: str) -> list[str]:
    """All warnings of :func:`matrix_of` about a partition."""
    return [text for seed in settings.seeds for text in matrix_of(settings, partition, seed)[1]]


def _warning(where: str, name: str, other: str) -> str:
    return f"{where}: the silos shown are {name}, and {other} are others; figures of the two do not belong together"


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or any(key not in found for key in (*COMPARED, "digits", "colours")):
            raise ValueError("it is no matrix of combinations")
    except ValueError as error:
        raise EvaluationError(f"{path} is damaged ({error}); remove it, or copy it again") from error
    return found
