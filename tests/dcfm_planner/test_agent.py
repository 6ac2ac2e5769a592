"""The agent's shapes, labels, goals and seeds; masks of vector environments; errors that say what to do."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from torch import Tensor

import dcfm_envs
from dcfm.artefacts import ArtefactError
from dcfm_envs.scene import STATE_SLICES
from dcfm_planner import PlannerAgent
from dcfm_planner.controllers import PlannedActions, TrackEffector
from dcfm_planner.domains import maze
from dcfm_planner.execution import ExecutionOptions
from dcfm_planner.layout import COLUMNS
from dcfm_planner.models import ModelError, weights_folder
from dcfm_planner.planner import Planner
from dcfm_planner.query import NULL, cube_positions

CUBE = COLUMNS["cube_position"].start
GOAL = np.array([0.35, -0.15, 0.02])


@pytest.fixture
def agent(noise_planner: Planner) -> PlannerAgent:
    return PlannerAgent(noise_planner)


@pytest.fixture
def observation(still: Tensor, observe: Callable) -> np.ndarray:
    """The cube in TL."""
    return observe(still.numpy())[0]


def moving(observations: np.ndarray) -> np.ndarray:
    """The same with the arm's joints in motion, as after any simulated step."""
    found = observations.copy()
    found[..., STATE_SLICES["joint_velocity"]] = 0.1
    return found


def test_how_it_executes_can_be_given_where_it_is_loaded() -> None:
    options, controller = ExecutionOptions(replan_every=8), TrackEffector(lookahead=3)
    agent = PlannerAgent.load("cube-single/noniid/dcfm_b", device="cpu", options=options, controller=controller)
    assert (agent.options, agent.controller) == (options, controller)
    assert PlannerAgent.load("cube-single/noniid/dcfm_b", device="cpu").options == ExecutionOptions()


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
    batch = moving(batch)
    agent.act(batch)
    before = agent.plan.normalised.clone()
    goals = np.stack([GOAL, [0.5, -0.2, 0.02], GOAL])
    goals[[0, 2]] = 0.0  # as vector environments have them of rows that were not reset
    agent.reset(batch, goal=goals, mask=np.array([False, True, False]))
    agent.act(batch)
    assert agent.execution.step.tolist() == [3, 1, 3]
    assert agent.labels.tolist() == [[0, 3], [0, 1], [0, 3]]
    changed = (agent.plan.normalised != before).flatten(1).any(1)
    assert changed.tolist() == [False, True, False]


def test_what_is_asked_for_goes_before_what_the_environment_says(agent: PlannerAgent, observation: np.ndarray) -> None:
    """At a reset and in the episodes that follow it."""
    batch, info = np.stack([observation] * 2), {"goal": [0.5, -0.2, 0.02]}
    agent.reset(batch, info, goal=GOAL, seed=0, autoreset="SameStep")
    agent.act(batch)
    np.testing.assert_allclose(agent.plan.goal, [GOAL] * 2, atol=1e-6)
    agent.follow(batch, info, np.array([False, True]), goal=GOAL, source="BR", target="TR")
    assert agent.labels.tolist() == [[0, 3], [3, 1]]
    agent.act(moving(batch))
    np.testing.assert_allclose(agent.plan.goal, [GOAL] * 2, atol=1e-6)


def test_a_seed_is_heeded_also_where_some_rows_begin(noise_planner: Planner, observation: np.ndarray) -> None:
    batch, plans = np.stack([observation] * 2), []
    for seed in (5, 5, 6):
        agent = PlannerAgent(noise_planner)
        agent.reset(batch, goal=GOAL, seed=0)
        agent.act(batch)
        agent.reset(moving(batch), goal=GOAL, seed=seed, mask=np.array([False, True]))
        agent.act(moving(batch))
        plans.append(agent.plan.normalised)
    assert torch.equal(plans[0], plans[1])
    assert torch.equal(plans[0][0], plans[2][0])
    assert not torch.equal(plans[0][1], plans[2][1])


