"""Judging pictures: how near they are to real ones, and whether they show what was asked for.

Generated pictures of some combinations are held against real digits in the same combinations, in equal numbers:

==============  =======================================================================================================
``fid``         Frechet distance (:mod:`dcfm.metrics.frechet`)
``kid``         kernel distance (:mod:`dcfm.metrics.kernel`)
``precision``   share of generated pictures in the real manifold (:mod:`dcfm.metrics.manifold`, k = 3)
``recall``      share of real pictures in the generated manifold
``accuracy``    share whose digit, colour, or both the reader reads as asked for, with Wilson's interval
==============  =======================================================================================================

Intervals of the first four are bootstrapped (:mod:`dcfm.metrics.bootstrap`): generated pictures within their
combination, real ones digit by digit, with all their colours, as many of each combination as there are. For precision
and recall the manifolds stay as they are and the points that are looked for in them are drawn; where none or all lie
inside, the interval is Wilson's.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dcfm.metrics.bootstrap import Estimate, clustered_weights, stratified_weights
from dcfm.metrics.frechet import frechet_distance, frechet_draws
from dcfm.metrics.intervals import share, wilson
from dcfm.metrics.kernel import Design, kernel_distance, kernel_draws
from dcfm.metrics.manifold import Membership, membership
from dcfm_images.features import FeatureSpace, as_floats, check_features
from dcfm_images.pictures import Pictures
from dcfm_images.problem import SPACE
from dcfm_images.reader import Reader, read

CELLS = ("known", "novel")
"""Combinations that some silo held, and those that none did."""

BOOTSTRAP = "combinations keep their numbers"
"""How real pictures are drawn; results without this word drew digits whatever combination they are of."""


@dataclass(frozen=True, eq=False)
class Judge:
    """What pictures are held against.

    Attributes:
        space: in which features are compared.
        reader: reads digit and colour.
        references: real pictures, by ``known`` and ``novel``.
        draws: of the bootstrap.
        seed: of the bootstrap; with one seed and equal numbers, draws of two methods belong together.
    """

    space: FeatureSpace
    reader: Reader
    references: dict[str, Pictures]
    draws: int = 200
    seed: int = 0
    _features: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws={self.draws}; an interval takes at least one bootstrap draw, 200 do")

    def reference_features(self, cell: str) -> Float[Tensor, "n d"]:
        """Features of the real pictures, computed once."""
        if cell not in self._features:
            self._features[cell] = self.space.features(self.references[cell].images)
        return self._features[cell]

    def judge(self, pictures: Pictures, cell: str) -> dict[str, Any]:
        """All metrics of pictures of known or of novel combinations, as plain data.

        Raises:
            dcfm.metrics.frechet.SampleSizeError: too few pictures, generated or real, for the feature space.
        """
        reference = self.references[cell]
        # Here alone: the Frechet distance takes covariances, successes() and membership() nearest neighbours only.
        for compared in (pictures, reference):
            check_features(self.space.name, len(compared))
        x, y = self.space.features(pictures.images), self.reference_features(cell)
        generator = torch.Generator().manual_seed(self.seed)
        strata, strata_y = (p.labels[:, 0] * SPACE.cardinalities[1] + p.labels[:, 1] for p in (pictures, reference))
        designs = Design(strata, pictures.origins), Design(strata_y, reference.origins)
        if len(pictures.origins.unique()) == len(pictures):
            wx = stratified_weights(strata, self.draws, generator)
        else:  # the control's: one digit in several colours
            wx = clustered_weights(pictures.origins, self.draws, generator, strata)
        wy = clustered_weights(reference.origins, self.draws, generator, strata_y)
        inside = membership(x, y)
        # A draw takes two eigenvalue decompositions, of 1,280 features seconds on a CPU. MPS has no float64.
        on = self.space.device if self.space.device.type == "cuda" else torch.device("cpu")
        one, other = x.to(on), y.to(on)
        found = {
            "fid": Estimate.centred(
                frechet_distance(one, other), frechet_draws(one, other, wx.to(on), wy.to(on)), least=0.0
            ),
            "kid": Estimate.centred(kernel_distance(x, y, *designs), kernel_draws(x, y, wx, wy, *designs)),
            "precision": _share_of(inside.generated, wx, designs[0]),
            "recall": _share_of(inside.real, wy, designs[1]),
        }
        plain: dict[str, Any] = {
            "n": len(pictures),
            "reference": len(reference),
            "reference_digits": len(reference.origins.unique()),
            "combinations": len(pictures.labels.unique(dim=0)),
        }
        plain |= {name: estimate.as_dict(draws=name in ("fid", "kid")) for name, estimate in found.items()}
        return plain | {"accuracy": accuracy(self.reader, pictures)}

    def successes(self, pictures: Pictures, cell: str) -> tuple[int, int]:
        """What sampling is chosen by: generated pictures that are read as asked for and lie in the real manifold, and
        real ones that lie in the generated manifold, of all of both."""
        inside = self.membership(pictures, cell)
        right = (read(self.reader, as_floats(pictures.images)) == pictures.labels).all(1)
        good = int((right & inside.generated).sum()) + int(inside.real.sum())
        return good, len(inside.generated) + len(inside.real)

    def membership(self, pictures: Pictures, cell: str) -> Membership:
        """Which pictures lie in the other set's manifold."""
        return membership(self.space.features(pictures.images), self.reference_features(cell))


def accuracy(reader: Reader, pictures: Pictures) -> dict[str, Any]:
    """How many pictures are read as asked for: digit, colour, both, and both by combination."""
    right = read(reader, as_floats(pictures.images)) == pictures.labels
    both = right.all(1)
    by_combination = {}
    for combination in pictures.labels.unique(dim=0):
        own = both[(pictures.labels == combination).all(1)]
        name = " ".join(SPACE.values[i][v] for i, v in enumerate(combination.tolist()))
        by_combination[name] = share(int(own.sum()), len(own))
    columns = {"digit": right[:, 0], "colour": right[:, 1], "both": both}
    return {name: share(int(c.sum()), len(c)) for name, c in columns.items()} | {"by_combination": by_combination}


def _share_of(inside: Tensor, weights: Tensor, design: Design) -> Estimate:
    """The share of points inside, and the bootstrap's interval of it; of none or all, whose draws have no width,
    Wilson's of as many points as are independent."""
    points = inside.double()
    weights = weights.double()
    share_inside = float(points.mean())
    found = Estimate.centred(share_inside, weights @ points / weights.sum(1), least=0.0)
    low, high = found.low, min(found.high, 1.0)
    if share_inside in (0.0, 1.0):
        independent = len(design.origins.unique())
        low, high = wilson(share_inside * independent, independent)
    return Estimate(share_inside, low, high, found.bias)
