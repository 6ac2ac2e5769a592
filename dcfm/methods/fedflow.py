"""FedFlow: federated averaging of one flow network (Tun et al. 2023; McMahan et al. 2017)."""

from dataclasses import dataclass, replace
from typing import ClassVar

from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.methods.method import Recipe, without_independence
from dcfm.methods.single import SingleNetwork
from dcfm.weights import Weights


@dataclass(frozen=True)
class FedFlow(SingleNetwork):
    """``T`` rounds of broadcast, local steps and weighted averaging, see :mod:`dcfm.trainers.fedavg`.

    Args:
        local_ci: the silos train with Eq. 11 ("+L") instead of Eq. 9.
    """

    title: str = "FedFlow"
    local_ci: bool = False
    baseline: ClassVar[bool] = True
    private: ClassVar[tuple[str, ...]] = ("fedavg",)

    def own(self, recipe: Recipe) -> Recipe:
        if self.local_ci:
            return recipe
        config = replace(recipe.fedavg, objective=without_independence(recipe.fedavg.objective))
        return replace(recipe, fedavg=config)

    def train(self, federation: Federation, recipe: Recipe, exchange: Exchange) -> list[Weights]:
        self.check(recipe)
        return [federation.fedavg("fedflow_l" if self.local_ci else "fedflow", self.own(recipe).fedavg, exchange)]
