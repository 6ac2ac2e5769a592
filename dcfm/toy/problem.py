"""A toy problem: the geometry, what is observed, withheld and missing, and the silos; made from numbers and a seed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import torch
from jaxtyping import Int
from torch import Tensor

from dcfm.silos import Silo
from dcfm.toy.deal import check_deal, deal
from dcfm.toy.mixture import Mixture, check_attributes, draw_missing, usual_missing

REAL: Final = ("distance", "std", "alpha")
"""Settings that are no whole numbers."""


@dataclass(frozen=True)
class ProblemSettings:
    """What makes a problem.

    Args:
        partition: how samples are dealt: ``iid``, ``noniid`` or ``dirichlet``, see :mod:`dcfm.toy.deal`.
        attributes: ``k``, 2 to 5.
        silos: how many.
        distance, std: see :class:`~dcfm.toy.mixture.Mixture`.
        missing: combinations that nobody holds; about a quarter of all if ``None``.
        withheld: known combinations that are kept out of the training data as well, to choose settings by.
        samples: of each observed combination, in all silos together.
        alpha: concentration of ``dirichlet``.
        seed: of what is missing and withheld, of the samples and of the dealing.

    Raises:
        ValueError: a value is out of range.
    """

    partition: str = "noniid"
    attributes: int = 2
    silos: int = 2
    distance: float = 1.5
    std: float = 0.4
    missing: int | None = None
    withheld: int = 0
    samples: int = 1000
    alpha: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_attributes(self.attributes)
        check_deal(self.partition, self.silos)
        if not 0 <= self.seed < 2**32 or self.samples < 1 or self.withheld < 0:
            raise ValueError(
                f"seed={self.seed}, samples={self.samples}, withheld={self.withheld}: seed and withheld must be at "
                "least 0, seed below 2^32, samples at least 1"
            )

    @property
    def mixture(self) -> Mixture:
        """The geometry."""
        return Mixture(self.attributes, self.distance, self.std)


@dataclass(frozen=True, eq=False)
class Problem:
    """A problem, made.

    Attributes:
        mixture: the geometry.
        observed: the combinations that silos hold samples of.
        withheld: combinations that are known too, but kept out of the silos' data; usually none.
        missing: the novel combinations.
        silos: the data.
    """

    mixture: Mixture
    observed: Int[Tensor, "observed k"]
    withheld: Int[Tensor, "withheld k"]
    missing: Int[Tensor, "missing k"]
    silos: tuple[Silo, ...]

    @property
    def known(self) -> Int[Tensor, "known k"]:
        """Observed and withheld combinations: what choices may be scored on."""
        return torch.cat([self.observed, self.withheld])


def make_problem(settings: ProblemSettings) -> Problem:
    """Draw what is missing, then what is withheld, then the samples, and deal them.

    Raises:
        ValueError: no such problem exists: too much left out, too few samples, or a silo without data.
    """
    mixture = settings.mixture
    generator = torch.Generator().manual_seed(settings.seed)
    missing = usual_missing(settings.attributes) if settings.missing is None else settings.missing
    left, absent = draw_missing(mixture.space, missing, generator)
    observed, withheld = draw_missing(mixture.space, settings.withheld, generator, left)
    silos = deal(
        mixture,
        observed,
        settings.partition,
        settings.silos,
        settings.samples,
        seed=settings.seed,
        alpha=settings.alpha,
    )
    return Problem(mixture, observed, withheld, absent, tuple(silos))


def read_problem(given: Mapping[str, Any]) -> ProblemSettings:
    """Settings from plain data, such as a configuration; what is not given is the default.

    Raises:
        ValueError: no mapping, an unknown key, or a value of the wrong type or out of range.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"a problem is {given!r}; give its settings by name, e.g. {{attributes: 3, silos: 2}}")
    names = [f.name for f in fields(ProblemSettings)]
    if unknown := [name for name in given if name not in names]:
        raise ValueError(f"unknown keys {unknown} of a problem; the keys are {', '.join(names)}")
    for f in fields(ProblemSettings):
        value = given.get(f.name, f.default)
        if f.name == "partition":
            if not isinstance(value, str):
                raise ValueError(f"partition={value!r} of a problem; give one by its name")
        elif not (value is None and f.default is None):
            _check_number(f.name, value)
    plain: dict[str, Any] = {name: float(value) if name in REAL else value for name, value in given.items()}
    return ProblemSettings(**plain)


def _check_number(name: str, value: object) -> None:
    whole = name not in REAL
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
        raise ValueError(f"{name}={value!r} of a problem; give {'a whole number' if whole else 'a number'}")
