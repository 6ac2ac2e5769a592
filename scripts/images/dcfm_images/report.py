"""The table's files, each whole or not at all."""

import json
from collections.abc import Mapping
from typing import Any

from dcfm.artefacts import write_text_atomically
from dcfm.comparison import Entry
from dcfm.records import write_json
from dcfm_images.figures import draw_combinations, draw_curves, draw_grid, draw_manifolds
from dcfm_images.matrices import kept_at, matrix_of, same
from dcfm_images.results import PICTURES, read_pictures, read_points
from dcfm_images.table_settings import REAL, TableSettings
from dcfm_images.text import latex, markdown

FILES = ("table.md", "table.tex", "manifolds.png", "table.json")
"""Those that every table has; grids, matrices and curves are there where something was run."""

CURVES = {"curve": "evaluations", "snapshots": "training_steps", "guidance": "guidance"}
"""Kinds of curves, and what their points are against."""


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
            written += _pictures(settings, summary["titles"], partition, seed)
    write_json(out / "table.json", summary)
    return written


def _pictures(settings: TableSettings, titles: Mapping[str, str], partition: str, seed: int) -> list[str]:
    out, written = settings.out, []
    entries = {m: Entry(partition, m, seed) for m in (*settings.methods, REAL)}
    matrix = _matrix(settings, partition, seed)
    suffix = f"{partition}-seed{seed}.png"
    if matrix is not None:
        written.append(f"combinations-{suffix}")
        draw_combinations(matrix, out / written[-1])
        there = {m: entry.results(out) for m, entry in entries.items() if (entry.results(out) / PICTURES).is_file()}
        if there:
            rows = {titles[m]: read_pictures(there[m]) if m in there else None for m in entries}
            written.append(f"grid-{suffix}")
            draw_grid(rows, [(d, c) for d, c in matrix["novel"]], out / written[-1])
    for kind, key in CURVES.items():
        curves = {titles[m]: read_points(entry.results(out), kind) for m, entry in entries.items()}
        if curves := {title: points for title, points in curves.items() if points}:
            written.append(f"{kind}-{suffix}")
            draw_curves(curves, key, out / written[-1])
    return written


def _matrix(settings: TableSettings, partition: str, seed: int) -> dict[str, Any] | None:
    """Who holds what, of the silos of the results; a copy is kept beside these, since trainings are often not kept."""
    matrix, _ = matrix_of(settings, partition, seed)  # its warnings are in the summary
    kept = kept_at(settings, partition, seed)
    if matrix is not None and not (kept.is_file() and same(json.loads(kept.read_text(encoding="utf-8")), matrix)):
        write_json(kept, matrix)
    return matrix
