"""ChestMNIST: the NIH images in small, as MedMNIST distributes them."""

import os
import shutil
import zipfile
import zlib
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

from dcfm.artefacts import atomically
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


SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True)
class ChestMnist:
    """ChestMNIST's npz (MedMNIST v2), of any of its sizes. It names no patients, so each image is a patient of
    its own; its splits are made by patients, and its test split is the one to use.

    Its pixels are unpacked once into :func:`cache_folder` and read from there as they are needed, through a memory map:
    at 224 pixels they are 5.6 GB, which would be in every process else.

    Raises:
        SourceError: no such file, or arrays that are not ChestMNIST's.
        OSError: there is no room to unpack it.
    """

    path: Path

    def __post_init__(self) -> None:
        self._arrays  # noqa: B018 - what is wrong is told at once

    def __getstate__(self) -> dict[str, Path]:
        """The path alone: another process maps the pixels, and is not sent them."""
        return {"path": self.path}

    @cached_property
    def _arrays(self) -> tuple[list[np.ndarray], Tensor, Tensor]:
        remedy = "download chestmnist*.npz again"
        try:
            with self.path.open("rb") as file:  # numpy leaves its own open on errors
                found = np.load(file, allow_pickle=False)
                if not isinstance(found, np.lib.npyio.NpzFile):
                    raise ValueError("it is one array, an .npy")
                labels = [found[f"{split}_labels"] for split in SPLITS]
            with zipfile.ZipFile(self.path) as archive:
                heads = [_head(archive, f"{split}_images.npy") for split in SPLITS]
        except DAMAGED as error:
            raise SourceError(f"{self.path} is not ChestMNIST's npz ({error}); {remedy}") from error
        shapes, kinds = [shape for shape, _ in heads], [kind for _, kind in heads]
        if (
            any(len(shape) != 3 or shape[1:] != shapes[0][1:] or shape[1] != shape[2] for shape in shapes)
            or any(kind != np.uint8 for kind in kinds)
            or any(array.shape != (shape[0], 14) for array, shape in zip(labels, shapes, strict=True))
        ):
            raise SourceError(
                f"{self.path} holds images {', '.join(f'{s} {k}' for s, k in heads)} and labels "
                f"{', '.join(str(array.shape) for array in labels)}; ChestMNIST has (n, size, size) uint8 and (n, 14)"
            )
        try:
            images = [self._unpacked(f"{split}_images.npy") for split in SPLITS]
        except SourceError:
            raise
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise SourceError(f"{self.path} is damaged ({error}); {remedy}") from error
        order = [CHESTMNIST_ORDER.index(name) for name in FINDINGS]
        number = sum(map(len, images))
        is_test = torch.arange(number) >= number - len(images[-1])
        return images, torch.from_numpy(np.concatenate(labels)[:, order].astype(np.int64)), is_test

    def _unpacked(self, member: str) -> np.ndarray:
        """An array of the archive as a memory map of its own file, which is written if it is not there."""
        with zipfile.ZipFile(self.path) as archive:
            entry = archive.getinfo(member)
            target = cache_folder() / f"{entry.CRC:08x}-{entry.file_size}-{member}"
            if not target.is_file() or target.stat().st_size != entry.file_size:  # cut off since it was written
                # Copying checks the checksum at the end, before the file gets its name.
                with archive.open(entry) as packed, atomically(target) as temporary, temporary.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 1 << 20)
        try:
            return np.load(target, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise SourceError(
                f"{target}, unpacked from {self.path}, is damaged ({error}); remove it to unpack it again"
            ) from error

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
        return [to_grey(Image.fromarray(np.asarray(self._pixels(row))), size) for row in rows]

    def _pixels(self, row: int) -> np.ndarray:
        for images in self._arrays[0]:
            if row < len(images):
                return images[row]
            row -= len(images)
        raise IndexError(f"{self.path} has no image {row} more")


def cache_folder() -> Path:
    """Where pixels are unpacked: ``$XDG_CACHE_HOME/dcfm/chestmnist``, by default under ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dcfm" / "chestmnist"


def _head(archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype]:
    """An array's shape and type, without its content."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
    return shape, kind
