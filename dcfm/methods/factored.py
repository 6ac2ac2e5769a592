"""Factored: velocity = base + one head an attribute, so that conditional independence holds by construction.

The rival idea to a CI *loss*: let the network be unable to violate Eq. 5. Base and heads share the task's own network,
``base = g(x, t, 0)`` and ``head_i(y_i) = g(x, t, y_i) - g(x, t, 0)``, so every task has a factored form, compared at
one network size. The price is ``k + 1`` evaluations a step, in training too. It is trained by federated
averaging on whole labels alone: masks would pull base and heads to the observed marginals, which are not independent.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dcfm.attributes import MaskRates
from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.fields import composed_velocity
from dcfm.methods.method import Recipe, without_independence
from dcfm.methods.single import SingleNetwork
from dcfm.task import Task, WithOtherNetwork
from dcfm.weights import Weights


class FactoredNetwork(nn.Module):
    """``v(x, t, y) = g(x, t, 0) + sum_i [g(x, t, y_i) - g(x, t, 0)]``: Eq. 5 as an architecture."""

    def __init__(self, network: nn.Module, null: Int[Tensor, " k"]) -> None:
        super().__init__()
        self.network = network
        self.null = null

    def forward(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        return composed_velocity(self.network, x, t, y, self.null, held)


@dataclass(frozen=True)
class FactoredTask(WithOtherNetwork):
    """A task whose networks are factored."""

    def network(self) -> nn.Module:
        return FactoredNetwork(self.inner.network(), self.space.null)


@dataclass(frozen=True)
class Factored(SingleNetwork):
    """FedFlow with a factored network. Joint and composed sampling agree, at guidance 1, by construction."""

    title: str = "factored"
    baseline: ClassVar[bool] = True
    private: ClassVar[tuple[str, ...]] = ("fedavg",)

    def task(self, task: Task) -> Task:
        return FactoredTask(task)

    def own(self, recipe: Recipe) -> Recipe:
        objective = replace(without_independence(recipe.fedavg.objective), masks=MaskRates(1.0, 0.0, 0.0))
        return replace(recipe, fedavg=replace(recipe.fedavg, objective=objective))

    def train(self, federation: Federation, recipe: Recipe, exchange: Exchange) -> list[Weights]:
        self.check(recipe)
        federation = replace(federation, task=self.task(federation.task))
        return [federation.fedavg("factored", self.own(recipe).fedavg, exchange)]
