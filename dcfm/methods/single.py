"""What the methods share that end in one network: its field."""

from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from dcfm.fields import Field
from dcfm.methods.method import Method, answered
from dcfm.silos import LabelHistogram


class SingleNetwork(Method):
    """A method whose training returns one network, which answers for all silos."""

    def field(
        self,
        networks: Sequence[Field],
        histograms: Sequence[LabelHistogram],
        null: Int[Tensor, " k"],
        rule: str = "joint",
        weights: tuple[float, ...] | None = None,
    ) -> Field:
        (network,) = networks
        return answered(network, rule, null, weights)
