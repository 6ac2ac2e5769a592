"""DFD: independently trained experts, weighted by the energy of their own noise estimates (Hahn & Lee 2025)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Int
from torch import Tensor

from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.fields import Field
from dcfm.methods.method import Method, Recipe, answered, lone_experts, of_lone_experts
from dcfm.mixtures import EnergyMixture
from dcfm.silos import LabelHistogram
from dcfm.weights import Weights


@dataclass(frozen=True)
class DFD(Method):
    """``w_a ~ softmax_a(log w0_a - s / 2 ||eps_a||^2)``, see :class:`~dcfm.mixtures.EnergyMixture`; DDM's experts.

    Args:
        local_ci: train the experts with Eq. 11 ("+L") instead of Eq. 9.
        scale: ``s``.
        prior: ``w0``, from ``labels`` or from the silos' ``size``.
    """

    title: str = "DFD"
    local_ci: bool = False
    baseline: ClassVar[bool] = True
    private: ClassVar[tuple[str, ...]] = ("stage_one", "further")
    scale: float = 2.0
    prior: str = "labels"

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
        return answered(EnergyMixture(networks, histograms, self.scale, self.prior), rule, null, weights)
