"""Where X-rays come from: what a source is, and the phantom as one; :mod:`.nih` and :mod:`.chestmnist` are the others.

A source knows every image's label and patient without decoding anything, and decodes some images at a time, so that a
data set of any size can be walked through. What is wrong with a folder (rows without a file, files without a row,
labels that name no finding) is counted and named once, when it is opened; an image that cannot be decoded is an
:class:`UnreadableImage` when its turn comes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from dcfm_xray.findings import label_table
from dcfm_xray.phantom import DRAWING, draw_phantoms

NAMED = 5
"""How many of the things that are wrong are named one by one."""

Picture = UInt8[Tensor, "size size"]


class SourceError(ValueError):
    """What was given is no such data set."""


class UnreadableImage(ValueError):
    """An image cannot be decoded; the text names it."""


@dataclass(frozen=True)
class Problems:
    """What was left out when a source was opened, by kind: how many, and the first of them by name."""

    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def describe(self) -> str:
        """A line a kind, e.g. ``2 rows without a file (a.png, b.png)``; empty if nothing is wrong."""
        lines = []
        for kind, names in self.left_out.items():
            if names:
                shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
                lines.append(f"{len(names)} {kind} ({shown})")
        return "\n".join(lines)


@runtime_checkable
class Source(Protocol):
    """Labelled images of patients.

    Attributes:
        name: for reports.
        labels: one row an image, 0 or 1, in :data:`~dcfm_xray.findings.FINDINGS`' order.
        patients: a number an image; equal numbers are one patient.
        knows_patients: whether it names patients; else each image is one, though some may be of the same.
        problems: what was left out.
        given_test: the test images where the data set comes with a split, else ``None``.
        fingerprint: changes when images or labels do, as far as can be told without decoding.
    """

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> Int[Tensor, "images 14"]: ...

    @property
    def patients(self) -> Int[Tensor, " images"]: ...

    @property
    def knows_patients(self) -> bool: ...

    @property
    def problems(self) -> Problems: ...

    @property
    def given_test(self) -> Bool[Tensor, " images"] | None: ...

    @property
    def fingerprint(self) -> str: ...

    def read(self, rows: Sequence[int], size: int) -> list[Picture | UnreadableImage]:
        """Decode some images to grey pictures of ``size`` pixels a side, each apart: what cannot be decoded comes back
        as the error that names it.

        Raises:
            OSError: a file cannot be read now; it may be readable later.
        """
        ...


@dataclass(frozen=True)
class PhantomSource:
    """Phantoms whose label sets are drawn from the NIH table.

    Args:
        number: images.
        seed: of labels, patients and pictures.
        per_patient: mean number of images of a patient; geometric, the NIH data's mean by default (112,120 / 30,805).
    """

    number: int
    seed: int = 0
    per_patient: float = 3.64

    def __post_init__(self) -> None:
        if self.number < 1 or self.per_patient < 1:
            raise SourceError(
                f"{self.number} phantoms, {self.per_patient} a patient; give at least one of each (images= of "
                "train.py, or phantoms= of a federation)"
            )

    @property
    def name(self) -> str:
        return f"phantom ({self.number} images, seed {self.seed})"

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        labels = label_table().draw(self.number, torch.Generator().manual_seed(self.seed))
        begins = torch.rand(self.number, generator=torch.Generator().manual_seed(self.seed + 1)) < 1 / self.per_patient
        return labels, begins.long().cumsum(0)

    @property
    def labels(self) -> Int[Tensor, "images 14"]:
        return self._drawn[0]

    @property
    def patients(self) -> Int[Tensor, " images"]:
        return self._drawn[1]

    @property
    def knows_patients(self) -> bool:
        return True

    @property
    def problems(self) -> Problems:
        return Problems()

    @property
    def given_test(self) -> None:
        return None

    @property
    def fingerprint(self) -> str:
        drawing = [] if DRAWING == 1 else [f"drawing {DRAWING}"]  # nothing, so that caches of before are known again
        return digest(self.name, str(self.per_patient), self.labels, self.patients, *drawing)

    def read(self, rows: Sequence[int], size: int) -> list[Picture | UnreadableImage]:
        index = torch.as_tensor(list(rows), dtype=torch.long)
        base = 1_000_003 * (self.seed + 1)
        return list(draw_phantoms(self.labels[index], base + self.patients[index], base + index, size))


def digest(*parts: str | Tensor) -> str:
    """SHA-256 of texts and tensors."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else part.numpy().tobytes())
    return found.hexdigest()
