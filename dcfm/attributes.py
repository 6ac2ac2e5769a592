"""Attributes: their values, null tokens, masks (Eq. 8), coverage and its minimum (Eq. 2).

A label ``y`` is a row of ``k`` integers, ``y_i`` in ``{0 .. |Y_i| - 1}``; the value ``|Y_i|`` is the null token, "not
given". The Cartesian product of the values is the attribute space; a combination is one element of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


class CoverageError(ValueError):
    """The combinations that the silos hold cannot identify a compositional model."""


@dataclass(frozen=True)
class AttributeSpace:
    """``k`` named attributes and the names of their values.

    Args:
        names: name of each attribute.
        values: names of the values of each attribute, in the order of their labels.

    Raises:
        ValueError: no attribute, an attribute with fewer than two values, or a name given twice.
    """

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.values):
            raise ValueError(
                f"{len(self.names)} attribute names and {len(self.values)} tuples of values were given; give at least "
                "one attribute, and one tuple of value names each"
            )
        for group in (self.names, *self.values):
            if len(set(group)) != len(group):
                raise ValueError(f"a name occurs twice among {group}; names must be unique")
        for name, values in zip(self.names, self.values, strict=True):
            if len(values) < 2:
                raise ValueError(f"attribute {name!r} has the values {values}; an attribute needs at least two")

    @classmethod
    def from_cardinalities(cls, *cardinalities: int) -> AttributeSpace:
        """A space of attributes ``a0, a1, ...`` with values ``0, 1, ...``."""
        names = tuple(f"a{i}" for i in range(len(cardinalities)))
        return cls(names, tuple(tuple(str(v) for v in range(n)) for n in cardinalities))

    @property
    def size(self) -> int:
        """``k``, the number of attributes."""
        return len(self.names)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """``|Y_i|`` of each attribute."""
        return tuple(len(values) for values in self.values)

    @property
    def null(self) -> Int[Tensor, " k"]:
        """The label with every attribute null."""
        return torch.tensor(self.cardinalities)

    def combinations(self) -> Int[Tensor, "n k"]:
        """All ``prod_i |Y_i|`` combinations in lexicographic order."""
        return torch.tensor(list(itertools.product(*(range(n) for n in self.cardinalities))))

    def draw_combinations(self, number: int, generator: torch.Generator) -> Int[Tensor, "number k"]:
        """Combinations drawn uniformly from the whole space, without enumerating it."""
        columns = [
            torch.randint(n, (number,), generator=generator, device=generator.device) for n in self.cardinalities
        ]
        return torch.stack(columns, dim=-1)

    def describe(self, label: Sequence[int]) -> str:
        """A label in words, e.g. ``source=TL target=null``."""
        words = [
            f"{name}={values[v] if v < len(values) else 'null'}"
            for name, values, v in zip(self.names, self.values, label, strict=True)
        ]
        return " ".join(words)

    def check_labels(self, y: Int[Tensor, "n k"], *, null_allowed: bool = False) -> None:
        """Raise ``ValueError`` unless every entry is a value (or, if allowed, the null token) of its attribute."""
        if y.ndim != 2 or y.shape[1] != self.size:
            raise ValueError(f"labels have shape {tuple(y.shape)}; expected (n, {self.size}) for {self.names}")
        check_whole(y)
        top = self.null.to(y.device) - (0 if null_allowed else 1)
        bad = (y < 0) | (y > top)
        if bad.any():
            row, column = (int(i) for i in bad.nonzero()[0])
            raise ValueError(
                f"label {row} has {self.names[column]}={int(y[row, column])}; allowed are 0 to {int(top[column])}"
                + ("" if null_allowed else f" ({int(top[column]) + 1} is the null token, not allowed here)")
            )

    @property
    def minimum_coverage(self) -> Fraction:
        """``C_min = (1 + sum_i (|Y_i| - 1)) / prod_i |Y_i|``, Eq. 2."""
        return Fraction(self.main_effects, math.prod(self.cardinalities))

    @property
    def main_effects(self) -> int:
        """``1 + sum_i (|Y_i| - 1)``: free parameters of a model without interactions, numerator of Eq. 2."""
        return 1 + sum(n - 1 for n in self.cardinalities)

    def coverage(self, observed: Int[Tensor, "n k"]) -> Fraction:
        """``C = |observed combinations| / |Y|``; rows may repeat."""
        self.check_labels(observed)
        return Fraction(len(torch.unique(observed, dim=0)), math.prod(self.cardinalities))

    def marginal_coverage(self, observed: Int[Tensor, "n k"]) -> tuple[Fraction, ...]:
        """``C_i``: the share of each attribute's values that occur."""
        self.check_labels(observed)
        return tuple(Fraction(len(observed[:, i].unique()), n) for i, n in enumerate(self.cardinalities))

    def main_effects_rank(self, observed: Int[Tensor, "n k"]) -> int:
        """Rank of the one-hot main-effects design matrix of the observed combinations.

        ``C >= C_min`` is necessary; that this rank equals :attr:`main_effects` is sufficient too: every unseen
        combination is then an affine combination of seen ones.
        """
        rows = torch.unique(observed.long(), dim=0)
        blocks = [torch.nn.functional.one_hot(rows[:, i], n) for i, n in enumerate(self.cardinalities)]
        return int(np.linalg.matrix_rank(torch.cat(blocks, dim=1).double().cpu().numpy()))

    def check_coverage(self, observed: Int[Tensor, "n k"]) -> None:
        """Raise :class:`CoverageError` unless Eq. 2 holds, every value occurs, and the design has full rank."""
        for i, share in enumerate(self.marginal_coverage(observed)):
            if share < 1:
                missing = sorted(set(range(self.cardinalities[i])) - set(observed[:, i].unique().tolist()))
                names = ", ".join(self.values[i][v] for v in missing)
                raise CoverageError(
                    f"no silo holds {self.names[i]} = {names}: every value must occur in some combination (Eq. 2). "
                    "Add data with it, or leave the value out of the attribute space."
                )
        coverage = self.coverage(observed)
        if coverage < self.minimum_coverage:
            raise CoverageError(
                f"the silos hold C = {coverage} of the combinations; at least C_min = {self.minimum_coverage} are "
                "needed (Eq. 2). Add combinations."
            )
        rank = self.main_effects_rank(observed)
        if rank < self.main_effects:
            raise CoverageError(
                f"the main-effects design of the observed combinations has rank {rank}, needed is "
                f"{self.main_effects}: some attribute's effect cannot be told from another's. Add a combination that "
                "breaks the tie, e.g. one that differs from an observed one in a single attribute."
            )

    def split(self, observed: Int[Tensor, "n k"]) -> tuple[Int[Tensor, "m k"], Int[Tensor, "j k"]]:
        """The known (observed somewhere) and the novel combinations, each in lexicographic order."""
        known = torch.unique(observed, dim=0)
        everything = self.combinations()
        is_known = is_among(everything, known)
        return everything[is_known], everything[~is_known]


