"""The table's files, each whole or not at all."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dcfm.artefacts import write_text_atomically
from dcfm.comparison import Entry
from dcfm.records import write_json
from dcfm_images.evaluation_settings import EvaluationError
from dcfm_images.figures import draw_combinations, draw_curves, draw_grid, draw_manifolds
from dcfm_images.matrices import kept_at, matrix_of, same
from dcfm_images.results import PICTURES, POINTS, read_pictures, read_points
from dcfm_images.table_settings import REAL, TableSettings
from dcfm_images.text import latex, markdown

log = logging.getLogger(__name__)

FILES = ("table.md", "table.tex", "manifolds.png", "table.json")
"""Those that every table has; grids, matrices and curves are there where something was run."""


def write_table(settings: TableSettings, summary: Mapping[str, Any]) -> list[str]:
    """Write :data:`FILES` and, for each partition and training seed, what there is to draw; ``table.json`` last.

    Args:
        settings: what is compared.
        summary: of :func:`dcfm_images.summary.summarise`.

    Returns:
        Names of the files under ``settings.out``.
    """
    out = settings.out
    out.mkdir(parents=True, exist_ok=True)
    write_text_atomically(out / "table.md", markdown(summary))
    write_text_atomically(out / "table.tex", latex(summary))
    draw_manifolds(summary, out / "manifolds.png")
    written = [*FILES]
    for partition in settings.partitions:
        for seed in settings.seeds:
            written += _pictures(settings, summary, partition, seed)
    write_json(out / "table.json", summary)
    return written


def _pictures(settings: TableSettings, summary: Mapping[str, Any], partition: str, seed: int) -> list[str]:
    out, titles, written = settings.out, summary["titles"], []
    entries = {m: Entry(partition, m, seed) for m in (*settings.methods, REAL)}
    run = {row["method"] for table in summary["tables"] for row in _rows_of(table, partition, seed)}
    fine = {m: entry for m, entry in entries.items() if m in run}
    matrix = _matrix(settings, partition, seed)
    suffix = f"{partition}-seed{seed}.png"
    for name in POINTS:
        (out / f"{name}-{suffix}").unlink(missing_ok=True)  # of an earlier table, whose results may be gone
    if matrix is not None:
        written.append(f"combinations-{suffix}")
        draw_combinations(matrix, out / written[-1])
        rows = {titles[m]: _grid_row(fine[m], out) if m in fine else None for m in entries}
        if any(row is not None for row in rows.values()):
            written.append(f"grid-{suffix}")
            draw_grid(rows, [(d, c) for d, c in matrix["novel"]], out / written[-1])
    for kind, key in POINTS.items():
        curves = {titles[m]: read_points(entry.results(out), kind) for m, entry in fine.items()}
        if curves := {title: points for title, points in curves.items() if points}:
            written.append(f"{kind}-{suffix}")
            draw_curves(curves, key, out / written[-1])
    return written


def _rows_of(table: Mapping[str, Any], partition: str, seed: int) -> list[Mapping[str, Any]]:
    """A partition's rows that a training seed is in; what lies in the folders of others is not theirs."""
    return [row for row in table["rows"] if table["partition"] == partition and str(seed) in row.get("made_with", {})]


def _grid_row(entry: Entry, out: Path) -> dict[tuple[int, int], np.ndarray] | None:
    """An entry's pictures by combination, if it has any that can be read."""
    if not (entry.results(out) / PICTURES).is_file():
        return None
    try:
        return read_pictures(entry.results(out))
    except EvaluationError as error:
        log.warning("%s is not in the grid: %s", entry, error)
        return None


def _matrix(settings: TableSettings, partition: str, seed: int) -> dict[str, Any] | None:
    """Who holds what, of the silos of the results; a copy is kept beside these, since trainings are often not kept."""
    matrix, _ = matrix_of(settings, partition, seed)  # its warnings are in the summary
    kept = kept_at(settings, partition, seed)
    if matrix is not None and not (kept.is_file() and same(json.loads(kept.read_text(encoding="utf-8")), matrix)):
        write_json(kept, matrix)
    return matrix
