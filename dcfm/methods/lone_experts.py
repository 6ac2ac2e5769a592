"""What the methods share whose experts are trained alone: how, and that something mixes their answers."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from jaxtyping import Int
from torch import Tensor

from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.fields import Field
from dcfm.methods.method import Method, Recipe, answered, without_independence
from dcfm.silos import LabelHistogram
from dcfm.weights import Weights


@dataclass(frozen=True)
class LoneExperts(Method):
    """Stage I and the further steps, each silo alone; a subclass says how the experts are mixed.

    Args:
        local_ci: train the experts with Eq. 11 ("+L") instead of Eq. 9.
    """

    local_ci: bool = False
    baseline: ClassVar[bool] = True
    private: ClassVar[tuple[str, ...]] = ("stage_one", "further")

    def own(self, recipe: Recipe) -> Recipe:
        if self.local_ci:
            return recipe
        alone = {name: getattr(recipe, name) for name in ("stage_one", "further")}
        return replace(recipe, **{k: replace(c, objective=without_independence(c.objective)) for k, c in alone.items()})

    def train(self, federation: Federation, recipe: Recipe, exchange: Exchange) -> list[Weights]:
        self.check(recipe)
        own = self.own(recipe)
        experts = federation.further(federation.stage_one(own.stage_one), own.further, own.stage_one)
        return federation.gather(experts, exchange)

    @abstractmethod
    def mixture(self, networks: Sequence[Field], histograms: Sequence[LabelHistogram]) -> Field:
        """The experts' answer to whole labels."""

    def field(
        self,
        networks: Sequence[Field],
        histograms: Sequence[LabelHistogram],
        null: Int[Tensor, " k"],
        rule: str = "joint",
        weights: tuple[float, ...] | None = None,
    ) -> Field:
        return answered(self.mixture(networks, histograms), rule, null, weights)
