"""Pooled: one network on the union of all data, with the CI term. It moves raw samples: a ceiling, not a rival."""

from dataclasses import dataclass
from typing import ClassVar

from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.methods.method import Recipe
from dcfm.methods.single import SingleNetwork
from dcfm.weights import Weights


@dataclass(frozen=True)
class Pooled(SingleNetwork):
    """What could be had without privacy: the gap between a decentralised method and this one is the price of privacy,
    the gap between this one and the truth the price of composing."""

    title: str = "pooled"
    decentralised: ClassVar[bool] = False
    private: ClassVar[tuple[str, ...]] = ("pooled",)

    def train(self, federation: Federation, recipe: Recipe, exchange: Exchange) -> list[Weights]:
        return [federation.pooled(recipe.pooled)]
