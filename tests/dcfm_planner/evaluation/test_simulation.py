"""Trials that share one environment go on bit for bit as if each were alone; starts are where they were asked for."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_envs.scene import CUBE_REST_HEIGHT
from dcfm_planner.evaluation.problems import read_given
from dcfm_planner.evaluation.simulation import Simulations, Starts
from dcfm_planner.layout import COLUMNS, normalise, state_features
from dcfm_planner.plan import Plan

ACTIONS = np.random.default_rng(0).uniform(-1, 1, size=(2, 4, 5))


def test_swapping_changes_nothing(simulations: Simulations) -> None:
    starts = read_given()["known"][:2]
    observations = simulations.reset(starts)
    for step in range(4):
        for row in (0, 1):
            observations[row] = simulations.step(row, ACTIONS[row, step])
    for row in (0, 1):
        env = simulations.environment
        env.reset(seed=0, options=starts.options(row))
        for step in range(4):
            alone = env.step(ACTIONS[row, step])[0]
        np.testing.assert_array_equal(observations[row], alone)


def test_starts_are_where_they_were_asked_for(simulations: Simulations) -> None:
    starts = read_given()["novel"][3:5]
    state = state_features(simulations.reset(starts))
    np.testing.assert_allclose(state[:, COLUMNS["cube_position"].slice], starts.cube_position, atol=1e-3)
    np.testing.assert_allclose(state[:, COLUMNS["effector_position"].slice], starts.effector_position, atol=1e-3)
    for name in ("effector_yaw", "cube_yaw"):
        yaw = getattr(starts, name)
        turn = np.stack([np.cos(4 * yaw), np.sin(4 * yaw)], axis=1)
        np.testing.assert_allclose(state[:, COLUMNS[name].slice], turn, atol=1e-2)


def test_some_of_the_starts_are_the_same_starts() -> None:
    starts = read_given()["novel"]
    for name in Starts.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(starts[3:5], name), getattr(starts, name)[3:5])


def test_proposals_are_put_on_the_floor_and_within_reach(still: Tensor) -> None:
    steps = still.repeat(4, 1)
    steps[:, COLUMNS["cube_position"].stop - 1] = 0.027
    steps[0, COLUMNS["effector_position"].start + 2] = 0.5
    for name, yaw in (("effector_yaw", -0.3), ("cube_yaw", 0.2)):  # at the start; 0 later on
        steps[0, COLUMNS[name].slice] = torch.tensor([np.cos(4 * yaw), np.sin(4 * yaw)])
    starts = Starts.proposed_by(Plan.from_normalised(normalise(steps[None].to(torch.float64))))
    assert starts.cube_position[0, 2] == starts.goal_position[0, 2] == CUBE_REST_HEIGHT
    np.testing.assert_allclose(starts.effector_position[0], [0.45, 0.1, 0.37], atol=1e-9)
    assert (float(starts.effector_yaw[0]), float(starts.cube_yaw[0])) == pytest.approx((-0.3, 0.2))


def test_too_many_starts(simulations: Simulations) -> None:
    with pytest.raises(ValueError, match="3 starts for 2 simulations"):
        simulations.reset(read_given()["known"][:3])
