"""Chest X-rays as a task: latents ``(c, s/8, s/8)`` of an autoencoder that is the same everywhere, 14 attributes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor

from dcfm.attributes import AttributeSpace
from dcfm.networks.image_task import ImageUNetTask
from dcfm_xray.autoencoder import FACTOR
from dcfm_xray.findings import SPACE


@dataclass(frozen=True, kw_only=True)
class XrayTask(ImageUNetTask):
    """Latents of X-rays with sets of findings; a :class:`dcfm.task.Task`.

    Args:
        size: pixels along an edge of the pictures, a multiple of 8.
        latent: channels of the latents.
    """

    size: int = 64
    latent: int = 4

    @property
    def space(self) -> AttributeSpace:
        return SPACE

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.latent, self.size // FACTOR, self.size // FACTOR)

    def prepare(
        self, stored: Float16[Tensor, "batch latent height width"], y: Int[Tensor, "batch 14"]
    ) -> Float[Tensor, "batch latent height width"]:
        """Silos store float16 latents."""
        return stored.to(torch.float32)
