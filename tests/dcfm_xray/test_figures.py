"""Figures: kept pictures are read back by set, and a damaged file is one clear error."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dcfm_xray import figures
from dcfm_xray.evaluation import write_pictures
from dcfm_xray.evaluation_settings import EvaluationError
from dcfm_xray.figures import draw_bars, rare_sets, read_pictures
from dcfm_xray.findings import label_table, parse, to_labels
from dcfm_xray.problem import Pictures, feasible_sets


def test_kept_pictures_are_read_and_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path, labels = tmp_path / "pictures.npz", feasible_sets().repeat_interleave(3, dim=0)
    images = torch.arange(len(labels)).to(torch.uint8)[:, None, None].expand(-1, 4, 4)
    write_pictures(path, Pictures(images, labels, torch.arange(len(labels))), 2)
    found = read_pictures(path)
    assert set(rare_sets()) <= set(found)
    assert {len(kept) for kept in found.values()} == {2}
    places = {name: int((labels == to_labels([parse(name)])).all(1).nonzero()[0]) for name in found}
    assert {name: [int(image.max()) for image in kept] for name, kept in found.items()} == {
        name: [place, place + 1] for name, place in places.items()
    }
    whole = path.read_bytes()
    first = whole.index(b"images.npy") + len(b"images.npy") + 25  # within the compressed array
    flipped = whole[:first] + bytes(value ^ 0xFF for value in whole[first : first + 9]) + whole[first + 9 :]
    for damaged in (whole[: len(whole) // 2], b"", b"no archive", flipped):
        path.write_bytes(damaged)
        with pytest.raises(EvaluationError, match="damaged"):
            read_pictures(path)


def test_bars_are_a_method_s_own_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known and novel beside each other; a utility in percent; nothing where there is none."""
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "_save", lambda figure, _: drawn.append(figure))

    def entry(value: float) -> dict[str, float]:
        return {"value": value, "low": 0.9 * value, "high": 1.3 * value}

    one = {"fid": {"known": entry(10), "novel": None}, "utility": {"known": entry(0.5), "novel": entry(0.25)}}
    two = {"fid": {"known": entry(20), "novel": entry(40)}, "utility": {"known": entry(0.6), "novel": entry(0.3)}}
    rows = [
        {"method": "a", "run": True, **one},
        {"method": "b", "run": False},
        {"method": "c", "run": True, **two},
    ]
    draw_bars({"rows": rows}, {"a": "A", "c": "C"}, tmp_path / "bars.png")
    shown = {}
    for axes in drawn[0].axes:
        for bars in (found for found in axes.containers if hasattr(found, "patches")):
            middles = [round(bar.get_x() + bar.get_width() / 2, 3) for bar in bars.patches]
            ends = [segment[:, 1].tolist() for segment in bars.errorbar.lines[2][0].get_segments()]
            shown[axes.get_ylabel(), bars.get_label()] = (middles, [bar.get_height() for bar in bars.patches], ends)
    assert [text.get_text() for text in drawn[0].axes[1].get_xticklabels()] == ["A", "C"]
    expected = {
        ("FID", "known"): ([-0.2, 0.8], [10, 20]),
        ("FID", "novel"): ([1.2], [40]),
        ("U (%)", "known"): ([-0.2, 0.8], [50, 60]),
        ("U (%)", "novel"): ([0.2, 1.2], [25, 30]),
    }
    assert {name: found[:2] for name, found in shown.items()} == expected
    for name, (_, heights) in expected.items():
        assert shown[name][2] == [pytest.approx([0.9 * height, 1.3 * height]) for height in heights]


def test_the_rarest_sets_come_first() -> None:
    feasible = label_table().feasible()
    counts = [int(feasible.counts[(feasible.labels == to_labels([parse(s)])).all(1)]) for s in rare_sets(9)]
    assert counts == feasible.counts.sort().values[:9].tolist()
