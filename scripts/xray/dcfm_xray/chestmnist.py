"""ChestMNIST: the NIH images in small, as MedMNIST distributes them."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Int
from PIL import Image
from torch import Tensor

from dcfm.npz import DAMAGED
from dcfm_xray.findings import FINDINGS
from dcfm_xray.nih import to_grey
from dcfm_xray.sources import Picture, Problems, SourceError, UnreadableImage, digest

CHESTMNIST_ORDER: Final = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""Columns of ChestMNIST's labels (MedMNIST v2, Yang et al. 2023)."""


@dataclass(frozen=True)
class ChestMnist:
    """ChestMNIST's npz (MedMNIST v2), of any of its sizes. It names no patients, so each image is a patient of
    its own; its splits are made by patients, and its test split is the one to use.

    Raises:
        SourceError: no such file, or arrays that are not ChestMNIST's.
    """

    path: Path

    def __post_init__(self) -> None:
        self._arrays  # noqa: B018 - what is wrong is told at once

    def __getstate__(self) -> dict[str, Path]:
        """The path alone: another process reads the file, and is not sent all of its pixels."""
        return {"path": self.path}

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, Tensor, Tensor]:
        try:
            with self.path.open("rb") as file:  # numpy leaves its own open on errors
                found = np.load(file, allow_pickle=False)
                if not isinstance(found, np.lib.npyio.NpzFile):
                    raise ValueError("it is one array, an .npy")
                images = [found[f"{split}_images"] for split in ("train", "val", "test")]
                labels = [found[f"{split}_labels"] for split in ("train", "val", "test")]
        except DAMAGED as error:
            raise SourceError(
                f"{self.path} is not ChestMNIST's npz ({error}); download chestmnist*.npz again"
            ) from error
        pixels = np.concatenate(images)
        if pixels.ndim != 3 or pixels.dtype != np.uint8 or any(array.shape[1:] != (14,) for array in labels):
            raise SourceError(f"{self.path} holds {pixels.shape} {pixels.dtype}; ChestMNIST has (n, size, size) uint8")
        order = [CHESTMNIST_ORDER.index(name) for name in FINDINGS]
        is_test = torch.arange(len(pixels)) >= len(images[0]) + len(images[1])
        return pixels, torch.from_numpy(np.concatenate(labels)[:, order].astype(np.int64)), is_test

    @property
    def name(self) -> str:
        return f"ChestMNIST ({len(self.labels)} images in {self.path})"

    @property
    def labels(self) -> Int[Tensor, "images 14"]:
        return self._arrays[1]

    @property
    def patients(self) -> Int[Tensor, " images"]:
        return torch.arange(len(self.labels))

    @property
    def knows_patients(self) -> bool:
        return False

    @property
    def problems(self) -> Problems:
        return Problems()

    @property
    def given_test(self) -> Bool[Tensor, " images"]:
        return self._arrays[2]

    @property
    def fingerprint(self) -> str:
        with zipfile.ZipFile(self.path) as arrays:  # lists their checksums; their size tells nothing
            checksums = [f"{entry.filename} {entry.CRC}" for entry in arrays.infolist()]
        return digest(*checksums, self.labels, self.patients)

    def read(self, rows: Sequence[int], size: int) -> list[Picture | UnreadableImage]:
        return [to_grey(Image.fromarray(self._arrays[0][row]), size) for row in rows]
