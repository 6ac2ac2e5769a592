"""The hierarchical bootstrap where its distribution is known: no spread between trainings, nothing but such spread."""

import numpy as np
import pytest

from dcfm_planner.comparison.bootstrap import hierarchical_interval


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def interval(values: np.ndarray, chance: np.random.Generator | None = None, draws: int = 10_000) -> tuple[float, float]:
    return hierarchical_interval(values, np.ones_like(values, dtype=bool), chance or generator(), draws)


def test_one_training_is_a_binomial() -> None:
    trials = np.repeat([[0.0, 1.0]], [120, 180], axis=1)
    half = 1.96 * np.sqrt(0.6 * 0.4 / 300)
    assert interval(trials) == pytest.approx((0.6 - half, 0.6 + half), abs=0.007)
    half = 1.28 * np.sqrt(0.6 * 0.4 / 300)
    less = hierarchical_interval(trials, np.ones_like(trials, dtype=bool), generator(), level=0.8)
    assert less == pytest.approx((0.6 - half, 0.6 + half), abs=0.007)


def test_trainings_that_succeed_on_the_same_problems_are_as_one() -> None:
    trials = np.repeat([[0.0, 1.0]], [120, 180], axis=1)
    assert interval(np.repeat(trials, 3, axis=0)) == pytest.approx(interval(trials), abs=0.007)


def test_nothing_but_a_spread_between_trainings() -> None:
    # Means 0, 1, ..., 4 without any spread within: a draw's mean is that of five of these numbers with replacement.
    values = np.repeat(np.arange(5.0)[:, None], 50, axis=1)
    drawn = generator(1).integers(0, 5, size=(200_000, 5)).mean(1)
    expected = np.quantile(drawn, [0.025, 0.975])
    assert interval(values) == pytest.approx(tuple(expected), abs=0.15)


def test_spread_between_trainings_widens() -> None:
    alike = np.repeat(np.repeat([[0.0, 1.0]], 50, axis=1), 4, axis=0)
    apart = np.stack([np.repeat([0.0, 1.0], [100 - k, k]) for k in (20, 40, 60, 80)])
    assert np.ptp(interval(apart)) > 2 * np.ptp(interval(alike))


def test_coverage_over_trainings_and_problems() -> None:
    chance = generator(2)
    covered = 0
    for _ in range(100):
        rates = chance.normal(0.5, 0.1, size=(12, 1)) + chance.normal(0, 0.2, size=60)  # problems are hard for all
        low, high = interval((chance.random((12, 60)) < rates).astype(np.float64), chance, draws=800)
        covered += low <= 0.5 <= high
    assert 0.87 <= covered / 100 <= 0.99


def test_trials_that_do_not_count_are_left_out_and_a_seed_makes_a_draw() -> None:
    values, counted = np.zeros((2, 99)), np.ones((2, 99), dtype=bool)
    values[0], counted[0, 1:] = 1.0, False  # one success of one trial beside 99 failures
    low, high = hierarchical_interval(values, counted, generator())
    assert low == 0.0
    assert high == 1.0  # the first training twice, where the draw has its problem
    assert hierarchical_interval(values, counted, generator()) == (low, high)
    values[~counted] = np.nan
    assert hierarchical_interval(values, counted, generator()) == (low, high)


@pytest.mark.parametrize("counted", [np.ones((0, 3)), np.zeros((1, 0)), np.zeros((1, 2)), np.array([[1, 1], [0, 0]])])
def test_no_trials(counted: np.ndarray) -> None:
    with pytest.raises(ValueError, match="give one or more, each with trials"):
        hierarchical_interval(np.ones(counted.shape), counted.astype(bool), generator())


def test_level_out_of_range() -> None:
    with pytest.raises(ValueError, match="level = 95"):
        hierarchical_interval(np.ones((1, 3)), np.ones((1, 3), dtype=bool), generator(), level=95.0)
