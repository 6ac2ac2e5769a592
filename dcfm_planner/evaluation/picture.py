"""The scene from above: planned and executed paths; for the cube with the borders of the quadrants."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from dcfm.artefacts import atomically
from dcfm_envs.scene import CUBE_BOUNDS, SCENE_CENTRE
from dcfm_planner.evaluation.problems import CELLS

SHOWN: Final = 32
"""Trials drawn a cell; more would hide each other."""

_PLANNED: Final = "0.6"
_COLOURS: Final = {True: "tab:blue", False: "tab:red"}


def draw_paths(
    trials: Sequence[Any], path: Path, scene: Callable[[Axes], None], axes: tuple[int, int] = (0, 1)
) -> None:
    """Draw the first trials of each cell and write the picture, whole or not at all.

    Args:
        trials: one arm's.
        path: of a PNG.
        scene: draws what is behind the paths.
        axes: which of a path's two numbers is drawn to the right, and which up.
    """
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    for panel, cell in zip(figure.subplots(1, 2), CELLS, strict=True):
        shown = [trial for trial in trials if trial.cell == cell][:SHOWN]
        for trial in shown:
            _draw(panel, trial, *axes)
        good = sum(trial.success for trial in shown)
        panel.set_title(f"{cell} pairs: the first {len(shown)} trials, {good} at the goal")
        scene(panel)
    handles = [
        Line2D([], [], color=_PLANNED, linestyle="--", label="planned"),
        Line2D([], [], color=_COLOURS[True], label="executed, at the goal"),
        Line2D([], [], color=_COLOURS[False], label="executed, not at the goal"),
        Line2D([], [], color="k", marker="o", linestyle="", markersize=4, label="start"),
        Line2D([], [], color="k", marker="*", linestyle="", label="goal"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw(axes: Axes, trial: Any, right: int, up: int) -> None:
    axes.plot(trial.planned[:, right], trial.planned[:, up], color=_PLANNED, linestyle="--", linewidth=0.8)
    axes.plot(trial.executed[:, right], trial.executed[:, up], color=_COLOURS[trial.success], linewidth=1, alpha=0.8)
    axes.plot(trial.start[right], trial.start[up], "ko", markersize=3)
    axes.plot(trial.goal[right], trial.goal[up], "k*", markersize=6)


def table_from_above(axes: Axes) -> None:
    """The cube's scene with the robot at the bottom: y points left, x up."""
    low, high = CUBE_BOUNDS
    axes.add_patch(Rectangle((low[1], low[0]), *(high - low)[::-1], fill=False, color="0.8"))
    axes.axvline(SCENE_CENTRE[1], color="k", linewidth=0.8)
    axes.axhline(SCENE_CENTRE[0], color="k", linewidth=0.8)
    margin = 0.05
    axes.set(
        xlim=(high[1] + margin, low[1] - margin),
        ylim=(low[0] - margin, high[0] + margin),
        xlabel="y (m)",
        ylabel="x (m); the robot stands below",
        aspect="equal",
    )
    for name, x, y in (("TL", 1, 1), ("TR", -1, 1), ("BL", 1, -1), ("BR", -1, -1)):
        axes.text(
            SCENE_CENTRE[1] + 0.33 * x,
            SCENE_CENTRE[0] + 0.15 * y,
            name,
            ha="center",
            va="center",
            color="0.4",
        )