def check_whole(y: Shaped[Tensor, "n k"]) -> None:
    """Raise ``ValueError`` unless labels are of a type of whole numbers."""
    if y.dtype == torch.bool or y.is_floating_point() or y.is_complex():
        raise ValueError(f"labels are {y.dtype}; give whole numbers, the places of their values, e.g. torch.int64")


def is_among(y: Int[Tensor, "n k"], known: Int[Tensor, "m k"]) -> Bool[Tensor, " n"]:
    """Whether each label is one of ``known``, exactly."""
    return (y[:, None] == known.to(y.device)).all(-1).any(1)


@dataclass(frozen=True)
class MaskRates:
    """How often a training label is kept in full, as a pair, as a single attribute, or not at all (Eq. 8).

    The paper's mask has ``full``, ``marg`` and ``uncond``; ``pair`` is this project's choice for more than two
    attributes, where the pairwise CI term needs ``v(y_i, y_j)`` trained.

    Raises:
        ValueError: a rate is negative or they do not add up to one.
    """

    full: float = 0.9
    marg: float = 0.08
    uncond: float = 0.02
    pair: float = 0.0

    def __post_init__(self) -> None:
        rates = (self.full, self.marg, self.uncond, self.pair)
        if not (min(rates) >= 0 and abs(sum(rates) - 1) <= 1e-6):
            raise ValueError(
                f"mask rates full={self.full}, marg={self.marg}, uncond={self.uncond}, pair={self.pair} must be "
                f"non-negative and add up to 1; they add up to {sum(rates):g}"
            )


def draw_masks(number: int, size: int, rates: MaskRates, generator: torch.Generator) -> Bool[Tensor, "number size"]:
    """Masks ``m`` of Eq. 8, true where an attribute is kept; which one or two are kept is uniform.

    Raises:
        ValueError: pairs are asked for with fewer than two attributes.
    """
    if rates.pair > 0 and size < 2:
        raise ValueError(f"mask rate pair={rates.pair} needs at least two attributes; this space has {size}")
    device = generator.device
    draw = torch.rand(number, generator=generator, device=device)
    rank = torch.rand(number, size, generator=generator, device=device).argsort(dim=1).argsort(dim=1)
    kept = torch.where(draw < rates.full + rates.marg + rates.pair, 2, 0)
    kept = torch.where(draw < rates.full + rates.marg, 1, kept)
    kept = torch.where(draw < rates.full, size, kept)
    return rank < kept[:, None]


def apply_mask(
    y: Int[Tensor, "batch k"], mask: Bool[Tensor, "batch k"], null: Int[Tensor, " k"]
) -> Int[Tensor, "batch k"]:
    """``y * m`` of Eq. 9: the null token where the mask is false."""
    return torch.where(mask, y, null.to(y.device, non_blocking=True))
