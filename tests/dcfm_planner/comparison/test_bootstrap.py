"""The hierarchical bootstrap where its distribution is known: no spread between trainings, nothing but such spread."""

import numpy as np
import pytest

from dcfm_planner.comparison.bootstrap import hierarchical_interval


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_one_training_is_a_binomial() -> None:
    trials = np.repeat([0.0, 1.0], [120, 180])
    half = 1.96 * np.sqrt(0.6 * 0.4 / 300)
    assert hierarchical_interval([trials], generator()) == pytest.approx((0.6 - half, 0.6 + half), abs=0.007)


def test_nothing_but_a_spread_between_trainings() -> None:
    # Means 0, 1, ..., 4 without any spread within: a draw's mean is that of five of these numbers with replacement.
    groups = [np.full(50, float(value)) for value in range(5)]
    drawn = generator(1).integers(0, 5, size=(200_000, 5)).mean(1)
    expected = np.quantile(drawn, [0.025, 0.975])
    assert hierarchical_interval(groups, generator()) == pytest.approx(tuple(expected), abs=0.15)


def test_spread_between_trainings_widens() -> None:
    alike = [np.repeat([0.0, 1.0], 50)] * 4
    apart = [np.repeat([0.0, 1.0], [100 - k, k]) for k in (20, 40, 60, 80)]
    assert np.ptp(hierarchical_interval(apart, generator())) > 2 * np.ptp(hierarchical_interval(alike, generator()))


def test_coverage_over_trainings() -> None:
    chance = generator(2)
    covered = 0
    for _ in range(100):
        rates = chance.normal(0.5, 0.1, size=12).clip(0, 1)
        groups = [(chance.random(60) < rate).astype(np.float64) for rate in rates]
        low, high = hierarchical_interval(groups, chance, draws=800)
        covered += low <= 0.5 <= high
    assert 0.87 <= covered / 100 <= 0.99


def test_groups_count_by_their_trials_and_a_seed_makes_a_draw() -> None:
    groups = [np.array([1.0]), np.zeros(99)]
    low, high = hierarchical_interval(groups, generator())
    assert low == 0.0
    assert high > 0.3  # the first training twice
    assert hierarchical_interval(groups, generator()) == (low, high)


@pytest.mark.parametrize("groups", [[], [np.empty(0)], [np.ones(3), np.empty(0)]])
def test_no_trials(groups: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="give one or more, each with trials"):
        hierarchical_interval(groups, generator())


def test_level_out_of_range() -> None:
    with pytest.raises(ValueError, match="level = 95"):
        hierarchical_interval([np.ones(3)], generator(), level=95.0)
