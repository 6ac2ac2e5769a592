"""Small digits: made ones for speed, written as IDX files where a folder is wanted."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jaxtyping import UInt8
from torch import Tensor

from dcfm_images.digits import FILES, SIDE, Digits

Pack = Callable[[UInt8[Tensor, " n *rest"]], bytes]


@pytest.fixture(scope="session")
def pack() -> Pack:
    """Makes packed IDX files."""

    def packed(values: UInt8[Tensor, " n *rest"]) -> bytes:
        header = struct.pack(f">i{values.ndim}i", 0x800 + values.ndim, *values.shape)
        return gzip.compress(header + values.numpy().tobytes())

    return packed


@pytest.fixture
def digits() -> Digits:
    """Thirty made "digits" a class, 8 x 8: a bright row that tells the class, on noise."""
    labels = torch.arange(10).repeat(30)
    images = torch.randint(0, 60, (300, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[torch.arange(300), labels % 8] = 255
    return Digits(images, labels, "made")


@pytest.fixture
def folder(tmp_path: Path, pack: Pack) -> Path:
    """An own folder with 300 made digits of 28 x 28 as IDX files."""
    where = tmp_path / "idx"
    where.mkdir()
    images = torch.randint(0, 255, (300, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for name, values in zip(FILES["train"], (images, torch.arange(10, dtype=torch.uint8).repeat(30)), strict=True):
        (where / name).write_bytes(pack(values))
    return where
