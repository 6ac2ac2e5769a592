"""Features that are not finite are no question to a distance."""

import pytest
import torch
from torch import Tensor

from dcfm.metrics.frechet import frechet_distance
from dcfm.metrics.kernel import kernel_distance
from dcfm.metrics.manifold import membership


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance, membership])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_refused(distance, value: float, generator: torch.Generator) -> None:
    def features() -> Tensor:
        return torch.randn(50, 3, generator=generator)

    good, bad = features(), features()
    distance(good, features())
    bad[7, 1] = value
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match=r"1 of 50 samples of .* not finite"):
            distance(*pair)
