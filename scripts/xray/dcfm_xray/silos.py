"""Which images train whom: a split by patients, combinations that are withheld from everybody, and the silos.

Withholding stands for what no hospital has seen: the ten pairs below and every set of three or more findings. Images
with such sets are taken out of all silos, so a model can only compose them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from dcfm.attributes import is_among
from dcfm.silos import partition
from dcfm_xray.findings import FINDINGS, SPACE, LabelSets, to_labels

WITHHELD_PAIRS: Final = (
    ("Effusion", "Mass"),
    ("Cardiomegaly", "Effusion"),
    ("Edema", "Infiltration"),
    ("Atelectasis", "Nodule"),
    ("Consolidation", "Mass"),
    ("Emphysema", "Pneumothorax"),
    ("Effusion", "Pleural_Thickening"),
    ("Fibrosis", "Infiltration"),
    ("Infiltration", "Nodule"),
    ("Atelectasis", "Pneumothorax"),
)
"""Ten of the 34 feasible pairs, chosen to touch twelve findings and common and rare pairs alike."""


class SplitError(ValueError):
    """A split that cannot be, or that leaks."""


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a source.

    Attributes:
        silos: the rows of each silo, ascending.
        test: of patients that no silo has, ascending.
        withheld: rows of the other patients whose label sets are withheld from all silos.
    """

    silos: tuple[Int[Tensor, " _"], ...]
    test: Int[Tensor, " _"]
    withheld: Int[Tensor, " _"]


def is_withheld(labels: Int[Tensor, "n 14"], pairs: Sequence[tuple[str, str]] = WITHHELD_PAIRS) -> Bool[Tensor, " n"]:
    """Whether a label set is one of the pairs, exactly, or has three or more findings."""
    return is_among(labels, to_labels(list(pairs))) | (labels.sum(1) >= 3)


def split_patients(patients: Int[Tensor, " n"], share: float, generator: torch.Generator) -> Bool[Tensor, " n"]:
    """True for images of the test patients: about ``share`` of all patients, all images of a patient on one side.

    Raises:
        SplitError: the share leaves one side without a patient.
    """
    numbers, place = torch.unique(patients, return_inverse=True)
    held_out = round(share * len(numbers))
    if not 0 < held_out < len(numbers):
        raise SplitError(f"a share of {share} of {len(numbers)} patients leaves one side of the split empty")
    is_test = torch.zeros(len(numbers), dtype=torch.bool)
    is_test[torch.randperm(len(numbers), generator=generator)[:held_out]] = True
    return is_test[place]


def split(
    labels: Int[Tensor, "n 14"],
    patients: Int[Tensor, " n"],
    *,
    kind: str,
    silos: int,
    alpha: float,
    withhold: bool,
    test_share: float,
    seed: int,
    given_test: Bool[Tensor, " n"] | None = None,
) -> Split:
    """Split by patients, withhold if asked for, and deal the rest to silos.

    Args:
        kind: ``iid``, ``noniid`` (Dirichlet over label sets) or ``disjoint``, see :func:`dcfm.silos.partition`. The
            images of one patient may lie in two silos, as when a patient visits two hospitals; none lies in silos and
            test.
        silos: how many.
        alpha: concentration of ``noniid``.
        withhold: take the combinations of :func:`is_withheld` out of all silos.
        test_share: of the patients.
        seed: of all of it.
        given_test: the test images, where the data comes with a split; ``test_share`` is not used then.

    Raises:
        SplitError: a side without patients, or silos that cannot train a compositional model.
    """
    generator = torch.Generator().manual_seed(seed)
    test = split_patients(patients, test_share, generator) if given_test is None else given_test
    if not 0 < int(test.sum()) < len(test):
        raise SplitError(
            f"the data's own test list names {int(test.sum())} of its {len(test)} images, which leaves one side of the "
            "split empty; mend the list, or take it away for a split by test_share"
        )
    held = ~test & is_withheld(labels) if withhold else torch.zeros_like(test)
    rows = (~test & ~held).nonzero()[:, 0]
    try:
        dealt = partition(kind, labels[rows], silos, generator, alpha=alpha)
        SPACE.check_coverage(labels[rows])
    except ValueError as error:
        raise SplitError(f"{len(rows)} training images cannot be dealt to {silos} silos: {error}") from error
    found = Split(tuple(rows[part] for part in dealt), test.nonzero()[:, 0], held.nonzero()[:, 0])
    check_disjoint(found, patients)
    return found


def check_disjoint(found: Split, patients: Int[Tensor, " n"]) -> None:
    """Raise :class:`SplitError` if a patient of the test set has an image in a silo, or a withheld one, on which the
    classifier of real pictures is trained too, or if a row is used twice."""
    train = torch.cat([*found.silos, found.withheld])
    shared = set(patients[train].tolist()) & set(patients[found.test].tolist())
    if shared:
        raise SplitError(
            f"patients {sorted(shared)[:5]} ({len(shared)} in all) lie in a silo, or among the withheld images, and in "
            "the test set; split by patients"
        )
    rows = torch.cat([train, found.test])
    if len(torch.unique(rows)) != len(rows):
        raise SplitError("an image lies in two parts of the split; each may be used once")


def describe(silos: Mapping[str, Int[Tensor, "_ 14"]], found: Split, labels: Int[Tensor, "n 14"]) -> str:
    """Who has how many images and label sets, and how often each finding occurs, a line a part.

    Args:
        silos: labels of what each trains on, by its name.
        found: where the withheld and the test images are, which are not decoded yet.
        labels: of all images.
    """
    lines = []
    parts = {**silos, "withheld": labels[found.withheld], "test": labels[found.test]}
    for name, rows in parts.items():
        counts = rows.sum(0).tolist()
        sets = len(LabelSets.from_labels(rows).labels) if len(rows) else 0
        often = ", ".join(f"{finding} {n}" for finding, n in zip(FINDINGS, counts, strict=True) if n)
        lines.append(f"{name}: {len(rows)} images, {sets} label sets: {often}")
    return "\n".join(lines)
