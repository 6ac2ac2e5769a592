"""The scene from above: planned and executed paths of the cube, with the borders of the quadrants."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from dcfm.artefacts import atomically
from dcfm_envs.scene import CUBE_BOUNDS, SCENE_CENTRE
from dcfm_planner.evaluation.problems import CELLS
from dcfm_planner.evaluation.trials import Trial

SHOWN: Final = 32
"""Trials drawn a cell; more would hide each other."""

_PLANNED: Final = "0.6"
_COLOURS: Final = {True: "tab:blue", False: "tab:red"}


def draw_paths(trials: Sequence[Trial], path: Path) -> None:
    """Draw the first trials of each cell and write the picture, whole or not at all.

    Args:
        trials: one arm's.
        path: of a PNG.
    """
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    for axes, cell in zip(figure.subplots(1, 2), CELLS, strict=True):
        shown = [trial for trial in trials if trial.cell == cell][:SHOWN]
        for trial in shown:
            _draw(axes, trial)
        good = sum(trial.success for trial in shown)
        axes.set_title(f"{cell} pairs: the first {len(shown)} trials, {good} at the goal")
        _scene(axes)
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


def _draw(axes: Axes, trial: Trial) -> None:
    # From above with the robot at the bottom: y points left, x up.
    axes.plot(trial.planned[:, 1], trial.planned[:, 0], color=_PLANNED, linestyle="--", linewidth=0.8)
    axes.plot(trial.executed[:, 1], trial.executed[:, 0], color=_COLOURS[trial.success], linewidth=1, alpha=0.8)
    axes.plot(trial.start[1], trial.start[0], "ko", markersize=3)
    axes.plot(trial.goal[1], trial.goal[0], "k*", markersize=6)


def _scene(axes: Axes) -> None:
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
