"""DDM: independently trained experts, mixed by label statistics (McAllister et al. 2025)."""

from collections.abc import Sequence
from dataclasses import dataclass

from dcfm.fields import Field
from dcfm.methods.lone_experts import LoneExperts
from dcfm.mixtures import LabelMixture
from dcfm.silos import LabelHistogram


@dataclass(frozen=True)
class DDM(LoneExperts):
    """``v = sum_a p(a|y) v_a``, see :class:`~dcfm.mixtures.LabelMixture`."""

    title: str = "DDM"

    def mixture(self, networks: Sequence[Field], histograms: Sequence[LabelHistogram]) -> Field:
        return LabelMixture(networks, histograms)
