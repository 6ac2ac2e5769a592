from statistics import NormalDist

import pytest

from dcfm.metrics.intervals import share, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (270, 300)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_bounds_solve_the_score_equation(k: int, n: int, level: float) -> None:
    """``(k/n - p)^2 = z^2 p (1 - p) / n`` at both ends."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    for p in wilson(k, n, level):
        assert 0 <= p <= 1
        assert (k / n - p) ** 2 == pytest.approx(z**2 * p * (1 - p) / n, abs=1e-12)


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
