"""The reader: a small network that says which digit and colour a picture shows, and whose features judge pictures.

Trained on real digits of MNIST's test file, which go to no silo and no reference (``scripts/images/train_reader.py``),
in all colours, at many sizes. Two linear heads read a common feature of 64 numbers; Frechet and kernel distance,
precision and recall are taken in that feature space, compositional accuracy from the heads.
"""

import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dcfm import artefacts
from dcfm_images.colours import COLOURS
from dcfm_images.digits import CLASSES, SIDE

FEATURES: Final = 64
"""Length of the feature."""

BATCH: Final = 512
"""Pictures that are read at once."""


class Reader(nn.Module):
    """Three convolutions with batch norm and pooling, a feature, two heads.

    Args:
        channels: of the convolutions.
    """

    def __init__(self, channels: tuple[int, int, int] = (32, 64, 96)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for out in channels:
            layers += [nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
            width = out
        self.channels = channels
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.feature = nn.Sequential(nn.Linear(width * (SIDE // 8) ** 2, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())
        self.digit = nn.Linear(FEATURES, CLASSES)
        self.colour = nn.Linear(FEATURES, len(COLOURS))

    def features(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 64"]:
        """The feature of pictures in [-1, 1] of any size, which are resized to 28 pixels."""
        return self.feature(self.body(to_side(pictures)))

    def forward(
        self, pictures: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch digits"], Float[Tensor, "batch colours"]]:
        """Logits of digit and of colour."""
        features = self.features(pictures)
        return self.digit(features), self.colour(features)


def to_side(pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 28 28"]:
    """Pictures of any size resized to the reader's own."""
    if pictures.shape[-2:] == (SIDE, SIDE):
        return pictures
    return nn.functional.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True)


@torch.no_grad()
def read(reader: Reader, pictures: Float[Tensor, "n 3 height width"]) -> Int[Tensor, "n 2"]:
    """Digit and colour of each picture in [-1, 1], as labels of :data:`dcfm_images.problem.SPACE`, on the CPU."""
    device = next(reader.parameters()).device
    rows = []
    for part in pictures.split(BATCH):
        digit, colour = reader(part.to(device))
        rows.append(torch.stack([digit.argmax(1), colour.argmax(1)], dim=1).cpu())
    return torch.cat(rows)


@dataclass(frozen=True)
class LoadedReader:
    """A reader, evaluation mode, and where it comes from.

    Attributes:
        weights_hash: SHA-256 of its weights' file.
        metadata: of the artefact; ``metrics`` holds its measured accuracy on real digits.
        sizes: of the pictures that it learned from, in pixels along an edge; none where that is not recorded.
    """

    reader: Reader
    weights_hash: str
    metadata: dict[str, Any]
    sizes: tuple[int, ...] = ()


def shipped_reader() -> Path:
    """Where the shipped reader lies."""
    return Path(str(importlib.resources.files("dcfm_images"))) / "weights" / "reader"


def load_reader(folder: Path | None = None, *, device: torch.device | str = "cpu") -> LoadedReader:
    """The reader in a folder, the shipped one if none is given.

    Raises:
        dcfm.artefacts.ArtefactError: there is none, or it is damaged or of another architecture.
    """
    folder = folder or shipped_reader()
    found = artefacts.load(folder)
    try:
        reader = Reader(tuple(found.config["channels"]))
        reader.load_state_dict(found.weights)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise artefacts.ArtefactError(
            f"{folder} holds no reader of this version ({reason}); train one with scripts/images/train_reader.py"
        ) from error
    reader.to(device).eval().requires_grad_(False)
    sizes = tuple(found.config.get("sizes", ()))
    return LoadedReader(reader, found.metadata["files"][artefacts.MODEL], found.metadata, sizes)
