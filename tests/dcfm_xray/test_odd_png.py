"""PNG files as Pillow does not write them: 16 bits a colour, and chunks that it stumbles over."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from dcfm_xray.nih import NihFolder
from dcfm_xray.sources import UnreadableImage
from tests.dcfm_xray.test_sources import nih, ramp


def chunk(name: bytes, content: bytes) -> bytes:
    """A PNG file's chunk."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(values: np.ndarray, kind: int) -> bytes:
    """A PNG file of any colour type, as Pillow writes few with 16 bits."""
    height, width = values.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 8 * values.dtype.itemsize, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_twelve_bits_of_a_colour_in_sixteen_are_named_too(tmp_path: Path, kind: int, channels: int) -> None:
    """Of colours, and of grey with transparency, Pillow gives the highest eight bits alone: a picture that is black."""
    for name, scale in (("twelve.png", 16), ("whole.png", 257)):
        values = np.repeat((ramp().astype(np.uint16) * scale).astype(">u2")[:, :, None], channels, axis=2)
        path = tmp_path / "images_001" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(values, kind))
    source = NihFolder(nih(tmp_path, "twelve.png,Mass,0,1\nwhole.png,Mass,0,2\n"))
    twelve, whole = source.read([0, 1], 40)
    assert isinstance(twelve, UnreadableImage)
    assert "twelve.png: 16 bits a colour with no value above 16383" in str(twelve)
    assert isinstance(whole, torch.Tensor)
    assert whole.max() > 200


def test_a_chunk_that_pillow_stumbles_over_is_an_unreadable_image(tmp_path: Path) -> None:
    """It raises what is no error of files: ``struct.error`` at an empty gamma behind the pixels."""
    path = tmp_path / "images_001" / "images" / "odd.png"
    path.parent.mkdir(parents=True)
    whole = png(ramp()[:, :, None], 0)
    path.write_bytes(whole[:-12] + chunk(b"gAMA", b"") + whole[-12:])
    (found,) = NihFolder(nih(tmp_path, "odd.png,Mass,0,1\n")).read([0], 40)
    assert isinstance(found, UnreadableImage)
    assert "odd.png" in str(found)
