"""Figures: pictures of rare sets of findings (Figure 8), FID and utility by method (Figure 9)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from dcfm.artefacts import atomically
from dcfm.npz import DAMAGED
from dcfm_xray.evaluation_settings import EvaluationError
from dcfm_xray.findings import describe, label_table, to_set

_DPI: Final = 130
_COLUMNS: Final = 12

CAPTION: Final = "synthetic: for research, not for diagnosis"
"""Below every figure."""

Kept = Mapping[str, UInt8[np.ndarray, "n size size"]]
"""Pictures by set of findings."""


def read_pictures(path: Path) -> Kept:
    """The kept pictures of an evaluation by set of findings.

    Raises:
        EvaluationError: the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:  # numpy leaves its own open on errors
            images, labels = found["images"], found["labels"]
    except DAMAGED as error:
        raise EvaluationError(f"{path} is missing or damaged ({error}); evaluate again") from error
    return {describe(to_set(label.tolist())): images[(labels == label).all(1)] for label in np.unique(labels, axis=0)}


def rare_sets(number: int = _COLUMNS) -> list[str]:
    """The feasible sets that fewest images of the NIH table have, the rarest first."""
    feasible = label_table().feasible()
    order = feasible.counts.argsort(stable=True)[:number]
    return [describe(to_set(feasible.labels[i].tolist())) for i in order.tolist()]


def draw_grid(rows: Mapping[str, Kept], path: Path, *, columns: int = _COLUMNS) -> None:
    """Figure 8: a row a method, a column a rare set of findings, the first picture of each; nothing is picked by eye.

    Args:
        rows: pictures by the title of the method.
        path: of a PNG, written whole or not at all.
        columns: at most so many sets, the rarest.
    """
    shown = [name for name in rare_sets(columns) if all(name in kept for kept in rows.values())]
    if not shown:
        raise EvaluationError("no rare set of findings is among the pictures; evaluate again")
    figure = Figure(figsize=(1.5 + 0.95 * len(shown), 1.2 + 1.0 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    for line, (title, kept) in zip(grid, rows.items(), strict=True):
        for axes, name in zip(line, shown, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.set_frame_on(False)
            axes.imshow(kept[name][0], cmap="gray", vmin=0, vmax=255)
        line[0].set_ylabel(title, rotation=0, ha="right", va="center")
    for axes, name in zip(grid[0], shown, strict=True):
        axes.set_title(name.replace("|", "\n").replace("_", " "), fontsize=6)
    figure.supxlabel(CAPTION, fontsize=7)
    _save(figure, path)


def draw_bars(table: Mapping[str, Any], titles: Mapping[str, str], path: Path) -> None:
    """Figure 9: FID and utility by method on known and novel sets, with 95 % intervals.

    Args:
        table: of one partition, see :func:`dcfm_xray.table.summarise`.
        titles: of the methods.
        path: of a PNG, written whole or not at all.
    """
    rows = [row for row in table["rows"] if row["run"]]
    figure = Figure(figsize=(2.5 + 1.1 * len(rows), 5.5), layout="constrained")
    for axes, (name, label, scale) in zip(
        figure.subplots(2, 1, sharex=True), (("fid", "FID", 1.0), ("utility", "U (%)", 100.0)), strict=True
    ):
        for offset, group in ((-0.2, "known"), (0.2, "novel")):
            there = [(i, row[name][group]) for i, row in enumerate(rows) if row[name][group] is not None]
            if not there:
                continue
            value, low, high = (
                np.array([scale * entry[key] for _, entry in there]) for key in ("value", "low", "high")
            )
            reach = np.stack([(value - low).clip(0), (high - value).clip(0)])
            axes.bar([i + offset for i, _ in there], value, 0.38, yerr=reach, capsize=2, label=group)
        axes.set_ylabel(label)
        axes.set_xticks(range(len(rows)), [titles[row["method"]] for row in rows], rotation=30, ha="right")
        axes.grid(axis="y", alpha=0.3)
    handles = figure.axes[1].get_legend_handles_labels()
    if handles[0]:
        figure.legend(*handles, loc="outside upper right", ncols=2, frameon=False)
    figure.supxlabel(CAPTION, fontsize=7)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)
