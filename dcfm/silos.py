"""Silos: private data, what may be known about it, and the partitions that make silos out of one labelled data set.

A silo's samples never leave it. What may leave, through :mod:`dcfm.exchange`, is its :class:`LabelHistogram`: how many
samples it holds of each combination of attribute values, the ``n_a(y)`` behind ``p(a|y_i)`` and DCFM-B's replay.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from dcfm.attributes import AttributeSpace, check_whole
from dcfm.weights import fingerprint

PARTITIONS: Final = ("iid", "noniid", "disjoint")

MOST_SAMPLES: Final = 2**53
"""Of a silo, so that sums over silos stay exact."""


@dataclass(frozen=True, eq=False)
class LabelHistogram:
    """How often each combination of attribute values occurs.

    Args:
        combinations: the combinations that occur, unique and in lexicographic order.
        counts: how often each occurs, at least once.
        cardinalities: ``|Y_i|`` of each attribute.

    Raises:
        ValueError: no combination, a value outside its attribute, a count below one, more than
            :data:`MOST_SAMPLES` samples, or rows repeated or out of order.
    """

    combinations: Int[Tensor, "m k"]
    counts: Int[Tensor, " m"]
    cardinalities: tuple[int, ...]

    def __post_init__(self) -> None:
        shape = tuple(self.combinations.shape)
        if len(shape) != 2 or not shape[0] or shape[1] != len(self.cardinalities) or self.counts.shape != shape[:1]:
            raise ValueError(
                f"combinations of shape {shape} and counts of shape {tuple(self.counts.shape)} make no histogram over "
                f"{len(self.cardinalities)} attributes; expected (m, {len(self.cardinalities)}) and (m,) with m >= 1"
            )
        self._check_values()  # not by a space, whose names of as many values as are claimed may fill all memory
        if (self.counts < 1).any():
            raise ValueError(f"a count is {int(self.counts.min())}; leave out combinations that do not occur")
        if float(self.counts.double().sum()) > MOST_SAMPLES:
            raise ValueError(f"its label histogram counts more than {MOST_SAMPLES} samples")
        if not torch.equal(torch.unique(self.combinations, dim=0), self.combinations):
            raise ValueError("combinations repeat or are out of order; use LabelHistogram.from_labels")

    def _check_values(self) -> None:
        if min(self.cardinalities) < 2:
            raise ValueError(f"attributes of {self.cardinalities} values; an attribute needs at least two")
        check_whole(self.combinations)
        top = torch.tensor(self.cardinalities) - 1
        if (bad := (self.combinations < 0) | (self.combinations > top)).any():
            row, i = (int(place) for place in bad.nonzero()[0])
            raise ValueError(f"label {row} has a{i}={int(self.combinations[row, i])}; allowed are 0 to {int(top[i])}")

    @classmethod
    def from_labels(cls, y: Int[Tensor, "n k"], cardinalities: tuple[int, ...]) -> "LabelHistogram":
        """Count the rows of ``y``, full labels without null tokens."""
        check_whole(y)
        combinations, counts = torch.unique(y.cpu().long(), dim=0, return_counts=True)
        return cls(combinations, counts, cardinalities)

    @classmethod
    def merge(cls, histograms: Sequence["LabelHistogram"]) -> "LabelHistogram":
        """The histogram of all silos' samples together."""
        if len({h.cardinalities for h in histograms}) != 1:
            raise ValueError(
                f"histograms over {[h.cardinalities for h in histograms]} cannot be merged; give at least one, and all "
                "over the same attribute space"
            )
        combinations, place = torch.unique(torch.cat([h.combinations for h in histograms]), dim=0, return_inverse=True)
        counts = torch.zeros(len(combinations), dtype=torch.long)
        counts.index_add_(0, place, torch.cat([h.counts for h in histograms]))
        return cls(combinations, counts, histograms[0].cardinalities)

    @property
    def total(self) -> int:
        """The number of samples."""
        return int(self.counts.sum())

    def marginal(self, i: int) -> Int[Tensor, " values"]:
        """How often each of attribute ``i``'s ``|Y_i|`` values occurs."""
        counts = torch.zeros(self.cardinalities[i], dtype=torch.long)
        return counts.index_add_(0, self.combinations[:, i], self.counts)

    def count(self, y: Int[Tensor, "batch k"]) -> Int[Tensor, " batch"]:
        """How many samples agree with each row of ``y`` in every attribute that it gives: ``n(y)`` of a full label,
        ``n(y_i)`` where only attribute ``i`` is not null, the total where all are. On ``y``'s device."""
        combinations, counts = self.combinations.to(y.device), self.counts.to(y.device)
        agrees = torch.ones(len(y), len(counts), dtype=torch.bool, device=y.device)
        for i, null in enumerate(self.cardinalities):
            agrees &= (y[:, i, None] == combinations[:, i]) | (y[:, i, None] == null)
        return (agrees * counts).sum(1)

    def sample(self, n: int, generator: torch.Generator, power: float = 1.0) -> Int[Tensor, "n k"]:
        """``n`` labels drawn in proportion to ``counts ** power``, on the generator's device: as often
        as they occur at 1, all equally at 0."""
        weights = self.counts.double().to(generator.device) ** power
        rows = torch.multinomial(weights, n, replacement=True, generator=generator)
        return self.combinations.to(generator.device)[rows]

    def state_dict(self) -> dict[str, Tensor]:
        """The histogram as tensors, the payload of an exchange's message of kind ``histogram``."""
        return {
            "combinations": self.combinations,
            "counts": self.counts,
            "cardinalities": torch.tensor(self.cardinalities),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "LabelHistogram":
        """The inverse of :meth:`state_dict`.

        Raises:
            ValueError: other names, or tensors that are no histogram.
        """
        names = {"combinations", "counts", "cardinalities"}
        if set(state) != names or any(t.dtype != torch.long for t in state.values()):
            given = {name: str(t.dtype) for name, t in state.items()}
            raise ValueError(f"{given} is no histogram; expected int64 tensors named {sorted(names)}")
        return cls(state["combinations"], state["counts"], tuple(state["cardinalities"].reshape(-1).tolist()))


@dataclass(frozen=True, eq=False)
class Silo:
    """A name and the private, labelled data behind it.

    Args:
        name: the silo's name in the exchange.
        data: samples, normalised in coordinates that all silos share.
        labels: the full label of each sample.

    Labels may be of any type of whole numbers; they are kept as int64.

    Raises:
        ValueError: no data, as many samples as labels not given, labels that are no whole numbers, or NaN or infinity
            among the data.
    """

    name: str
    data: Shaped[Tensor, " samples *shape"] = field(repr=False)
    labels: Int[Tensor, "labels k"] = field(repr=False)

    def __post_init__(self) -> None:
        for what, given in (("data", self.data), ("labels", self.labels)):
            if not isinstance(given, Tensor):
                raise ValueError(
                    f"silo {self.name!r}: its {what} are {type(given).__name__}; give torch.as_tensor(...)"
                )
        if len(self.data) != len(self.labels):
            raise ValueError(
                f"silo {self.name!r} has {len(self.data)} samples and {len(self.labels)} labels; each sample needs one"
            )
        if len(self.data) == 0:
            raise ValueError(f"silo {self.name!r} has no data; give it some, or leave it out of the federation")
        check_whole(self.labels)
        object.__setattr__(self, "labels", self.labels.long())
        if self.data.is_floating_point() and not self.data.isfinite().all():
            bad = int((~self.data.isfinite()).reshape(len(self), -1).any(1).sum())
            raise ValueError(f"silo {self.name!r}: {bad} of {len(self)} samples hold NaN or infinity; clean them first")

    def __len__(self) -> int:
        return len(self.data)

    def histogram(self, space: AttributeSpace) -> LabelHistogram:
        """The label statistics, the only thing about the data that may leave the silo.

        Raises:
            ValueError: a label outside the space.
        """
        try:
            space.check_labels(self.labels)
        except ValueError as error:
            raise ValueError(f"silo {self.name!r}: {error}") from error
        return LabelHistogram.from_labels(self.labels, space.cardinalities)


def silos_hash(silos: Sequence[Silo]) -> str:
    """Of all silos' data and labels: what a training or a published model was trained on."""
    return fingerprint([{"data": silo.data, "labels": silo.labels} for silo in silos])


def check_silos(space: AttributeSpace, silos: Sequence[Silo]) -> LabelHistogram:
    """Raise ``ValueError`` unless the silos can train a compositional model together; return the merged histogram.

    Names are unique, samples have one shape, labels lie in the space, and the combinations satisfy
    :meth:`~dcfm.attributes.AttributeSpace.check_coverage`: no value that no silo holds, ``C >= C_min``, full rank.
    """
    check_names([silo.name for silo in silos])
    shapes = {silo.name: tuple(silo.data.shape[1:]) for silo in silos}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"the silos' samples have the shapes {shapes}; bring them to one shape and one normaliser")
    merged = LabelHistogram.merge([silo.histogram(space) for silo in silos])
    space.check_coverage(merged.combinations)
    return merged


