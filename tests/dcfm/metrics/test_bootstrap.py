"""Bootstrap weights and intervals: what is resampled, and how often the interval is right."""

import math

import pytest
import torch

from dcfm.metrics.bootstrap import Estimate, clustered_weights, ratio, stratified_weights
from dcfm.metrics.frechet import frechet_distance, frechet_draws


def test_strata_keep_their_sizes(generator: torch.Generator) -> None:
    strata = torch.tensor([5, 5, 5, 2, 2, 9])
    weights = stratified_weights(strata, 50, generator)
    for stratum in (5, 2, 9):
        assert (weights[:, strata == stratum].sum(1) == (strata == stratum).sum()).all()
    assert (weights[:, 5] == 1).all()  # alone in its stratum
    assert len(weights[:, :3].unique(dim=0)) > 5


def test_clusters_stay_together(generator: torch.Generator) -> None:
    clusters = torch.tensor([7, 1, 7, 1, 3, 3])
    weights = clustered_weights(clusters, 50, generator)
    for cluster in (7, 1, 3):
        columns = weights[:, clusters == cluster]
        assert (columns == columns[:, :1]).all()
    assert (weights.sum(1) == 6).all()


def test_clusters_in_strata_of_fixed_size(generator: torch.Generator) -> None:
    """What differs between strata alone is no uncertainty of a sample of this design; what differs within them is."""
    strata, clusters = torch.arange(400) // 100, torch.arange(400)
    clusters[100:150] = torch.arange(50)  # fifty of the first stratum are in the second too
    weights = clustered_weights(clusters, 400, generator, strata).double()
    assert torch.allclose(weights.reshape(400, 4, 100).sum(2), torch.tensor(100.0).double())
    together = weights[:, :50] / weights[:, 100:150]  # equal but for the strata's scales
    assert ((together - together[:, :1]).abs() < 1e-6)[~together.isnan() & ~together[:, :1].isnan()].all()
    between = weights @ strata.double() / 400
    assert float(between.std()) < 1e-6  # without strata: 0.06
    assert float((clustered_weights(clusters, 400, generator).double() @ strata.double() / 400).std()) > 0.03
    within = torch.randn(400, generator=generator).double()
    within[100:150] = within[:50]
    expected = (within.square().sum() + 2 * within[:50].square().sum()).sqrt() / 400  # pairs move together
    assert float((weights @ within / 400).std()) == pytest.approx(float(expected), rel=0.15)


def test_a_stratum_that_a_draw_misses_stays_as_it_is(generator: torch.Generator) -> None:
    weights = clustered_weights(torch.arange(3), 60, generator, torch.tensor([0, 1, 1]))
    assert (weights[:, 0] == 1).all()
    assert (weights[:, 1:].sum(1) == 2).all()


