"""Text under a picture."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

Rgb = tuple[int, int, int]

WHITE: Final[Rgb] = (235, 235, 235)
GREEN: Final[Rgb] = (110, 220, 120)
RED: Final[Rgb] = (255, 120, 110)
_BACKGROUND: Final[Rgb] = (18, 20, 26)

Text = tuple[str, Rgb]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def caption(
    picture: UInt8[np.ndarray, "height width 3"], lines: Sequence[Sequence[Text]]
) -> UInt8[np.ndarray, "taller width 3"]:
    """A picture with lines of coloured text below; what does not fit is cut off.

    Args:
        picture: RGB.
        lines: each a sequence of pieces of text with their colours.
    """
    width = picture.shape[1]
    size = max(9, round(width / 36))
    spacing = round(1.45 * size)
    strip = Image.new("RGB", (width, spacing * len(lines) + size), _BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for number, pieces in enumerate(lines):
        x = float(size)
        for text, colour in pieces:
            draw.text((x, size // 2 + number * spacing), text, fill=colour, font=_font(size))
            x += draw.textlength(text, font=_font(size))
    return np.concatenate([picture, np.asarray(strip)])
