"""Labels of the controls: null, uniform, or wrong in both, reproducibly."""

from dataclasses import replace

import numpy as np

from dcfm_planner.evaluation.controls import CONTROLS, control_labels, replay_oracle
from dcfm_planner.evaluation.problems import read_given
from dcfm_planner.evaluation.simulation import Simulations

LABELS = np.array([[0, 3], [1, 1], [2, 0]]).repeat(200, 0)
SEEDS = np.arange(600)


def test_null_asks_for_nothing() -> None:
    assert (control_labels("null", LABELS, SEEDS) == 4).all()


def test_wrong_is_wrong_in_both_and_reaches_every_such_pair() -> None:
    wrong = control_labels("wrong", LABELS, SEEDS)
    assert (wrong != LABELS).all()
    assert ((wrong >= 0) & (wrong < 4)).all()
    assert len(np.unique(wrong[:200], axis=0)) == 9


def test_random_is_uniform() -> None:
    drawn = control_labels("random", LABELS, SEEDS)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 16
    assert counts.min() > 15


def test_others_keep_the_querys() -> None:
    for control in CONTROLS:
        if control not in ("null", "wrong", "random"):
            np.testing.assert_array_equal(control_labels(control, LABELS, SEEDS), LABELS)


def test_a_problem_has_the_same_labels_in_any_company() -> None:
    for control in ("wrong", "random"):
        whole, part = control_labels(control, LABELS, SEEDS), control_labels(control, LABELS[5:9], SEEDS[5:9])
        np.testing.assert_array_equal(whole[5:9], part)


def test_the_oracle_s_noise_is_of_the_problem_s_seed_alone(simulations: Simulations) -> None:
    starts = read_given()["known"][np.array([3, 3, 3])]
    first, same, other = replay_oracle(simulations, starts, np.array([5, 5, 6]), max_steps=20).states
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-3


def test_the_oracle_tries_again_where_it_failed(simulations: Simulations) -> None:
    """No cube stays at a goal in the air; a pick-and-place is over after 90 steps."""
    starts = read_given()["known"][np.array([3])]
    high = replace(starts, goal_position=starts.goal_position + np.array([0, 0, 0.2]))
    assert replay_oracle(simulations, starts, np.array([0]), max_steps=110).steps[0] < 95
    assert replay_oracle(simulations, high, np.array([0]), max_steps=110).steps[0] == 110
