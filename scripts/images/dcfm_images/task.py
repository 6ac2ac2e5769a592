"""Colored MNIST as a task: pictures ``(3, size, size)`` in [-1, 1], coloured batch by batch from grey bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace
from dcfm.networks.image_unet import ImageUNet
from dcfm_images.colours import colourise
from dcfm_images.problem import SPACE


@dataclass(frozen=True)
class ImageTask:
    """Digits in colours; a :class:`dcfm.task.Task`.

    Args:
        size: pixels along an edge.
        channels, blocks, fold, condition, heads, predict, precision, compile: see
            :class:`~dcfm.networks.image_unet.ImageUNet`.
    """

    size: int = 28
    channels: Sequence[int] = (64, 128)
    blocks: int = 1
    fold: int = 2
    condition: int = 128
    heads: int = 4
    predict: str = "clean"
    precision: str = "float32"
    compile: str = "never"

    @property
    def space(self) -> AttributeSpace:
        return SPACE

    @property
    def shape(self) -> tuple[int, int, int]:
        return (3, self.size, self.size)

    def network(self) -> nn.Module:
        """A fresh :class:`~dcfm.networks.image_unet.ImageUNet`."""
        return ImageUNet(
            SPACE.cardinalities,
            self.shape,
            channels=tuple(self.channels),
            blocks=self.blocks,
            fold=self.fold,
            condition=self.condition,
            heads=self.heads,
            predict=self.predict,
            precision=self.precision,
            compile=self.compile,
        )

    def prepare(
        self, stored: UInt8[Tensor, "batch height width"], y: Int[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Silos store grey bytes; the label's colour paints them."""
        return colourise(stored, y[:, 1])

    def draw_held(
        self, x1: Float[Tensor, "batch 3 height width"], generator: torch.Generator
    ) -> Bool[Tensor, "batch 3 height width"] | None:
        """Nothing is held: there is no inpainting."""
        return None