def check_names(names: Sequence[str]) -> None:
    """Raise ``ValueError`` unless silos' names can be those of folders and files, and tell the silos apart there."""
    if odd := [name for name in names if not file_stem(name).strip(".") or "/" in name or "\\" in name]:
        raise ValueError(
            f"a silo is named {odd[0]!r}, as its folder would be; give a name of letters or digits, without slashes"
        )
    stems = [file_stem(name).casefold() for name in names]
    if not names or len(set(stems)) != len(names):
        raise ValueError(
            f"the silos are named {list(names)}; give at least one, each with a name of its own, and not by case or "
            "signs alone: their files are named after them"
        )


def file_stem(name: str) -> str:
    """A silo's or training's name as a file's: all but letters, digits, ``_``, ``.`` and ``-`` becomes ``-``."""
    return re.sub(r"[^\w.-]+", "-", name)


def partition(
    kind: str, labels: Int[Tensor, "samples k"], n: int, generator: torch.Generator, *, alpha: float = 0.1
) -> list[Int[Tensor, " _"]]:
    """Split the samples with these labels over ``n`` silos: disjoint, covering, and decided by the generator alone.

    Args:
        kind: ``iid``, ``noniid`` (:func:`partition_dirichlet` with ``alpha``) or ``disjoint``.
        labels: one row a sample.
        n: number of silos.
        generator: the source of chance.
        alpha: concentration of ``noniid``; small is more skewed. The others do without.

    Returns:
        Sorted sample indices, one tensor a silo.

    Raises:
        ValueError: an unknown kind, fewer than one silo, or a silo left without data.
    """
    if not len(labels):
        raise ValueError("there are no samples to split over silos; give some")
    if kind == "iid":
        return partition_iid(labels, n, generator)
    if kind == "noniid":
        return partition_dirichlet(labels, n, alpha, generator)
    if kind == "disjoint":
        return partition_disjoint(labels, n, generator)
    raise ValueError(f"unknown partition {kind!r}; the partitions are {', '.join(PARTITIONS)}")


