"""DCFM-A: experts that train against one another's marginals, and answer together (Eqs. 12-14)."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.fields import Field, Routed
from dcfm.methods.method import FULL, Method, Recipe, check_rule
from dcfm.mixtures import LabelMixture
from dcfm.silos import LabelHistogram
from dcfm.weights import Weights


@dataclass(frozen=True)
class DcfmA(Method):
    """Stage I, then rounds of an allgather and cross-peer CI; sampled by :class:`~dcfm.fields.Routed`. With
    ``rule="joint"`` combinations that some silo holds are answered jointly and all others composed; with ``full`` all
    are answered jointly, by experts mixed as in DDM: for many attributes, where the errors of Eq. 5's terms add up."""

    title: str = "DCFM-A"

    def check(self, recipe: Recipe) -> None:
        if recipe.stage_one.privacy is not None:
            raise ValueError(
                "stage_one.privacy would protect nothing in DCFM-A, whose rounds train on the silos' data again, "
                "without noise; use dcfm_b, or ddm_l or dfd_l with further.privacy too, or leave privacy out"
            )
        super().check(recipe)

    def train(self, federation: Federation, recipe: Recipe, exchange: Exchange) -> list[Weights]:
        self.check(recipe)
        local = federation.stage_one(recipe.stage_one)
        return federation.gather(federation.dcfm_a(local, recipe.peers, exchange), exchange)

    def novel_rule(self, rule: str) -> str:
        return "composed" if rule == "joint" else rule

    def field(
        self,
        networks: Sequence[Field],
        histograms: Sequence[LabelHistogram],
        null: Int[Tensor, " k"],
        rule: str = "joint",
        weights: tuple[float, ...] | None = None,
    ) -> Field:
        check_rule(rule)
        if rule == FULL:
            return LabelMixture(networks, histograms)
        return Routed(networks, histograms, null, weights, joint=rule == "joint")
