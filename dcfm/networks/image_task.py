"""What tasks share whose samples are pictures or latents: the settings of their U-Net, and that nothing is held."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace
from dcfm.networks.image_unet import ImageUNet


@dataclass(frozen=True, kw_only=True)
class ImageUNetTask(ABC):
    """A :class:`dcfm.task.Task` but for its space, its shape and :meth:`~dcfm.task.Task.prepare`.

    Args:
        channels, blocks, fold, condition, heads, predict, precision, compile: see
            :class:`~dcfm.networks.image_unet.ImageUNet`.

    Raises:
        ValueError: a size that is no whole number, or channels that are no list of them.
    """

    channels: Sequence[int] = (64, 128)
    blocks: int = 1
    fold: int = 1
    condition: int = 128
    heads: int = 4
    predict: str = "clean"
    precision: str = "float32"
    compile: str = "never"

    def __post_init__(self) -> None:
        for field in fields(self):  # what a configuration may hold is anything
            value = getattr(self, field.name)
            if isinstance(field.default, int) and (isinstance(value, bool) or not isinstance(value, int)):
                raise ValueError(f"{field.name}={value!r}; give a whole number")
        if not isinstance(self.channels, Sequence) or any(type(c) is not int for c in self.channels):
            raise ValueError(f"channels={self.channels!r}; give a list of whole numbers, one a level")

    @property
    @abstractmethod
    def space(self) -> AttributeSpace:
        """The attributes."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Of a sample: channels, height, width."""

    def network(self) -> nn.Module:
        """A fresh :class:`~dcfm.networks.image_unet.ImageUNet`."""
        return ImageUNet(
            self.space.cardinalities,
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

    def draw_held(
        self, x1: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Bool[Tensor, "batch channels height width"] | None:
        """Nothing is held: there is no inpainting."""
        return None
