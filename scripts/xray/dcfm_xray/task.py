"""Chest X-rays as a task: latents ``(c, s/8, s/8)`` of an autoencoder that is the same everywhere, 14 attributes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace
from dcfm.networks.image_unet import ImageUNet
from dcfm_xray.autoencoder import FACTOR
from dcfm_xray.findings import SPACE


@dataclass(frozen=True)
class XrayTask:
    """Latents of X-rays with sets of findings; a :class:`dcfm.task.Task`.

    Args:
        size: pixels along an edge of the pictures, a multiple of 8.
        latent: channels of the latents.
        channels, blocks, fold, condition, heads, predict, precision, compile: see
            :class:`~dcfm.networks.image_unet.ImageUNet`.
    """

    size: int = 64
    latent: int = 4
    channels: Sequence[int] = (64, 128)
    blocks: int = 1
    fold: int = 1
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
        return (self.latent, self.size // FACTOR, self.size // FACTOR)

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
        self, stored: Float16[Tensor, "batch latent height width"], y: Int[Tensor, "batch 14"]
    ) -> Float[Tensor, "batch latent height width"]:
        """Silos store float16 latents."""
        return stored.to(torch.float32)

    def draw_held(
        self, x1: Float[Tensor, "batch latent height width"], generator: torch.Generator
    ) -> Bool[Tensor, "batch latent height width"] | None:
        """Nothing is held: there is no inpainting."""
        return None
