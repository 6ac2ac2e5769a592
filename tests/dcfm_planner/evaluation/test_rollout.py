"""Rollouts: every trial ends by itself, and stays where it ended."""

from dataclasses import dataclass, field

import numpy as np

from dcfm_planner.evaluation.problems import read_given
from dcfm_planner.evaluation.rollout import rollout
from dcfm_planner.evaluation.simulation import Simulations


@dataclass
class Lasting:
    """Moves the arm, and is finished with each trial after so many steps."""

    steps: np.ndarray
    acts: int = 0
    active: list[list[bool]] = field(default_factory=list)

    @property
    def finished(self) -> np.ndarray:
        return self.acts > self.steps

    def act(self, observation: np.ndarray, active: np.ndarray | None = None) -> np.ndarray:
        assert active is not None
        self.acts += 1
        self.active.append(active.tolist())
        return np.full((len(observation), 5), 0.5)


def test_a_trial_stays_at_its_last_state_while_others_go_on(simulations: Simulations) -> None:
    policy = Lasting(np.array([2, 4]))
    run = rollout(simulations, read_given()["known"][:2], policy, max_steps=7)
    assert run.steps.tolist() == [2, 4]
    assert policy.active == [[True, True]] * 3 + [[False, True]] * 2
    for states, steps in zip(run.states, run.steps, strict=True):
        assert (np.abs(np.diff(states[: steps + 1], axis=0)).max(axis=1) > 1e-4).all()
        np.testing.assert_array_equal(states[steps:], np.broadcast_to(states[steps], states[steps:].shape))


def test_steps_are_limited(simulations: Simulations) -> None:
    run = rollout(simulations, read_given()["known"][:1], Lasting(np.array([9])), max_steps=3)
    assert (run.steps.tolist(), run.states.shape[1]) == ([3], 4)
