"""Films read back: as many pictures, of that size, with those colours; and nothing half written."""

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from dcfm_planner.video import files
from dcfm_planner.video.files import GIF_WIDTH, check_formats, write
from tests.films import read_mp4


def gradient(number: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    frames = []
    for i in range(number):
        frame = np.zeros((height, width, 3), dtype=np.uint8)
        frame[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
        frame[..., 1] = 255 * i // number
        frames.append(frame)
    return frames


def test_an_mp4(tmp_path: Path) -> None:
    frames = gradient(10)
    write(tmp_path / "film.mp4", frames, fps=10.0)
    read, fps = read_mp4(tmp_path / "film.mp4")
    assert read.shape == (10, 48, 64, 3)
    assert np.abs(read.astype(int) - np.stack(frames)).mean() < 12  # H.264 keeps colours at half the resolution
    assert fps == 10


def test_a_gif(tmp_path: Path) -> None:
    frames = gradient(6)
    write(tmp_path / "film.gif", frames, fps=10.0)
    read = imageio.imread(tmp_path / "film.gif")
    assert read.shape == (6, 48, 64, 3)
    assert np.abs(read.astype(int) - np.stack(frames)).mean() < 12
    assert imageio.immeta(tmp_path / "film.gif", index=0)["duration"] == pytest.approx(100)


def test_odd_sides_and_wide_pictures(tmp_path: Path) -> None:
    write(tmp_path / "odd.mp4", gradient(3, 47, 63), fps=5.0)
    assert read_mp4(tmp_path / "odd.mp4")[0].shape == (3, 46, 62, 3)
    write(tmp_path / "wide.gif", gradient(2, 48, 2 * GIF_WIDTH), fps=5.0)
    assert imageio.imread(tmp_path / "wide.gif").shape == (2, 24, GIF_WIDTH, 3)


def test_what_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"before")

    def fail(where: Path, *args: object, **kwargs: object) -> None:
        Path(where).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(files.imageio, "imwrite", fail)
    with pytest.raises(OSError, match="no space"):
        write(path, gradient(2), fps=5.0)
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]
    assert path.read_bytes() == b"before"


def test_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give some of mp4, gif"):
        write(tmp_path / "film.avi", gradient(1), 5.0)
    with pytest.raises(ValueError, match="at least one picture"):
        write(tmp_path / "film.gif", [], 5.0)
    with pytest.raises(ValueError, match=r"formats=\[\]"):
        check_formats([])
    assert check_formats(["gif", "gif"]) == ("gif",)
    assert not list(tmp_path.iterdir())
