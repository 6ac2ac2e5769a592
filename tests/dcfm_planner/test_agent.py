"""The agent's shapes, labels, goals and seeds; masks of vector environments; errors that say what to do."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

import dcfm_envs
from dcfm.artefacts import ArtefactError
from dcfm_planner import PlannerAgent
from dcfm_planner.agent import NULL
from dcfm_planner.layout import COLUMNS
from dcfm_planner.models import ModelError, weights_folder
from dcfm_planner.planner import Planner

CUBE = COLUMNS["cube_position"].start
GOAL = np.array([0.35, -0.15, 0.02])


@pytest.fixture
def agent(noise_planner: Planner) -> PlannerAgent:
    return PlannerAgent(noise_planner)


@pytest.fixture
def observation(still: Tensor, observe: Callable) -> np.ndarray:
    """The cube in TL."""
    return observe(still.numpy())[0]


def test_importing_the_package_does_not_import_mujoco() -> None:
    code = "import sys, dcfm_planner; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_single_observations_give_single_float32_actions(agent: PlannerAgent, observation: np.ndarray) -> None:
    agent.reset(observation, goal=GOAL, seed=0)
    action = agent.act(observation)
    assert action.shape == (5,)
    assert action.dtype == np.float32
    assert (np.abs(action) <= 1).all()


def test_batches_give_batches(agent: PlannerAgent, observation: np.ndarray) -> None:
    batch = np.stack([observation] * 3)
    agent.reset(batch, goal=GOAL, seed=0)
    assert agent.act(batch).shape == (3, 5)
    with pytest.raises(ValueError, match="after a reset with 3 rows: give the same shape"):
        agent.act(observation)


def test_labels_default_to_the_quadrants_of_start_and_goal(agent: PlannerAgent, observation: np.ndarray) -> None:
    agent.reset(observation, goal=GOAL)
    assert agent.labels.tolist() == [[0, 3]]
    agent.reset(observation, goal=[0.435, -0.15])  # within 2 cm of the border between top and bottom
    assert agent.labels.tolist() == [[0, NULL]]
    agent.reset(observation, goal=GOAL, source="BR", target="TR")
    assert agent.labels.tolist() == [[3, 1]]
    agent.reset(np.stack([observation] * 2), goal=GOAL, target=[None, "BL"])
    assert agent.labels.tolist() == [[0, 3], [0, 2]]


def test_a_goal_observation_is_the_position_in_it(
    agent: PlannerAgent, observation: np.ndarray, still: Tensor, observe: Callable
) -> None:
    there = still.clone()
    there[CUBE : CUBE + 3] = torch.from_numpy(GOAL)
    goals = []
    for given in ({"goal": observe(there.numpy())[0]}, {"goal": GOAL}, {"goal": GOAL[:2]}):
        agent.reset(observation, **given, seed=3)
        agent.act(observation)
        goals.append(agent.plan.goal)
    agent.reset(observation, {"goal": observe(there.numpy())[0]}, seed=3)
    agent.act(observation)
    for goal in goals:
        np.testing.assert_allclose(goal, GOAL[None], atol=1e-6)
        np.testing.assert_allclose(goal, agent.plan.goal, atol=1e-6)


def test_equal_seeds_give_equal_plans(noise_planner: Planner, observation: np.ndarray) -> None:
    plans = []
    for seed in (5, 5, 6):
        agent = PlannerAgent(noise_planner)
        agent.reset(observation, goal=GOAL, seed=seed)
        agent.act(observation)
        plans.append(agent.plan.normalised)
    assert torch.equal(plans[0], plans[1])
    assert not torch.equal(plans[0], plans[2])
    agent.reset(observation, goal=GOAL)  # no seed: the noise goes on
    agent.act(observation)
    assert not torch.equal(agent.plan.normalised, plans[2])


def test_a_mask_begins_its_rows_and_leaves_the_others(agent: PlannerAgent, observation: np.ndarray) -> None:
    batch = np.stack([observation] * 3)
    agent.reset(batch, goal=GOAL, seed=0)
    agent.act(batch)
    agent.act(batch)
    before = agent.plan.normalised.clone()
    goals = np.stack([GOAL, [0.5, -0.2, 0.02], GOAL])
    agent.reset(batch, goal=goals, mask=np.array([False, True, False]))
    agent.act(batch)
    assert agent.execution.step.tolist() == [3, 1, 3]
    assert agent.labels.tolist() == [[0, 3], [0, 1], [0, 3]]
    changed = (agent.plan.normalised != before).flatten(1).any(1)
    assert changed.tolist() == [False, True, False]


def test_vector_environments_with_autoreset(agent: PlannerAgent) -> None:
    envs = gymnasium.make_vec(dcfm_envs.CUBE_SINGLE, num_envs=2, vectorization_mode="sync", max_episode_steps=2)
    observations, infos = envs.reset(seed=0)
    agent.reset(observations, infos, seed=0)
    ended = np.zeros(2, dtype=bool)
    steps = []
    for _ in range(4):
        observations, _, terminated, truncated, infos = envs.step(agent.act(observations))
        if ended.any():
            agent.reset(observations, infos, mask=ended)
        steps.append(agent.execution.step.tolist())
        ended = terminated | truncated
    envs.close()
    assert steps == [[1, 1], [2, 2], [0, 0], [1, 1]]  # begun anew with the first observation of the next episode


def test_what_cannot_be_says_what_to_do(agent: PlannerAgent, observation: np.ndarray) -> None:
    with pytest.raises(ValueError, match="call reset"):
        agent.act(observation)
    with pytest.raises(ValueError, match="no goal: pass goal="):
        agent.reset(observation, {})
    with pytest.raises(ValueError, match="unknown quadrant 'XX'; the quadrants are TL, TR, BL, BR"):
        agent.reset(observation, goal=GOAL, source="XX")
    with pytest.raises(ValueError, match=r"a goal of shape \(4,\)"):
        agent.reset(observation, goal=np.zeros(4))
    with pytest.raises(ValueError, match="reset all of them first"):
        agent.reset(np.stack([observation] * 2), goal=GOAL, mask=np.array([True, False]))
    with pytest.raises(ValueError, match="give one bool a row"):
        agent.reset(np.stack([observation] * 2), goal=GOAL, mask=np.array([True]))
    with pytest.raises(ValueError, match="2 names of target quadrants"):
        agent.reset(np.stack([observation] * 3), goal=GOAL, target=["TL", "TR"])


def test_loads_by_name_or_path(tmp_path: Path, observation: np.ndarray) -> None:
    folder = weights_folder() / "cube-single/noniid/dcfm_b"
    by_name, by_path = (PlannerAgent.load(where, device="cpu") for where in ("cube-single/noniid/dcfm_b", folder))
    actions = []
    for agent in (by_name, by_path):
        agent.reset(observation, goal=GOAL, seed=0)
        actions.append(agent.act(observation))
    np.testing.assert_array_equal(*actions)
    with pytest.raises(ModelError, match=r"shipped are .*cube-single/noniid/dcfm_b"):
        PlannerAgent.load("cube-single/noniid/dcfm_c")
    for path in folder.iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:1000] if path.suffix == ".safetensors" else content)
    with pytest.raises(ArtefactError, match="truncated"):
        PlannerAgent.load(tmp_path)