def test_chance_is_the_generator_s() -> None:
    one, two = (stratified_weights(torch.arange(9) % 2, 5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)


def test_interval_of_a_mean_covers(generator: torch.Generator) -> None:
    """95 % intervals of the mean of 50 normal samples cover 0 about 95 times in 100."""
    covered = 0
    for _ in range(200):
        x = torch.randn(50, generator=generator).double()
        weights = stratified_weights(torch.zeros(50, dtype=torch.long), 300, generator).double()
        found = Estimate.centred(float(x.mean()), weights @ x / 50)
        covered += found.low <= 0 <= found.high
    assert 180 <= covered <= 199


def test_bias_of_the_frechet_distance_is_told(generator: torch.Generator) -> None:
    """The draws lie above the value by about the bias; the interval holds the value all the same."""
    x, y = torch.randn(2, 200, 10, generator=generator).double().unbind()
    strata = torch.zeros(200, dtype=torch.long)
    wx, wy = (stratified_weights(strata, 200, generator) for _ in range(2))
    draws = frechet_draws(x, y, wx, wy)
    found = Estimate.centred(frechet_distance(x, y), draws, least=0.0)
    assert found.bias > 0
    assert float(draws.quantile(0.025)) > found.value  # percentiles as they are would leave it out
    assert 0 <= found.low <= found.value <= found.high
    assert found.value - found.bias == pytest.approx(0, abs=0.2)  # of equal distributions


def test_ratio_of_what_belongs_together() -> None:
    draws = torch.tensor([1.0, 2.0, 4.0])
    one, two = Estimate.centred(2.0, draws), Estimate.centred(6.0, 3 * draws)
    found = ratio(one, two)
    assert (found.low, found.value, found.high) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    with pytest.raises(ValueError, match="as many of both"):
        ratio(one, Estimate(1.0, 1.0, 1.0, 0.0))
    with pytest.raises(ValueError, match="positive"):
        ratio(one, Estimate.centred(0.0, draws))


def test_a_bias_of_the_draws_does_not_narrow_a_ratio() -> None:
    """Both statistics' draws lie as far above them as one likes: the interval is that of draws about the values."""
    noise = torch.linspace(-0.3, 0.3, 2001, dtype=torch.float64)
    below = Estimate.centred(2.0, torch.full((2001,), 2.0))
    about, above = (ratio(Estimate.centred(1.0, 1 + bias + noise), below) for bias in (0.0, 5.0))
    assert (above.low, above.high) == pytest.approx((about.low, about.high))
    assert about.low < 0.37 < 0.63 < about.high


def test_the_interval_of_a_ratio_of_frechet_distances_covers() -> None:
    """The ratio at this n, over 60 pairs of samples, in 95 of 100: with the draws' bias in it, 51 of the 60 hold it."""
    generator, d, n, shifts = torch.Generator().manual_seed(1), 16, 100, (0.1, 0.5)
    strata, found = torch.zeros(n, dtype=torch.long), []
    for _ in range(60):
        reference, *made = torch.randn(3, n, d, generator=generator, dtype=torch.float64)
        estimates = []
        weights = [stratified_weights(strata, 60, generator) for _ in range(2)]
        for x, shift in zip(made, shifts, strict=True):
            value = frechet_distance(x + shift, reference)
            estimates.append(Estimate.centred(value, frechet_draws(x + shift, reference, *weights), least=0.0))
        found.append(ratio(*estimates))
    truth = math.exp(sum(math.log(one.value) for one in found) / len(found))
    assert sum(one.low <= truth <= one.high for one in found) >= 56


def test_a_draw_that_lies_below_zero_when_moved() -> None:
    draws = torch.tensor([0.1, 0.1, 0.1, 9.0])  # about their mean, 2.3, and with the value 1: three lie below -1
    found = ratio(Estimate.centred(1.0, draws), Estimate.centred(1.0, torch.ones(4)))
    assert 0 < found.low < found.value == 1 < found.high


def test_the_interval_has_the_level_that_is_asked_for() -> None:
    draws = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    for level in (0.5, 0.95):
        found = Estimate.centred(0.0, draws, level=level)
        assert (found.low, found.high) == pytest.approx((-level, level))


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_a_ratio_to_one_is_the_statistic_itself(level: float) -> None:
    """Its interval is that of the logarithm, its draws are ratios."""
    draws = torch.linspace(0.5, 1.5, 2001, dtype=torch.float64)
    found = ratio(Estimate.centred(1.0, draws), Estimate.centred(1.0, torch.ones(2001)), level=level)
    shift = float(draws.log().mean())
    ends = [math.exp(math.log(1 + sign * level / 2) - shift) for sign in (-1, 1)]
    assert (found.low, found.value, found.high) == pytest.approx((ends[0], 1.0, ends[1]))
    assert found.draws == pytest.approx(draws.tolist())


def test_what_cannot_be_less_than_zero_has_no_interval_below() -> None:
    draws = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    for found in (Estimate.centred(0.1, draws, least=0.0), Estimate.over_trainings([0.1], draws[None], least=0.0)):
        assert found.low == 0
        assert found.high > 1


def test_the_value_is_the_mean_over_trainings() -> None:
    assert Estimate.over_trainings([1.0, 2.0, 6.0], torch.ones(3, 4)).value == 3


def test_plain_data_tells_how_far_the_draws_lie_above() -> None:
    plain = {"value": 1.0, "low": 1.0, "high": 1.0, "bootstrap_bias": 2.0}
    found = Estimate.centred(1.0, torch.full((3,), 3.0))
    assert found.as_dict() == plain
    assert found.as_dict(draws=True) == plain | {"draws": [3.0] * 3}


def test_impossible_intervals() -> None:
    with pytest.raises(ValueError, match="at least one draw"):
        Estimate.centred(1.0, torch.empty(0))
    with pytest.raises(ValueError, match="0 < level < 1"):
        Estimate.centred(1.0, torch.ones(3), level=1.0)


def test_one_training_is_what_it_is(generator: torch.Generator) -> None:
    draws = torch.randn(1, 100, generator=generator).double()
    assert Estimate.over_trainings([0.5], draws) == Estimate.centred(0.5, draws[0])


def test_trainings_that_differ_widen_the_interval(generator: torch.Generator) -> None:
    """Without spread between trainings the interval is theirs (one taken twice counts twice: 5/9 of the variance of
    one, not 3/9); with it, it is as wide as the spread."""
    alike = torch.randn(3, 4000, generator=generator).double()
    found = Estimate.over_trainings([0.0] * 3, alike)
    half = 1.96 * (5 / 9) ** 0.5
    assert found.value == 0
    assert (found.low, found.high) == pytest.approx((-half, half), abs=0.1)
    apart = torch.tensor([[-10.0], [0.0], [10.0]]).expand(3, 4000)
    found = Estimate.over_trainings([-10.0, 0.0, 10.0], apart)
    assert found.high - found.low > 15
    assert {round(draw, 6) for draw in found.draws} <= {round(10 * i / 3, 6) for i in range(-3, 4)}


def test_two_methods_draw_the_same_trainings(generator: torch.Generator) -> None:
    """A method that is twice another in every training has a ratio without any width."""
    draws = 5 + torch.rand(3, 50, generator=generator).double()
    values = [5.2, 5.4, 5.6]
    one = Estimate.over_trainings(values, draws)
    two = Estimate.over_trainings([2 * value for value in values], 2 * draws)
    found = ratio(two, one)
    assert (found.low, found.value, found.high) == pytest.approx((2.0, 2.0, 2.0))


def test_values_without_draws() -> None:
    with pytest.raises(ValueError, match="2 values and draws of 3 trainings"):
        Estimate.over_trainings([1.0, 2.0], torch.ones(3, 4))
    with pytest.raises(ValueError, match="one of each a training"):
        Estimate.over_trainings([], torch.ones(0, 4))