def partition_iid(labels: Int[Tensor, "samples k"], n: int, generator: torch.Generator) -> list[Int[Tensor, " _"]]:
    """Every silo gets an equal share of all samples, drawn uniformly."""
    _check_number(n)
    order = _shuffled(torch.arange(len(labels)), generator)
    return _all_filled(list(order.tensor_split(n)), "use fewer silos or more samples")


def partition_dirichlet(
    labels: Int[Tensor, "samples k"], n: int, alpha: float, generator: torch.Generator
) -> list[Int[Tensor, " _"]]:
    """Each combination's samples are split over the silos in proportions drawn from ``Dir(alpha * 1_n)``."""
    _check_number(n)
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha = {alpha}; the concentration of a Dirichlet distribution is a positive number")
    # torch's Dirichlet takes no generator; NumPy's does, and is seeded from ours.
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    silos: list[list[Tensor]] = [[] for _ in range(n)]
    for rows in _rows_by_combination(labels):
        borders = np.cumsum(rng.dirichlet([alpha] * n))[:-1] * len(rows)
        shares = _shuffled(rows, generator).tensor_split(torch.from_numpy(borders).round().long())
        for silo, share in zip(silos, shares, strict=True):
            silo.append(share)
    return _all_filled([torch.cat(silo) for silo in silos], "take another seed, a larger alpha or fewer silos")


def partition_disjoint(labels: Int[Tensor, "samples k"], n: int, generator: torch.Generator) -> list[Int[Tensor, " _"]]:
    """Each combination goes to one silo whole: the largest first, each to the silo that has least so far."""
    _check_number(n)
    groups = _rows_by_combination(labels)
    order = torch.randperm(len(groups), generator=generator).tolist()
    silos: list[list[Tensor]] = [[] for _ in range(n)]
    sizes = [0] * n
    for rows in sorted((groups[i] for i in order), key=len, reverse=True):
        smallest = sizes.index(min(sizes))
        silos[smallest].append(rows)
        sizes[smallest] += len(rows)
    empty = torch.empty(0, dtype=torch.long)
    return _all_filled(
        [torch.cat(silo) if silo else empty for silo in silos],
        f"use at most {len(groups)} silos, the number of combinations that occur",
    )


def _check_number(n: int) -> None:
    if n < 1:
        raise ValueError(f"{n} silos asked for; a partition makes at least one")


def _shuffled(rows: Int[Tensor, " m"], generator: torch.Generator) -> Int[Tensor, " m"]:
    return rows[torch.randperm(len(rows), generator=generator)]


def _rows_by_combination(labels: Int[Tensor, "samples k"]) -> list[Int[Tensor, " _"]]:
    _, place = torch.unique(labels, dim=0, return_inverse=True)
    return [(place == i).nonzero()[:, 0] for i in range(int(place.max()) + 1)] if len(labels) else []


def _all_filled(silos: list[Tensor], remedy: str) -> list[Int[Tensor, " _"]]:
    empty = [i for i, rows in enumerate(silos) if not len(rows)]
    if empty:
        named = ", ".join(map(str, empty[:5])) + (f" and {len(empty) - 5} more" if empty[5:] else "")
        raise ValueError(f"silo {named} of {len(silos)} is left without data; {remedy}")
    return [rows.sort().values for rows in silos]
