"""The 14 findings of NIH ChestX-ray14 as binary attributes, and which sets of them occur.

``label_sets.csv`` counts every set of findings among the 112,120 images of the NIH Clinical Center's label table
(``Data_Entry_2017_v2020.csv``; Wang et al. 2017, use unrestricted with attribution), with the 836 strings of the table
sorted into 801 sets. A set is *feasible* where at least 0.1 % of all images have exactly it; these are the combinations
that the paper's Section 6.3 evaluates.
"""

import csv
import importlib.resources
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from jaxtyping import Int
from torch import Tensor

from dcfm.attributes import AttributeSpace

FINDINGS: Final = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
"""In alphabetical order, spelled as in the NIH table; the attributes' order."""

NO_FINDING: Final = "No Finding"
"""How the table writes the empty set."""

FEASIBLE_SHARE: Final = 0.001
"""Least share of all images that a feasible set of findings has."""

SPACE: Final = AttributeSpace(FINDINGS, (("no", "yes"),) * len(FINDINGS))
"""Every finding a binary attribute: 2^14 combinations."""

_PLACE: Final = {name: i for i, name in enumerate(FINDINGS)}


class FindingError(ValueError):
    """A label names what is no finding, or contradicts itself."""


def parse(text: str) -> frozenset[str]:
    """The set of findings of a table entry such as ``Effusion|Mass`` or ``No Finding``, in any order.

    Raises:
        FindingError: an unknown or empty name, or ``No Finding`` beside a finding.

    >>> sorted(parse("Mass|Effusion"))
    ['Effusion', 'Mass']
    >>> parse("No Finding")
    frozenset()
    """
    names = [part.strip() for part in text.split("|")]
    unknown = [name for name in names if name not in _PLACE and name != NO_FINDING]
    if unknown:
        raise FindingError(
            f"{unknown[0]!r} in {text!r} is no finding; known are {', '.join(FINDINGS)} and {NO_FINDING}"
        )
    if NO_FINDING in names and len(names) > 1:
        raise FindingError(f"{text!r} has both findings and {NO_FINDING!r}; correct the label")
    return frozenset(names) - {NO_FINDING}


def describe(findings: Iterable[str]) -> str:
    """The table's way to write a set, sorted: the inverse of :func:`parse`."""
    return "|".join(sorted(findings)) or NO_FINDING


def to_labels(sets: Sequence[Iterable[str]]) -> Int[Tensor, "n 14"]:
    """Sets of findings as rows of 0 and 1, in :data:`FINDINGS`' order."""
    labels = torch.zeros(len(sets), len(FINDINGS), dtype=torch.long)
    for row, findings in enumerate(sets):
        for name in findings:
            labels[row, _PLACE[name]] = 1
    return labels


def to_set(label: Sequence[int]) -> frozenset[str]:
    """The set of findings of one row; the inverse of :func:`to_labels`."""
    return frozenset(name for name, value in zip(FINDINGS, label, strict=True) if value)


@dataclass(frozen=True, eq=False)
class LabelSets:
    """Distinct sets of findings and how many images have exactly each.

    Args:
        labels: the sets as rows, unique.
        counts: images of each.
    """

    labels: Int[Tensor, "m 14"]
    counts: Int[Tensor, " m"]

    @classmethod
    def from_labels(cls, labels: Int[Tensor, "n 14"]) -> "LabelSets":
        """Count the rows."""
        found, counts = torch.unique(labels, dim=0, return_counts=True)
        return cls(found, counts)

    @property
    def total(self) -> int:
        """Number of images."""
        return int(self.counts.sum())

    def feasible(self, share: float = FEASIBLE_SHARE) -> "LabelSets":
        """The sets that at least this share of all images has, in lexicographic order.

        Raises:
            ValueError: the share is not between 0 and 1, or no set has it.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share={share} of all images; give a number above 0 and up to 1")
        kept = self.counts >= share * self.total
        if not kept.any():
            raise ValueError(
                f"no set of findings has {share:.2%} of the {self.total} images; the most frequent has "
                f"{int(self.counts.max())} of them. Give a smaller share."
            )
        order = sorted(kept.nonzero()[:, 0].tolist(), key=lambda i: self.labels[i].tolist())
        return LabelSets(self.labels[order], self.counts[order])

    def draw(self, number: int, generator: torch.Generator) -> Int[Tensor, "number 14"]:
        """Labels drawn in proportion to the counts."""
        rows = torch.multinomial(self.counts.double(), number, replacement=True, generator=generator)
        return self.labels[rows]


@cache
def label_table() -> LabelSets:
    """The 801 sets of findings of all 112,120 NIH images, the most frequent first."""
    path = importlib.resources.files("dcfm_xray") / "label_sets.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return LabelSets(
        to_labels([parse(row["findings"]) for row in rows]), torch.tensor([int(r["images"]) for r in rows])
    )
