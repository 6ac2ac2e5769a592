"""Label histograms that leave a silo: what suppression and noise do to them."""

import math

import pytest
import torch

from dcfm.federated.counts import noised, suppressed
from dcfm.silos import LabelHistogram

COUNTS = LabelHistogram(torch.tensor([[0, 0], [0, 1], [1, 2]]), torch.tensor([3, 40, 12]), (2, 3))


def test_unprotected_is_as_it_was() -> None:
    assert torch.equal(suppressed(COUNTS, 0).counts, COUNTS.counts)


def test_small_counts_are_left_out() -> None:
    kept = suppressed(COUNTS, 12)
    assert kept.combinations.tolist() == [[0, 1], [1, 2]]
    assert kept.counts.tolist() == [40, 12]
    with pytest.raises(ValueError, match="41 samples or more"):
        suppressed(COUNTS, 41)


def test_noise_is_the_geometric_mechanism(generator: torch.Generator) -> None:
    """``P(d) = (1 - a) / (1 + a) a^|d|`` with ``a = exp(-epsilon)``, on combinations without samples as well."""
    epsilon, number = 0.7, 4000
    alpha = math.exp(-epsilon)
    held = LabelHistogram(torch.arange(number)[:, None], torch.full((number,), 40), (2 * number,))
    found = noised(held, epsilon, generator)
    drawn = found.count(torch.arange(number)[:, None]).double() - 40
    exact = 2 * alpha / (1 - alpha) ** 2
    assert abs(drawn.mean()) < 4 * math.sqrt(exact / number)
    assert drawn.var() == pytest.approx(exact, rel=0.15)
    assert (drawn == 0).double().mean() == pytest.approx((1 - alpha) / (1 + alpha), abs=0.04)
    novel = (found.combinations >= number).sum()
    assert novel / number == pytest.approx(alpha / (1 + alpha), abs=0.04)  # P(d >= 1)


def test_too_many_combinations_for_noise(generator: torch.Generator) -> None:
    wide = LabelHistogram(torch.tensor([[0, 0]]), torch.tensor([5]), (1000, 1000))
    with pytest.raises(ValueError, match="use suppress"):
        noised(wide, 1.0, generator)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf])
def test_no_epsilon_that_adds_no_noise(epsilon: float, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="finite number above 0"):
        noised(COUNTS, epsilon, generator)
