"""DFD: independently trained experts, weighted by the energy of their own noise estimates (Hahn & Lee 2025)."""

from collections.abc import Sequence
from dataclasses import dataclass

from dcfm.fields import Field
from dcfm.methods.lone_experts import LoneExperts
from dcfm.mixtures import EnergyMixture
from dcfm.silos import LabelHistogram


@dataclass(frozen=True)
class DFD(LoneExperts):
    """``w_a ~ softmax_a(log w0_a - s / 2 ||eps_a||^2)``, see :class:`~dcfm.mixtures.EnergyMixture`; DDM's experts.

    Args:
        scale: ``s``.
        prior: ``w0``, from ``labels`` or from the silos' ``size``.
    """

    title: str = "DFD"
    scale: float = 2.0
    prior: str = "labels"

    def mixture(self, networks: Sequence[Field], histograms: Sequence[LabelHistogram]) -> Field:
        return EnergyMixture(networks, histograms, self.scale, self.prior)
