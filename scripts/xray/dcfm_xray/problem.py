"""The problem: a source split by patients, combinations that nobody holds, and silos of cached latents.

Latents are encoded once, into one cache a silo (:mod:`dcfm_xray.cache`), and read through memory maps.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from dcfm.attributes import is_among
from dcfm.progress import StageProgress
from dcfm.silos import LabelHistogram, Silo, check_silos
from dcfm.weights import fingerprint
from dcfm_xray import silos as splitting
from dcfm_xray.cache import encode
from dcfm_xray.chestmnist import ChestMnist
from dcfm_xray.encoders import Codec
from dcfm_xray.findings import FINDINGS, SPACE, describe, label_table, to_set
from dcfm_xray.nih import NihFolder
from dcfm_xray.silos import Split
from dcfm_xray.sources import PhantomSource, Picture, Problems, Source, SourceError, UnreadableImage, digest

log = logging.getLogger(__name__)

SOURCES: Final = ("phantom", "nih", "chestmnist")

WARNING: Final = (
    "Synthetic medical images are for research, not for diagnosis: they show what a model learned, not a patient, and "
    "can be wrong in ways that cannot be seen."
)
"""Printed by every script that makes or judges pictures."""

UNREADABLE: Final = "images that cannot be decoded"
"""A kind of :class:`~dcfm_xray.sources.Problems`."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures with the findings that they have, or were asked for.

    Attributes:
        images: grey, 0 to 255.
        labels: findings, 0 or 1.
        patients: equal numbers are one patient; all different for generated pictures.
    """

    images: UInt8[Tensor, "n size size"]
    labels: Int[Tensor, "n 14"]
    patients: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, which: Int[Tensor, " some"]) -> "Pictures":
        """Some of them."""
        return Pictures(self.images[which], self.labels[which], self.patients[which])


@dataclass(frozen=True, eq=False)
class Read:
    """What could be read of some rows of a source.

    Attributes:
        pictures: the readable ones.
        rows: of the source, of each of them.
        unreadable: the others, each named with the reason.
    """

    pictures: Pictures
    rows: Int[Tensor, " kept"]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Problem:
    """What is trained on and what is judged with.

    Attributes:
        source: all images.
        codec: to latents and back.
        split: who has which rows.
        silos: latents and labels.
        patients: of each silo's images.
        skipped: images that could not be decoded, with the reason.
    """

    source: Source
    codec: Codec
    split: Split
    silos: list[Silo]
    patients: tuple[Int[Tensor, " _"], ...]
    skipped: tuple[str, ...]

    @property
    def known(self) -> Int[Tensor, "m 14"]:
        """The label sets that some silo holds."""
        return LabelHistogram.merge([silo.histogram(SPACE) for silo in self.silos]).combinations

    def test(self) -> Pictures:
        """The readable pictures of the test patients, as they are: neither encoded nor decoded; read once."""
        return self._test.pictures

    @property
    def unreadable_test_images(self) -> tuple[str, ...]:
        """Those of the test patients that cannot be decoded, each named with the reason."""
        return self._test.unreadable

    @cached_property
    def _test(self) -> Read:
        return read_once(self.source, self.split.test, self.codec.size)

    @property
    def left_out(self) -> Problems:
        """What of the source is in no silo though it might be expected there. Images of test patients and withheld ones
        are decoded when a model is judged, and counted there."""
        return Problems({**self.source.problems.left_out, UNREADABLE: self.skipped})

    @cached_property
    def test_fingerprint(self) -> str:
        """SHA-256 of what is judged on: results of other test pictures are other results."""
        test = self.test()
        return fingerprint([{"images": test.images, "labels": test.labels}])

    def training(self) -> Int[Tensor, " n"]:
        """All rows of patients that are not in the test set, withheld ones included."""
        return torch.cat([*self.split.silos, self.split.withheld]).sort().values

    def matrix(self) -> dict[str, Any]:
        """Who holds how many of which label set, as plain data."""
        counts: dict[str, list[int]] = {}
        for i, silo in enumerate(self.silos):
            histogram = silo.histogram(SPACE)
            for label, n in zip(histogram.combinations.tolist(), histogram.counts.tolist(), strict=True):
                counts.setdefault(describe(to_set(label)), [0] * len(self.silos))[i] = n
        feasible = feasible_sets()
        return {
            "findings": list(FINDINGS),
            "source": self.source.name,
            "silos": [silo.name for silo in self.silos],
            "counts": counts,
            "feasible": [describe(to_set(label)) for label in feasible.tolist()],
            "novel": [describe(to_set(label)) for label in feasible[~is_among(feasible, self.known)].tolist()],
            "test_images": len(self.split.test),
            "withheld_images": len(self.split.withheld),
            "unreadable_images": len(self.skipped),
        }

    def describe(self) -> str:
        """Source, what is wrong with it, and the split, in text."""
        matrix = self.matrix()
        lines = [self.source.name]
        if problems := self.left_out.describe():
            lines.append(problems)
        held = {silo.name: silo.labels for silo in self.silos}
        lines.append(splitting.describe(held, self.split, self.source.labels))
        lines.append(f"{len(matrix['novel'])} of {len(matrix['feasible'])} feasible label sets are in no silo")
        return "\n".join(lines)


def feasible_sets() -> Int[Tensor, "m 14"]:
    """The 54 feasible label sets of the NIH table, the empty one included."""
    return label_table().feasible().labels


def open_source(name: str, path: Path | None, images: int, seed: int) -> Source:
    """The source of a name.

    Args:
        name: one of :data:`SOURCES`.
        path: the NIH folder, or ChestMNIST's npz.
        images: phantoms.
        seed: of the phantoms.

    Raises:
        SourceError: an unknown name, no path, one for phantoms, or no such data there.
    """
    if name not in SOURCES:
        raise SourceError(f"unknown source {name!r}; the sources are {', '.join(SOURCES)}")
    if name == "phantom":
        if path is not None:  # with source= forgotten, a training on phantoms would be taken for one on these data
            raise SourceError(f"path={path} is no data of phantoms; give source=nih or chestmnist, or leave path= out")
        return PhantomSource(images, seed)
    if path is None:
        raise SourceError(f"source={name} needs path=, the folder or file on this disk; or take source=phantom")
    return NihFolder(path) if name == "nih" else ChestMnist(path)


def make_problem(
    source: Source,
    codec: Codec,
    cache: Path,
    split: Split,
    *,
    shard: int = 1024,
    workers: int = 0,
    on_progress: StageProgress | None = None,
) -> Problem:
    """Encode every silo's images and make the silos.

    Args:
        source: all images.
        codec: to latents.
        cache: folder of caches, one a silo; what is there is not encoded again.
        split: see :func:`dcfm_xray.silos.split`.
        shard, workers: see :func:`dcfm_xray.cache.encode`.
        on_progress: see :data:`~dcfm.progress.StageProgress`.

    Raises:
        ValueError: the cache is of something else, the disk is full, or silos that cannot train together, with the
            images that cannot be decoded, if there are any.
    """
    made, patients, skipped = [], [], []
    for i, rows in enumerate(split.silos):
        name = f"hospital{i}"

        def show(done: int, total: int, name: str = name) -> None:
            if on_progress is not None:
                on_progress(f"encoding {name}", done, total)

        found = encode(source, rows, codec, cache / name, shard=shard, workers=workers, on_shard=show)
        skipped += found.unreadable
        patients.append(source.patients[rows[found.rows]])
        with _told_of(skipped):
            made.append(Silo(name, found.latents, source.labels[rows[found.rows]]))
    with _told_of(skipped):
        check_silos(SPACE, made)
    return Problem(source, codec, split, made, tuple(patients), tuple(skipped))


@contextmanager
def _told_of(unreadable: Sequence[str]) -> Iterator[None]:
    """What silos lack may be there, in images that cannot be decoded: an error says so."""
    try:
        yield
    except ValueError as error:
        if not unreadable:
            raise
        raise ValueError(f"{error}\n{Problems({UNREADABLE: unreadable}).describe()}") from error


def read_pictures(source: Source, rows: Int[Tensor, " n"], size: int) -> Read:
    """The readable pictures among some rows; what is not readable is logged.

    Raises:
        SourceError: none is readable.
    """
    images: list[Picture] = []
    kept: list[int] = []
    unreadable: list[str] = []
    for part in rows.split(256):
        for row, picture in zip(part.tolist(), source.read(part.tolist(), size), strict=True):
            if isinstance(picture, UnreadableImage):
                unreadable.append(str(picture))
            else:
                images.append(picture)
                kept.append(row)
    if not kept:
        raise SourceError(f"none of {len(rows)} images of {source.name} can be decoded")
    if unreadable:
        log.warning("of %d images of %s: %s", len(rows), source.name, Problems({UNREADABLE: unreadable}).describe())
    index = torch.tensor(kept)
    return Read(Pictures(torch.stack(images), source.labels[index], source.patients[index]), index, tuple(unreadable))


_KEPT: Final = 2
"""Readings that :func:`read_once` keeps: a training's real pictures and its test pictures."""

_kept: dict[tuple[str, str, int], Read] = {}


def read_once(source: Source, rows: Int[Tensor, " n"], size: int) -> Read:
    """As :func:`read_pictures`; this process keeps the last two readings, which all entries of a table ask for."""
    key = source.fingerprint, digest(rows), size
    found = _kept.pop(key, None)
    if found is None:
        while len(_kept) >= _KEPT:
            del _kept[next(iter(_kept))]  # before reading, so that no third one takes memory
        found = read_pictures(source, rows, size)
    _kept[key] = found
    return found
