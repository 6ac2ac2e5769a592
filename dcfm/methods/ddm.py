"""DDM: independently trained experts, mixed by label statistics (McAllister et al. 2025)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Int
from torch import Tensor

from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.fields import Field
from dcfm.methods.method import Method, Recipe, answered, lone_experts, of_lone_experts
from dcfm.mixtures import LabelMixture
from dcfm.silos import LabelHistogram
from dcfm.weights import Weights


@dataclass(frozen=True)
class DDM(Method):
    """``v = sum_a p(a|y) v_a``, see :class:`~dcfm.mixtures.LabelMixture`.

    Args:
        local_ci: train the experts with Eq. 11 ("+L") instead of Eq. 9.
    """

    title: str = "DDM"
    local_ci: bool = False
    baseline: ClassVar[bool] = True
    private: ClassVar[tuple[str, ...]] = ("stage_one", "further")

    def own(self, recipe: Recipe) -> Recipe:
        return of_lone_experts(recipe, self.local_ci)

    def train(self, federation: Federation, recipe: Recipe, exchange: Exchange) -> list[Weights]:
        self.check(recipe)
        return federation.gather(lone_experts(federation, self.own(recipe)), exchange)

    def field(
        self,
        networks: Sequence[Field],
        histograms: Sequence[LabelHistogram],
        null: Int[Tensor, " k"],
        rule: str = "joint",
        weights: tuple[float, ...] | None = None,
    ) -> Field:
        return answered(LabelMixture(networks, histograms), rule, null, weights)
