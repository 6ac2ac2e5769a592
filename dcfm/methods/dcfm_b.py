"""DCFM-B: one student, distilled from the silos' Stage I networks by synthetic replay (Eqs. 15-17)."""

from dataclasses import dataclass
from typing import ClassVar

from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.methods.method import Recipe
from dcfm.methods.single import SingleNetwork
from dcfm.weights import Weights


@dataclass(frozen=True)
class DcfmB(SingleNetwork):
    """Every silo uploads once and downloads once; with ``rule="joint"`` a sample costs one evaluation a step."""

    title: str = "DCFM-B"
    private: ClassVar[tuple[str, ...]] = ("stage_one",)

    def train(self, federation: Federation, recipe: Recipe, exchange: Exchange) -> list[Weights]:
        self.check(recipe)
        local = federation.stage_one(recipe.stage_one)
        return [federation.dcfm_b(local, recipe.student, exchange)]
