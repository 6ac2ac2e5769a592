"""The problem: digit x colour, half of the combinations in silos, the other half in none.

The observed combinations are a seeded choice that keeps every digit and every colour and identifies all main effects
(Eq. 2 and full rank). Digits are first split in two: those of the reference, for metrics alone, and those of the silos.
Each of a silo's digits has one colour for good, drawn evenly from those that its digit is observed in. The pictures are
coloured batch by batch (:class:`dcfm_images.task.ImageTask`); silos hold grey bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Int
from torch import Tensor

from dcfm.attributes import AttributeSpace, CoverageError
from dcfm.silos import PARTITIONS, LabelHistogram, Silo, check_silos, partition
from dcfm_images.colours import COLOURS
from dcfm_images.digits import CLASSES, Digits

SPACE: Final = AttributeSpace(("digit", "colour"), (tuple(str(d) for d in range(CLASSES)), tuple(COLOURS)))
"""The attribute space: digit, then colour."""


@dataclass(frozen=True)
class Problem:
    """Silos and what they are judged by.

    Attributes:
        space: digit and colour.
        known: combinations that some silo holds.
        novel: the others.
        silos: grey digits ``(n, size, size)`` with their labels (digit, colour); none where they stayed elsewhere.
        reference: grey digits that are in no silo, a like share of each digit; colour them as the metric needs, one
            digit in several colours if need be.
        histograms: how much each silo holds of which combination, by its name.
    """

    space: AttributeSpace
    known: Int[Tensor, "m 2"]
    novel: Int[Tensor, "j 2"]
    silos: list[Silo]
    reference: Digits
    histograms: Mapping[str, LabelHistogram]

    def matrix(self) -> dict[str, Any]:
        """Who holds how much of what, as plain data: ``counts[silo][digit][colour]``, names, and the known pairs."""
        counts = []
        for histogram in self.histograms.values():
            table = torch.zeros(self.space.cardinalities, dtype=torch.long)
            table[tuple(histogram.combinations.T)] = histogram.counts
            counts.append(table.tolist())
        return {
            "digits": list(self.space.values[0]),
            "colours": list(self.space.values[1]),
            "silos": list(self.histograms),
            "counts": counts,
            "known": self.known.tolist(),
            "novel": self.novel.tolist(),
            "reference_digits": len(self.reference),
            "source": self.reference.source,
        }

    def describe(self) -> str:
        """The matrix in text: one row a digit, one column a colour; in each cell how many silos hold it and how many
        pictures in all."""
        counts = torch.tensor(self.matrix()["counts"])
        holders, pictures = (counts > 0).sum(0), counts.sum(0)
        names = self.space.values[1]
        width = max(*(len(name) for name in names), len(f"{len(self.silos)}:{int(pictures.max())}")) + 1
        lines = [
            "silos:pictures of each combination, · in none",
            " " * 6 + "".join(f"{name:>{width}}" for name in names),
        ]
        for digit, row in enumerate(self.space.values[0]):
            cells = [f"{int(h)}:{int(n)}" if n else "·" for h, n in zip(holders[digit], pictures[digit], strict=True)]
            lines.append(f"{row:>6}" + "".join(f"{cell:>{width}}" for cell in cells))
        sizes = ", ".join(f"{name} {histogram.total}" for name, histogram in self.histograms.items())
        return "\n".join([*lines, f"{sizes}; reference {len(self.reference)} digits"])


def choose_observed(space: AttributeSpace, number: int, generator: torch.Generator) -> Int[Tensor, "number k"]:
    """A seeded choice of combinations that satisfies Eq. 2 with full rank, in lexicographic order.

    In a random order of all combinations, those that raise the rank of the main-effects design come first, then the
    rest in that order. Where the first ``number`` of the order would do, they are what is chosen: the choice is then
    uniform over those that are possible.

    Raises:
        CoverageError: fewer than Eq. 2 allows, or none would be left out.
    """
    everything = space.combinations()
    if not space.main_effects <= number < len(everything):
        raise CoverageError(
            f"observed={number} of {len(everything)} combinations: at least {space.main_effects} are needed (Eq. 2), "
            f"and at most {len(everything) - 1}, so that one stays novel"
        )
    order = torch.randperm(len(everything), generator=generator).tolist()
    basis: list[int] = []
    for row in order:
        if len(basis) < space.main_effects and space.main_effects_rank(everything[[*basis, row]]) > len(basis):
            basis.append(row)
    others = [row for row in order if row not in basis]
    chosen = everything[sorted(basis + others[: number - len(basis)])]
    space.check_coverage(chosen)
    return chosen


def make_problem(
    digits: Digits,
    *,
    silos: int,
    kind: str = "noniid",
    alpha: float = 0.1,
    observed: int = 50,
    reference: float = 0.2,
    seed: int = 0,
) -> Problem:
    """Split digits into reference and silos, and give the silos' digits colours.

    Args:
        digits: of the ``train`` part.
        silos: how many.
        kind: of partition, see :func:`dcfm.silos.partition`.
        alpha: its concentration, where it is ``noniid``.
        observed: combinations that are in silos.
        reference: share of the digits that are kept for metrics.
        seed: of all that is drawn here.

    Raises:
        dcfm.attributes.CoverageError: the observed combinations cannot identify a compositional model.
        ValueError: an unknown partition, or too few digits for that many combinations or silos.
    """
    if kind not in PARTITIONS:
        raise ValueError(f"unknown partition {kind!r}; the partitions are {', '.join(PARTITIONS)}")
    if not 0 < reference < 1:
        raise ValueError(f"reference={reference}; the reference's share of the digits lies between 0 and 1")
    generator = torch.Generator().manual_seed(seed)
    known = choose_observed(SPACE, observed, generator)
    kept: list[Tensor] = []
    used: list[Tensor] = []
    colours: list[Tensor] = []
    for digit in range(CLASSES):
        rows = (digits.labels == digit).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        border = round(reference * len(rows))
        palette = known[known[:, 0] == digit, 1]
        if border < 1 or len(rows) - border < len(palette):
            raise ValueError(
                f"{len(rows)} digits {digit} feed a reference of {border} and {len(palette)} observed combinations; "
                f"each needs at least one: bring more digits, give another share than reference={reference}, or "
                "observe fewer combinations"
            )
        kept.append(rows[:border])
        used.append(rows[border:])
        # Evenly, and the remainder to colours drawn by chance.
        palette = palette[torch.randperm(len(palette), generator=generator)]
        colours.append(palette[torch.arange(len(rows) - border) % len(palette)])
    rows, colour = torch.cat(used), torch.cat(colours)
    images, labels = digits.images[rows], torch.stack([digits.labels[rows], colour], dim=1)
    made = [
        Silo(f"silo{i}", images[part], labels[part])
        for i, part in enumerate(_shares(kind, labels, silos, generator, alpha))
    ]
    check_silos(SPACE, made)
    _, novel = SPACE.split(known)
    histograms = {silo.name: silo.histogram(SPACE) for silo in made}
    return Problem(SPACE, known, novel, made, digits[torch.cat(kept).sort().values], histograms)


def _shares(
    kind: str, labels: Int[Tensor, "n 2"], silos: int, generator: torch.Generator, alpha: float
) -> Sequence[Int[Tensor, " _"]]:
    if silos > len(labels):
        raise ValueError(f"{len(labels)} digits cannot feed {silos} silos; use fewer silos or bring more digits")
    return partition(kind, labels, silos, generator, alpha=alpha)
