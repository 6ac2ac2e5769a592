"""The toy's geometry: one Gaussian mode for each combination of ``k`` binary attributes, and what is missing.

The mode of ``y`` is ``N(c(y), std^2 I)`` in ``k`` dimensions with centre ``c_i(y) = distance * (2 y_i - 1)``: attribute
``i`` acts on coordinate ``i`` alone, so that (1) holds at every time of the path and Eq. 5 is exact for true fields.
Some combinations are observed nowhere; which, is drawn so that the others still identify every main effect (Eq. 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import chi2
from torch import Tensor

from dcfm.attributes import AttributeSpace, CoverageError

MOST_ATTRIBUTES: Final = 14
"""Of a geometry; experiments train on :data:`EXPERIMENT_ATTRIBUTES`, studies of cost alone go further."""
EXPERIMENT_ATTRIBUTES: Final = (2, 5)
LEVEL: Final = 0.99
"""A sample counts as in a mode within the radius that holds this share of the mode."""
TRIES: Final = 1000
"""Draws of a missing set before giving up."""


def toy_space(attributes: int) -> AttributeSpace:
    """``k`` binary attributes ``a0, a1, ...`` with values ``-`` and ``+``, the side of the origin."""
    return AttributeSpace(tuple(f"a{i}" for i in range(attributes)), (("-", "+"),) * attributes)


def usual_missing(attributes: int) -> int:
    """About a quarter of the ``2^k`` combinations: 1 of 4, 2 of 8, 4 of 16, 8 of 32."""
    return 2**attributes // 4


@dataclass(frozen=True)
class Mixture:
    """Where the modes lie.

    Args:
        attributes: ``k``, and the number of coordinates; 2 to 14.
        distance: of each mode's centre from the origin along every coordinate, positive.
        std: standard deviation of a mode, positive.

    Raises:
        ValueError: a value is out of range.
    """

    attributes: int = 2
    distance: float = 1.5
    std: float = 0.4

    def __post_init__(self) -> None:
        if not 2 <= self.attributes <= MOST_ATTRIBUTES:
            raise ValueError(f"attributes={self.attributes}; a mixture has 2 to {MOST_ATTRIBUTES} binary attributes")
        for name in ("distance", "std"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}={value}; give a positive, finite number")

    @property
    def space(self) -> AttributeSpace:
        """The attributes."""
        return toy_space(self.attributes)

    @property
    def radius(self) -> float:
        """Of the ball around a centre that holds 99 % of the mode: ``std * sqrt(chi2_k^-1(0.99))``."""
        return self.std * float(chi2.ppf(LEVEL, self.attributes)) ** 0.5

    def centres(self, y: Int[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """``c(y)``."""
        self.space.check_labels(y)
        return self.distance * (2.0 * y - 1)

    def sample(self, y: Int[Tensor, "n k"], generator: torch.Generator) -> Float[Tensor, "n k"]:
        """One sample of each row's mode."""
        centres = self.centres(y)
        return centres + self.std * torch.randn(centres.shape, generator=generator)

    def within(self, x: Float[Tensor, "n k"], y: Int[Tensor, "n k"]) -> Bool[Tensor, " n"]:
        """Whether a sample lies within :attr:`radius` of the queried mode's centre; true modes score 0.99."""
        return (x - self.centres(y)).norm(dim=1) <= self.radius


def check_attributes(attributes: int) -> None:
    """Raise ``ValueError`` unless experiments are made for this number of attributes."""
    low, high = EXPERIMENT_ATTRIBUTES
    if not low <= attributes <= high:
        raise ValueError(f"attributes={attributes}; the toy is trained with {low} to {high} attributes")


def draw_missing(
    space: AttributeSpace,
    number: int,
    generator: torch.Generator,
    among: Int[Tensor, "m k"] | None = None,
) -> tuple[Int[Tensor, "observed k"], Int[Tensor, "missing k"]]:
    """Draw which combinations are left out, uniformly among the sets that keep the main effects identifiable.

    Args:
        space: the attributes.
        number: of combinations to leave out; at least 0.
        generator: the source of chance.
        among: of which combinations; the whole space if not given.

    Returns:
        The observed and the missing combinations, each in lexicographic order.

    Raises:
        ValueError: more are to be left out than Eq. 2 allows, or no set was found.
    """
    rows = space.combinations() if among is None else among
    most = len(rows) - space.main_effects
    if not 0 <= number <= most:
        raise ValueError(
            f"{number} of {len(rows)} combinations are to be left out; with {space.size} attributes 0 to {most} can be "
            f"(Eq. 2: {space.main_effects} must be observed)"
        )
    for _ in range(TRIES):
        order = torch.randperm(len(rows), generator=generator)
        observed, missing = rows[order[number:].sort().values], rows[order[:number].sort().values]
        try:
            space.check_coverage(observed)
        except CoverageError:
            continue
        return observed, missing
    raise ValueError(
        f"no set of {number} combinations whose absence keeps the main effects identifiable was found in {TRIES} "
        "draws; leave out fewer"
    )


def sliced_wasserstein(
    a: Float[Tensor, "n d"], b: Float[Tensor, "m e"], generator: torch.Generator, projections: int = 128
) -> float:
    """The sliced 2-Wasserstein distance of two sets of as many samples (Bonneel et al. 2015).

    The root of the mean, over random directions, of the squared ``W_2`` of the projections, which in one dimension is
    the mean squared difference of the sorted values. A shift by ``s`` gives about ``|s| / sqrt(d)``; two samples of one
    distribution give a little more than 0.

    Raises:
        ValueError: the sets differ in size or dimension, or are empty.
    """
    if a.shape != b.shape or a.ndim != 2 or not len(a) or projections < 1:
        raise ValueError(
            f"sets of shape {tuple(a.shape)} and {tuple(b.shape)}, {projections} projections; give as many samples of "
            "each, and at least one direction"
        )
    directions = torch.randn(a.shape[1], projections, generator=generator, dtype=a.dtype)
    directions = directions / directions.norm(dim=0)
    first, second = ((x @ directions).sort(dim=0).values for x in (a, b))
    return float((first - second).square().mean().sqrt())


def label_name(y: Sequence[int]) -> str:
    """A combination as text, e.g. ``0-1-1``; the key of results."""
    return "-".join(str(int(v)) for v in y)