def test_controller_and_options_are_those_given(noise_planner: Planner, observation: np.ndarray) -> None:
    agent = PlannerAgent(noise_planner, PlannedActions(), ExecutionOptions(replan_every=4))
    agent.reset(observation, goal=GOAL, seed=0)
    np.testing.assert_allclose(agent.act(observation), agent.plan.action[0, 0].clip(-1, 1), atol=1e-6)
    for _ in range(4):
        agent.act(moving(observation))
    assert agent.execution.replans.tolist() == [1]


@pytest.fixture(scope="module")
def scenes() -> list[gymnasium.Env]:
    """Two environments for all vector environments of this module: building OGBench's scene takes seconds."""
    return [gymnasium.make(dcfm_envs.CUBE_SINGLE, max_episode_steps=3) for _ in range(2)]


def vector(scenes: list[gymnasium.Env], mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([lambda env=env: env for env in scenes], autoreset_mode=mode)


@pytest.mark.parametrize(
    ("mode", "begun"),
    [
        # Episodes last 3 steps. The action of the step after the end goes nowhere: the row stays where it is.
        (AutoresetMode.NEXT_STEP, [0, 0, 0, 1, 0, 0, 0, 1]),
        (AutoresetMode.SAME_STEP, [0, 0, 1, 0, 0, 1, 0, 0]),
    ],
)
def test_follows_both_autoreset_modes(
    agent: PlannerAgent, scenes: list[gymnasium.Env], mode: AutoresetMode, begun: list[int]
) -> None:
    envs = vector(scenes, mode)
    observations, infos = envs.reset(seed=0)
    agent.reset(observations, infos, seed=0, autoreset=envs.metadata["autoreset_mode"])
    started = [False] * 2
    for anew in begun:
        actions = agent.act(observations)
        if any(started):  # the episode's own start and goal
            goals = [env.unwrapped.placement.goal_position for env in scenes]  # type: ignore[attr-defined]
            np.testing.assert_allclose(agent.plan.goal, goals, atol=1e-6)
            np.testing.assert_allclose(agent.plan.start, cube_positions(observations), atol=1e-6)
        observations, _, terminated, truncated, infos = envs.step(actions)
        started = agent.follow(observations, infos, terminated | truncated).tolist()
        assert started == [bool(anew)] * 2
        assert (observations[:, STATE_SLICES["joint_velocity"]] == 0).all() == bool(anew)
        assert not anew or agent.execution.step.tolist() == [0, 0]


def test_rows_are_followed_one_by_one(scenes: list[gymnasium.Env], noise_planner: Planner) -> None:
    """One row is two steps ahead of the other."""
    envs = vector(scenes, AutoresetMode.NEXT_STEP)
    agent = PlannerAgent(noise_planner)
    observations, infos = envs.reset(seed=0)
    observations = moving(observations)
    agent.reset(observations, infos, seed=0, autoreset="NextStep")
    ended = [[False, True], [False, False], [True, False], [False, False]]
    seen, actions = [], []
    for row in ended:
        actions.append(agent.act(observations).any(axis=1).tolist())
        seen.append(agent.follow(observations, infos, np.array(row)).tolist())
    assert seen == [[False, False], [False, True], [False, False], [True, False]]
    assert actions == [[True, True], [True, False], [True, True], [False, True]]


def test_a_row_that_is_begun_by_hand_acts_whatever_ended(agent: PlannerAgent, observation: np.ndarray) -> None:
    batch = moving(np.stack([observation] * 2))
    agent.reset(batch, goal=GOAL, seed=0, autoreset="NextStep")
    agent.follow(batch, {}, np.array([True, False]))
    assert agent.act(batch).any(axis=1).tolist() == [False, True]
    agent.reset(batch, goal=GOAL, mask=np.array([True, False]))
    assert agent.act(batch).any(axis=1).tolist() == [True, True]


def test_rows_that_begin_together_are_planned_in_one_batch(
    perfect_planner: Callable, still: Tensor, observe: Callable
) -> None:
    planner, field = perfect_planner(still.repeat(16, 1))
    agent = PlannerAgent(planner)
    batch = moving(observe(still.numpy()[None].repeat(4, axis=0)))
    agent.reset(batch, goal=GOAL, seed=0)
    agent.act(batch)
    assert [len(labels) for labels in field.labels] == [4] * planner.steps
    field.labels.clear()
    agent.reset(batch, goal=GOAL, mask=np.array([True, False, True, False]))
    agent.act(batch)
    assert [len(labels) for labels in field.labels] == [2] * planner.steps


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_trained_planner_in_a_vector_environment(scenes: list[gymnasium.Env], mode: AutoresetMode) -> None:
    """Episode after episode, some of it planned while other rows are on their way: the cubes arrive."""
    envs = SyncVectorEnv(
        [lambda env=env, n=n: TimeLimit(env.unwrapped, n) for env, n in zip(scenes, (110, 120), strict=True)],
        autoreset_mode=mode,
    )
    agent = PlannerAgent.load("cube-single/noniid/dcfm_b", device="cpu")
    observations, infos = envs.reset(seed=3)
    agent.reset(observations, infos, seed=0, autoreset=envs.metadata["autoreset_mode"])
    outcomes = []
    for _ in range(250):
        observations, _, terminated, truncated, infos = envs.step(agent.act(observations))
        ended = terminated | truncated
        final = infos.get("final_info", infos)
        outcomes += final["success"][ended].tolist()
        agent.follow(observations, infos, ended)
    assert outcomes == [True] * 4


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
    batch = np.stack([observation] * 2)
    agent.reset(batch, goal=GOAL)
    with pytest.raises(ValueError, match=r"pass autoreset=envs.metadata"):
        agent.follow(batch, {}, np.zeros(2, dtype=bool))
    with pytest.raises(ValueError, match="unknown autoreset mode 'never'; Gymnasium's are NextStep"):
        agent.reset(batch, goal=GOAL, autoreset="never")
    agent.reset(batch, goal=GOAL, autoreset="SameStep")
    with pytest.raises(ValueError, match=r"give terminated \| truncated"):
        agent.follow(batch, {}, np.zeros(3, dtype=bool))


def test_a_plan_is_there_once_it_is_made(agent: PlannerAgent, observation: np.ndarray) -> None:
    batch = np.stack([observation] * 2)
    agent.reset(batch, goal=GOAL, seed=0)
    with pytest.raises(
        ValueError, match=r"rows \[0, 1\] are planned at the next act\(\): call act\(observation\) first"
    ):
        _ = agent.plan
    agent.act(batch)
    assert len(agent.plan) == 2
    agent.reset(moving(batch), goal=GOAL, mask=np.array([False, True]))
    with pytest.raises(ValueError, match=r"rows \[1\]"):
        _ = agent.plan


def test_a_reset_that_cannot_be_leaves_what_goes_on(agent: PlannerAgent, observation: np.ndarray) -> None:
    agent.reset(observation, goal=GOAL, seed=0)
    going = agent.execution
    with pytest.raises(ValueError, match="seed=-1: give an integer of at least 0"):
        agent.reset(observation, goal=GOAL, seed=-1)
    assert agent.execution is going


def test_a_forgotten_reset_is_told(agent: PlannerAgent, observation: np.ndarray) -> None:
    """The environment begins anew, its joints at rest, while the agent is in the middle of a plan."""
    agent.reset(observation, goal=GOAL)
    for seen in (observation, moving(observation)):
        agent.act(seen)  # no warning, which would be an error here
    with pytest.warns(UserWarning, match=r"the environment was reset \(rows \[0\]\) and the agent was not"):
        agent.act(observation)


def test_a_planner_of_another_domain_is_refused(noise_planner: Planner) -> None:
    other = replace(noise_planner, layout=maze.LAYOUT)
    for use in (lambda: PlannerAgent(other), other.plan):
        with pytest.raises(ValueError, match=r"the columns position, not the cube's; use trajectories\(\)"):
            use()


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
