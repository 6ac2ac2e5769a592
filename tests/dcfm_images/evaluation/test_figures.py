"""Figures: the file that was asked for, with what was given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from dcfm_images import figures
from dcfm_images.figures import draw_combinations, draw_curves, draw_grid

NOVEL = [(d, (d + 3) % 10) for d in range(10)]


def point(key: str, x: int, fid: float) -> dict[str, Any]:
    found = {
        "fid": {"value": fid, "low": fid - 1, "high": fid + 1},
        "accuracy": {"both": {"rate": 0.5, "low": 0.4, "high": 0.6}},
    }
    return {key: x, "known": found, "novel": found}


def test_grid_shows_first_pictures_and_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[np.ndarray] = []
    saved = figures._save

    def keep(figure: Any, path: Path) -> None:
        shown.extend(image.get_array() for axes in figure.axes for image in axes.images)
        saved(figure, path)

    monkeypatch.setattr(figures, "_save", keep)
    kept = {pair: np.full((2, 3, 8, 8), 20 * i, dtype=np.uint8) for i, pair in enumerate(NOVEL)}
    draw_grid({"one": kept, "other": None}, NOVEL, tmp_path / "grid.png", columns=4)
    assert [int(image.max()) for image in shown] == [0, 60, 120, 180]  # spread evenly over the novel ones
    assert imread(tmp_path / "grid.png").ndim == 3


def test_combinations(tmp_path: Path, trained: Any) -> None:
    draw_combinations(trained.problem.matrix(), tmp_path / "matrix.png")
    assert imread(tmp_path / "matrix.png").shape[0] > 100


@pytest.mark.parametrize("key", ["evaluations", "training_steps", "guidance"])
def test_curves(tmp_path: Path, key: str) -> None:
    curves = {"DDM": [point(key, 4, 9.0), point(key, 8, 7.0)], "DCFM-B": [point(key, 4, 3.0)]}
    draw_curves(curves, key, tmp_path / "curve.png")
    assert imread(tmp_path / "curve.png").ndim == 3


def test_known_and_novel_differ_in_the_legend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handle is long enough for two dashes and the gap between (3.7 and 1.6 line widths each)."""
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "_save", lambda figure, _: drawn.append(figure))
    draw_curves({"DDM": [point("guidance", 1, 9.0), point("guidance", 2, 7.0)]}, "guidance", tmp_path / "curve.png")
    (legend,) = drawn[0].legends
    assert [line.get_linestyle() for line in legend.get_lines()] == ["-", "--"]
    for line in legend.get_lines():
        assert np.ptp(line.get_xdata()) > (4 * 3.7 + 3 * 1.6) * line.get_linewidth()
