"""Figures: pictures of novel combinations (Figure 5), novel precision and recall (Figure 6), who holds what, curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dcfm.artefacts import atomically
from dcfm_images.colours import COLOURS
from dcfm_images.text import NOT_RUN, PARTITIONS

_DPI: Final = 130
_MARKERS: Final = "osD^vP*Xhd<>"
_MEASURES: Final = (("fid", "FID"), ("accuracy", "digit and colour right (%)"))

Kept = Mapping[tuple[int, int], UInt8[np.ndarray, "n 3 height width"]]
"""Pictures by combination."""


def draw_grid(
    rows: Mapping[str, Kept | None], novel: Sequence[tuple[int, int]], path: Path, *, columns: int = 20
) -> None:
    """Figure 5: a row a method, a column a novel combination, the first picture of each; nothing is picked by eye.

    Args:
        rows: pictures by the title of the method; ``None`` where it was not run.
        novel: combinations, of which ``columns`` are shown, spread evenly over their order.
        path: of a PNG, written whole or not at all.
        columns: at most so many.
    """
    places = np.linspace(0, len(novel) - 1, min(columns, len(novel))).round().astype(int)
    shown = [novel[place] for place in places]
    names = list(COLOURS)
    figure = Figure(figsize=(1.5 + 0.55 * len(shown), 0.6 + 0.6 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    for line, (title, kept) in zip(grid, rows.items(), strict=True):
        for axes, combination in zip(line, shown, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.set_frame_on(False)
            if kept is not None:
                axes.imshow(kept[combination][0].transpose(1, 2, 0))
        line[0].set_ylabel(title if kept is not None else f"{title}\n{NOT_RUN}", rotation=0, ha="right", va="center")
    for axes, (digit, colour) in zip(grid[0], shown, strict=True):
        axes.set_title(f"{digit}\n{names[colour]}", fontsize=6)
    _save(figure, path)


def draw_manifolds(summary: Mapping[str, Any], path: Path) -> None:
    """Figure 6: precision against recall on novel combinations with 95 % intervals, a panel a partition.

    Args:
        summary: of :func:`dcfm_images.summary.summarise`.
        path: of a PNG, written whole or not at all.
    """
    tables = summary["tables"]
    figure = Figure(figsize=(4.6 * len(tables) + 1.2, 4.0), layout="constrained")
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    methods = [row["method"] for row in tables[0]["rows"]]
    for axes, table in zip(panels, tables, strict=True):
        for row in table["rows"]:
            if row["run"]:
                place = methods.index(row["method"])
                style = {"fmt": _MARKERS[place % len(_MARKERS)], "color": f"C{place % 10}"}
                _cross(axes, row["novel"], summary["titles"][row["method"]], style)
        axes.set(xlabel="recall, novel", ylabel="precision, novel", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_title(PARTITIONS.get(table["partition"], table["partition"]))
        axes.grid(alpha=0.3)
    handles = {label: h for axes in panels for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=8)
    _save(figure, path)


def draw_combinations(matrix: Mapping[str, Any], path: Path) -> None:
    """Who holds what: how many pictures of each combination all silos hold, and each of them; novel ones outlined.

    Args:
        matrix: of :meth:`dcfm_images.problem.Problem.matrix`, the content of a training's ``combinations.json``.
        path: of a PNG, written whole or not at all.
    """
    counts = np.array(matrix["counts"])
    panels = [("all silos", counts.sum(0)), *zip(matrix["silos"], counts, strict=True)]
    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(3.1 * columns, 3.2 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).flat
    for axes in grid:
        axes.set_axis_off()
    for axes, (title, table) in zip(figure.axes, panels, strict=False):
        axes.set_axis_on()
        axes.imshow(np.where(table > 0, table, np.nan), cmap="Blues", vmin=0, vmax=max(1, int(table.max())))
        axes.set_xticks(range(len(matrix["colours"])), matrix["colours"], rotation=90, fontsize=6)
        axes.set_yticks(range(len(matrix["digits"])), matrix["digits"], fontsize=6)
        axes.tick_params(length=0)
        axes.set_title(f"{title}: {int(table.sum())}", fontsize=8)
        for digit, colour in matrix["novel"]:
            axes.add_patch(
                Rectangle((colour - 0.46, digit - 0.46), 0.92, 0.92, fill=False, edgecolor="tab:red", lw=0.6)
            )
    figure.supxlabel("pictures of each combination (white: none); held by no silo: outlined", fontsize=8)
    _save(figure, path)


def draw_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]], key: str, path: Path) -> None:
    """FID and accuracy on known (dashed) and novel (solid) combinations, against one of the things below.

    Args:
        curves: by the title of the method, the points of :func:`dcfm_images.results.read_points`.
        key: ``evaluations``, ``training_steps`` or ``guidance``.
        path: of a PNG, written whole or not at all.
    """
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    for axes, (measure, label) in zip(figure.subplots(1, 2), _MEASURES, strict=True):
        for place, (title, points) in enumerate(curves.items()):
            for cell, line in (("novel", "-"), ("known", "--")):
                x = [point[key] for point in points]
                value, low, high = np.array([_measured(point[cell], measure) for point in points]).reshape(-1, 3).T
                style = {"color": f"C{place % 10}", "linestyle": line}
                axes.plot(x, value, marker=".", label=f"{title}, {cell}", **style)
                axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axes.set(xlabel=key.replace("_", " "), ylabel=label)
        axes.grid(alpha=0.3)
    handles = figure.axes[0].get_legend_handles_labels()
    # Handles long enough for several dashes: with the usual length, known and novel look alike.
    figure.legend(*handles, loc="outside right center", frameon=False, fontsize=7, handlelength=4.5)
    _save(figure, path)


def _measured(found: Mapping[str, Any], measure: str) -> tuple[float, float, float]:
    if measure == "accuracy":
        both = found["accuracy"]["both"]
        return 100 * both["rate"], 100 * both["low"], 100 * both["high"]
    return found[measure]["value"], found[measure]["low"], found[measure]["high"]


def _cross(axes: Axes, found: Mapping[str, Any], title: str, style: Mapping[str, Any]) -> None:
    spans = []
    for name in ("recall", "precision"):
        value, low, high = (found[name][end] for end in ("value", "low", "high"))
        spans.append([[max(value - low, 0.0)], [max(high - value, 0.0)]])
    x, y = found["recall"]["value"], found["precision"]["value"]
    axes.errorbar(x, y, xerr=spans[0], yerr=spans[1], label=title, capsize=2, linewidth=1, **style)


def _save(figure: Figure, path: Path) -> None:
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)
