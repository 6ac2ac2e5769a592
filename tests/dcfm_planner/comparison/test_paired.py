"""Paired tests against binomials added up by hand, Holm's steps, and an interval that keeps its level."""

from itertools import product
from math import comb, sqrt

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from dcfm.metrics.intervals import wilson
from dcfm_planner.comparison.paired import Counts, holm, sign_flip


def test_counts_are_of_the_same_problems() -> None:
    first = np.array([True, True, False, False, True])
    second = np.array([True, False, True, False, False])
    counts = Counts.of(first, second)
    assert counts == Counts(both=1, first_only=2, second_only=1, neither=1)
    assert counts.n == 5
    assert counts.difference == pytest.approx(first.mean() - second.mean())


@pytest.mark.parametrize(("b", "c"), [(10, 2), (2, 10), (1, 0), (7, 7), (0, 0), (30, 5)])
def test_mcnemar_is_a_fair_coin_over_discordant_problems(b: int, c: int) -> None:
    tail = sum(comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert Counts(20, b, c, 3).p_value() == pytest.approx(min(1.0, 2 * tail))
    assert Counts(20, b, c, 3).p_value() == Counts(500, b, c, 0).p_value()  # concordant problems say nothing


def test_interval_turns_with_the_sign_and_holds_the_difference() -> None:
    counts = Counts(both=20, first_only=12, second_only=2, neither=16)
    low, high = counts.interval()
    assert 0 < low < 0.2 < high
    swapped = Counts(20, 2, 12, 16).interval()
    assert swapped == pytest.approx((-high, -low))


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_interval_of_uncorrelated_methods_is_that_of_independent_samples(level: float) -> None:
    counts = Counts(both=24, first_only=36, second_only=16, neither=24)  # ad = bc
    expected = confint_proportions_2indep(60, 100, 40, 100, method="newcomb", compare="diff", alpha=1 - level)
    assert counts.interval(level) == pytest.approx(expected)


def test_interval_of_negatively_correlated_methods_is_wider_than_of_independent_ones() -> None:
    expected = confint_proportions_2indep(60, 100, 40, 100, method="newcomb", compare="diff")
    assert np.ptp(Counts(both=10, first_only=50, second_only=30, neither=10).interval()) > 1.1 * np.ptp(expected)


def test_interval_is_the_one_that_newcombe_prints() -> None:
    """His 1998 example with a negative correlation, which is not corrected."""
    counts = Counts(both=36, first_only=12, second_only=2, neither=0)
    assert counts.interval() == pytest.approx((0.0569, 0.3404), abs=1e-4)


def test_a_positive_correlation_is_corrected_for_continuity() -> None:
    """By half the number of problems, read back from the interval's lower half."""
    low, _ = Counts(both=40, first_only=24, second_only=4, neither=32).interval()
    first, second, spread = 0.64 - wilson(64, 100)[0], wilson(44, 100)[1] - 0.44, 0.2 - low
    phi = (first**2 + second**2 - spread**2) / (2 * first * second)
    assert phi == pytest.approx((40 * 32 - 24 * 4 - 50) / sqrt(64 * 36 * 44 * 56))


def test_correlation_narrows_the_interval() -> None:
    together, apart = Counts(50, 10, 0, 40), Counts(24, 36, 26, 14)
    assert np.ptp(together.interval()) < np.ptp(apart.interval())


def test_interval_keeps_its_level() -> None:
    generator = np.random.default_rng(0)
    draws = generator.multinomial(100, [0.5, 0.25, 0.1, 0.15], size=120)
    intervals = np.array([Counts(*map(int, row)).interval() for row in draws])
    covered = ((intervals[:, 0] <= 0.15) & (intervals[:, 1] >= 0.15)).mean()
    assert 0.9 <= covered <= 1


def test_no_problems_say_nothing() -> None:
    nothing = Counts(0, 0, 0, 0)
    assert (nothing.difference, nothing.p_value(), nothing.interval()) == (None, 1.0, (-1.0, 1.0))
    assert Counts(12, 0, 0, 0).interval()[0] < 0 < Counts(12, 0, 0, 0).interval()[1]


def test_fewer_problems_widen_the_interval_about_the_same_difference() -> None:
    counts = Counts(both=40, first_only=24, second_only=4, neither=32)
    assert counts.interval(problems=50) == pytest.approx(Counts(20, 12, 2, 16).interval())
    assert counts.interval(problems=100) == pytest.approx(counts.interval())


@pytest.mark.parametrize(("b", "c"), [(10, 2), (2, 10), (1, 0), (7, 7), (0, 0), (130, 95)])
def test_the_sign_flip_test_of_one_training_is_mcnemars(b: int, c: int) -> None:
    differences = np.repeat([1, -1, 0], [b, c, 9])
    assert sign_flip(differences) == pytest.approx(Counts(9, b, c, 0).p_value())


def test_the_sign_flip_test_is_over_all_signs() -> None:
    differences = np.array([2, -1, 3, 1, 0, 2, -2])
    signs = np.array(list(product([-1, 1], repeat=len(differences))))
    expected = (np.abs(signs @ differences) >= differences.sum()).mean()
    assert sign_flip(differences) == pytest.approx(expected)
    assert sign_flip(-differences) == pytest.approx(expected)


def test_the_sign_flip_test_keeps_its_level_where_trainings_share_problems() -> None:
    chance = np.random.default_rng(0)

    def trained() -> np.ndarray:
        """Two trainings of one method, which mostly fail on the same problems."""
        hard = chance.random(200) < 0.1
        return np.stack([np.where(chance.random(200) < 0.97, ~hard, chance.random(200) > 0.1) for _ in range(2)])

    found = [(trained(), trained()) for _ in range(200)]
    problems = [sign_flip(first.sum(0) - second.sum(0)) for first, second in found]
    trials = [Counts.of(first.ravel(), second.ravel()).p_value() for first, second in found]
    assert np.mean(np.array(problems) < 0.05) < 0.09
    assert np.mean(np.array(trials) < 0.05) > 0.1  # what is independent are problems, not trials


def test_holm_steps_down_and_never_back() -> None:
    # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 raised to the one before, 0.5
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    p = np.random.default_rng(0).random(20) ** 4
    np.testing.assert_allclose(holm(p.tolist()), multipletests(p, method="holm")[1])
