"""Figures: the file that was asked for, with what was given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from dcfm_images import figures
from dcfm_images.figures import draw_combinations, draw_curves, draw_grid, draw_manifolds

NOVEL = [(d, (d + 3) % 10) for d in range(10)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn, instead of their files."""
    kept: list[Any] = []
    monkeypatch.setattr(figures, "_save", lambda figure, _: kept.append(figure))
    return kept


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


def test_curves_show_each_cell_s_own_numbers(tmp_path: Path, drawn: list[Any]) -> None:
    one = point("evaluations", 4, 9.0) | {"known": point("", 0, 5.0)["known"]}
    draw_curves({"DDM": [one]}, "evaluations", tmp_path / "curve.png")
    distance, accuracy = drawn[0].axes
    shown = {line.get_label(): (line.get_linestyle(), *line.get_ydata()) for line in distance.lines}
    assert shown == {"DDM, novel": ("-", 9.0), "DDM, known": ("--", 5.0)}
    assert [band.get_paths()[0].get_extents().intervaly.tolist() for band in distance.collections] == [[8, 10], [4, 6]]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[50.0], [50.0]]
    assert accuracy.collections[0].get_paths()[0].get_extents().intervaly.tolist() == pytest.approx([40, 60])


def test_manifolds_are_recall_against_precision_on_novel_combinations(tmp_path: Path, drawn: list[Any]) -> None:
    novel = {"precision": {"value": 0.5, "low": 0.4, "high": 0.7}, "recall": {"value": 0.2, "low": 0.15, "high": 0.3}}
    rows = [{"method": "ddm", "run": True, "novel": novel, "known": {}}, {"method": "dfd", "run": False}]
    draw_manifolds({"tables": [{"partition": "iid", "rows": rows}], "titles": {"ddm": "DDM"}}, tmp_path / "m.png")
    (axes,) = drawn[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall, novel", "precision, novel")
    (container,) = axes.containers
    marks, _, bars = container.lines
    assert (marks.get_xdata()[0], marks.get_ydata()[0]) == (0.2, 0.5)
    across, up = (bar.get_segments()[0] for bar in bars)
    assert across[:, 0].tolist() == pytest.approx([0.15, 0.3])
    assert up[:, 1].tolist() == pytest.approx([0.4, 0.7])


def test_novel_combinations_are_outlined(tmp_path: Path, trained: Any, drawn: list[Any]) -> None:
    matrix = trained.problem.matrix()
    draw_combinations(matrix, tmp_path / "matrix.png")
    counts = np.array(matrix["counts"])
    for axes, table in zip(drawn[0].axes, (counts.sum(0), *counts), strict=False):
        places = {(round(p.get_y() + 0.46), round(p.get_x() + 0.46)) for p in axes.patches}
        assert places == {tuple(pair) for pair in matrix["novel"]}
        assert axes.get_title().endswith(f": {table.sum()}")
        assert np.array_equal(np.nan_to_num(axes.images[0].get_array()), table)


def test_known_and_novel_differ_in_the_legend(tmp_path: Path, drawn: list[Any]) -> None:
    """A handle is long enough for two dashes and the gap between (3.7 and 1.6 line widths each)."""
    draw_curves({"DDM": [point("guidance", 1, 9.0), point("guidance", 2, 7.0)]}, "guidance", tmp_path / "curve.png")
    (legend,) = drawn[0].legends
    assert [line.get_linestyle() for line in legend.get_lines()] == ["-", "--"]
    for line in legend.get_lines():
        assert np.ptp(line.get_xdata()) > (4 * 3.7 + 3 * 1.6) * line.get_linewidth()
