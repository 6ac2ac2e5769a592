from statistics import NormalDist

import pytest

from dcfm.metrics.intervals import mean_interval, share, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (270, 300)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_bounds_solve_the_score_equation(k: int, n: int, level: float) -> None:
    """``(k/n - p)^2 = z^2 p (1 - p) / n`` at both ends."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    for p in wilson(k, n, level):
        assert 0 <= p <= 1
        assert (k / n - p) ** 2 == pytest.approx(z**2 * p * (1 - p) / n, abs=1e-12)


def test_the_level_is_95_percent_where_none_is_given() -> None:
    assert wilson(270, 300) == wilson(270, 300, 0.95) == pytest.approx((0.861, 0.929), abs=5e-4)
    found = share(270, 300)
    assert (found["low"], found["high"]) == wilson(270, 300)
    assert mean_interval([1.0, 2.0]) == mean_interval([1.0, 2.0], 0.95)


def test_a_mean_has_the_level_that_is_asked_for() -> None:
    """Student's t with one degree of freedom is Cauchy's, whose quartile is 1; here s / sqrt(2) = 1 / 2."""
    found = mean_interval([1.0, 2.0], 0.5)
    assert (found["low"], found["high"]) == pytest.approx((1.0, 2.0))


def test_contains_the_rate_and_narrows() -> None:
    few, many = wilson(9, 10), wilson(900, 1000)
    assert few[0] < many[0] < 0.9 < many[1] < few[1]


def test_the_rate_lies_within_where_nothing_or_everything_succeeded() -> None:
    for n in range(1, 400):
        assert wilson(0, n)[0] == 0.0
        assert wilson(n, n)[1] == 1.0


def test_no_trials_say_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (1, 0)])
def test_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="0 <= successes <= trials"):
        wilson(k, n)


def test_impossible_level() -> None:
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        wilson(1, 2, level=95.0)


def test_shares_are_plain_and_of_no_trials_have_no_rate() -> None:
    found = share(9, 10)
    assert found["low"] < found["rate"] == 0.9 < found["high"]
    assert share(0, 0) == {"k": 0, "n": 0, "rate": None, "low": 0.0, "high": 1.0}


def test_the_interval_of_a_mean_over_seeds() -> None:
    found = mean_interval([0.9, 1.0])
    # Student's t with one degree of freedom: 12.706 * s / sqrt(2), with s = 0.1 / sqrt(2).
    assert found["high"] - found["mean"] == pytest.approx(12.7062 * 0.05, rel=1e-4)
    assert (found["mean"], found["least"], found["runs"]) == (pytest.approx(0.95), 0.9, 2)
    three = mean_interval([1.0, 2.0, 3.0])
    assert three["high"] - 2 == pytest.approx(2 - three["low"]) == pytest.approx(4.303 / 3**0.5, abs=1e-3)
    assert "low" not in mean_interval([0.9])
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])
