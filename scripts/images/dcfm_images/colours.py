"""Ten named colours, and grey digits painted in them.

A pixel's brightness times a colour is the picture, on black: ``x = 2 g c - 1`` with ``g`` in [0, 1] and ``c`` in
[0, 1]^3. The brightest channel of every colour is 1, so that a dim stroke of one colour is no stroke of another: they
differ in direction, not in brightness. They are the seven corners of the RGB cube other than black and the centres of
three of its faces; any two are at least ``sqrt(1/2)`` apart.
"""

from typing import Final

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

COLOURS: Final[dict[str, tuple[float, float, float]]] = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "magenta": (1.0, 0.0, 1.0),
    "cyan": (0.0, 1.0, 1.0),
    "white": (1.0, 1.0, 1.0),
    "salmon": (1.0, 0.5, 0.5),
    "mint": (0.5, 1.0, 0.5),
    "periwinkle": (0.5, 0.5, 1.0),
}
"""Red, green and blue, each in [0, 1], in the order of the colour attribute's values."""


def colourise(
    grey: UInt8[Tensor, "batch height width"], colour: Int[Tensor, " batch"]
) -> Float[Tensor, "batch 3 height width"]:
    """Digits in colours on black.

    Args:
        grey: brightness, 0 to 255.
        colour: of each digit, an index into :data:`COLOURS`.

    Returns:
        Pictures in [-1, 1] on ``grey``'s device.
    """
    palette = torch.tensor(list(COLOURS.values())).to(grey.device, non_blocking=True)
    return grey[:, None].float() * (palette[colour][..., None, None] * (2 / 255)) - 1
