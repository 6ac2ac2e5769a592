"""Figures of the summary: success as bars with intervals and the paper's values, and success by pair of quadrants."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dcfm.artefacts import atomically
from dcfm_planner.comparison.text import NOT_RUN, PARTITIONS
from dcfm_planner.evaluation.problems import CELLS
from dcfm_planner.quadrants import NOVEL_PAIRS, QUADRANTS

_COLOURS: Final = {"known": "tab:blue", "novel": "tab:orange"}
_WIDTH: Final = 0.38


def draw_bars(summary: Mapping[str, Any], path: Path) -> None:
    """Known and novel success of every method, a panel a partition and protocol.

    Args:
        summary: of :func:`~dcfm_planner.comparison.summary.summarise`.
        path: of a PNG, written whole or not at all.
    """
    tables = summary["tables"]
    columns = max(1, len({table["protocol"] for table in tables}))
    lines = -(-len(tables) // columns)
    width = max(4.5, 1.2 + 0.75 * len(summary["methods"]))
    figure = Figure(figsize=(width * columns, 3.4 * lines + 0.4), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flat
    for axes, table in zip(panels, tables, strict=True):
        _bars(axes, table, summary["methods"])
    handles = [Rectangle((0, 0), 1, 1, color=_COLOURS[cell], label=f"{cell} pairs") for cell in CELLS]
    if any(row["paper"] for table in tables for row in table["rows"]):
        handles += [panels[0].plot([], [], "kD", markersize=5, label="the paper's value")[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _bars(axes: Axes, table: Mapping[str, Any], methods: Mapping[str, Any]) -> None:
    for place, row in enumerate(table["rows"]):
        for side, cell in ((-0.5, "known"), (0.5, "novel")):
            x = place + side * _WIDTH
            if row["run"] and row[cell]["n"]:
                rate, low, high = (100 * row[cell][name] for name in ("rate", "low", "high"))
                axes.bar(x, rate, _WIDTH, color=_COLOURS[cell])
                bars = [[max(rate - low, 0.0)], [max(high - rate, 0.0)]]  # matplotlib takes no rounding error below 0
                axes.errorbar(x, rate, bars, color="k", capsize=2, linewidth=1)
            if row["paper"]:
                axes.plot(x, 100 * row["paper"][cell], "kD", markersize=5)
        if not row["run"]:
            axes.text(place, 2, NOT_RUN, rotation=90, ha="center", va="bottom", color="0.5")
    titles = [methods[row["method"]]["title"] for row in table["rows"]]
    axes.set_xticks(range(len(titles)), titles, rotation=30, ha="right")
    axes.set(ylim=(0, 105), ylabel="success (%)", xlim=(-0.6, len(titles) - 0.4))
    axes.set_title(f"{PARTITIONS.get(table['partition'], table['partition'])}, protocol {table['protocol']}")


def draw_maps(summary: Mapping[str, Any], path: Path) -> None:
    """Success by source and target quadrant, a map a method and a line a partition and protocol; novel pairs outlined.

    Args:
        summary: of :func:`~dcfm_planner.comparison.summary.summarise`.
        path: of a PNG, written whole or not at all.
    """
    tables, number = summary["tables"], len(summary["methods"])
    figure = Figure(figsize=(1.75 * number + 0.8, 2.2 * len(tables) + 0.4), layout="constrained")
    grid = figure.subplots(len(tables), number, squeeze=False)
    for line, table in zip(grid, tables, strict=True):
        for axes, row in zip(line, table["rows"], strict=True):
            _map(axes, row)
            axes.set_title(summary["methods"][row["method"]]["title"], fontsize=9)
        partition = PARTITIONS.get(table["partition"], table["partition"])
        line[0].set_ylabel(f"{partition}, {table['protocol']}\nsource", fontsize=9)
    figure.supxlabel("target; success in %, novel pairs outlined", fontsize=9)
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _map(axes: Axes, row: Mapping[str, Any]) -> None:
    ticks = range(len(QUADRANTS))
    axes.set_xticks(ticks, QUADRANTS, fontsize=7)
    axes.set_yticks(ticks, QUADRANTS, fontsize=7)
    axes.tick_params(length=0)
    if not row["run"]:
        axes.set(xlim=(-0.5, 3.5), ylim=(3.5, -0.5), aspect="equal")
        axes.text(1.5, 1.5, NOT_RUN, ha="center", va="center", color="0.5", fontsize=8)
        return
    found = [[row["pairs"][f"{s}-{t}"]["rate"] for t in QUADRANTS] for s in QUADRANTS]
    rates = np.array(found, dtype=float)  # a pair without trials is NaN, and blank
    axes.imshow(rates, vmin=0, vmax=1, cmap="Blues")
    for (i, j), rate in np.ndenumerate(rates):
        if np.isfinite(rate):
            axes.text(j, i, f"{100 * rate:.0f}", ha="center", va="center", fontsize=7, color="wk"[int(rate < 0.6)])
        if (QUADRANTS[i], QUADRANTS[j]) in NOVEL_PAIRS:
            axes.add_patch(Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, fill=False, edgecolor="tab:red", linewidth=1.5))
