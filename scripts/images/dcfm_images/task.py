"""Colored MNIST as a task: pictures ``(3, size, size)`` in [-1, 1], coloured batch by batch from grey bytes."""

from dataclasses import dataclass

from jaxtyping import Float, Int, UInt8
from torch import Tensor

from dcfm.attributes import AttributeSpace
from dcfm.networks.image_task import ImageUNetTask
from dcfm_images.colours import colourise
from dcfm_images.problem import SPACE


@dataclass(frozen=True, kw_only=True)
class ImageTask(ImageUNetTask):
    """Digits in colours; a :class:`dcfm.task.Task`.

    Args:
        size: pixels along an edge.
        fold: of the U-Net, as for all such tasks, but here with another default.
    """

    size: int = 28
    fold: int = 2

    @property
    def space(self) -> AttributeSpace:
        return SPACE

    @property
    def shape(self) -> tuple[int, int, int]:
        return (3, self.size, self.size)

    def prepare(
        self, stored: UInt8[Tensor, "batch height width"], y: Int[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Silos store grey bytes; the label's colour paints them."""
        return colourise(stored, y[:, 1])
