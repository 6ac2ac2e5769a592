"""Films as files, whole or not at all: MP4 (H.264) and GIF, through imageio."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import imageio.v3 as imageio
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dcfm.artefacts import atomically

FORMATS: Final = ("mp4", "gif")

GIF_WIDTH: Final = 480
"""Pixels that a GIF's single picture is wide at most: the format compresses badly."""


def check_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats, each once.

    Raises:
        ValueError: none, or an unknown one.
    """
    if not formats or set(formats) - set(FORMATS):
        raise ValueError(f"formats={list(formats)}: give some of {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(formats))


def write(path: Path, frames: Sequence[UInt8[np.ndarray, "height width 3"]], fps: float) -> None:
    """Write a film.

    Args:
        path: ending in ``.mp4`` or ``.gif``.
        frames: RGB, all of one size; H.264 wants even sides, so an odd one loses a line.
        fps: pictures a second.

    Raises:
        ValueError: another ending, or no pictures.
    """
    check_formats([path.suffix[1:]])
    if not frames:
        raise ValueError(f"{path}: a film needs at least one picture")
    with atomically(path) as temporary:
        if path.suffix == ".gif":
            imageio.imwrite(temporary, [_narrow(frame) for frame in frames], duration=1000 / fps, loop=0)
        else:
            height, width = (side // 2 * 2 for side in frames[0].shape[:2])
            even = np.stack([frame[:height, :width] for frame in frames])
            imageio.imwrite(temporary, even, plugin="FFMPEG", fps=fps, codec="libx264", quality=8, macro_block_size=2)


def _narrow(frame: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "lower narrower 3"]:
    height, width = frame.shape[:2]
    if width <= GIF_WIDTH:
        return frame
    size = (GIF_WIDTH, round(height * GIF_WIDTH / width))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))
