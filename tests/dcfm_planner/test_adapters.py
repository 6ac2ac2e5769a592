"""The agent under others' signatures, called as their loops call it, in MuJoCo where episodes follow each other."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from torch import Tensor

import dcfm_envs
from dcfm_envs.scene import STATE_SLICES
from dcfm_planner import PlannerAgent
from dcfm_planner.adapters import OGBenchPolicy, PredictPolicy
from dcfm_planner.planner import Planner

GOAL = np.array([0.35, -0.15, 0.02])
OTHER = np.array([0.5, 0.15, 0.02])


@pytest.fixture
def agent(noise_planner: Planner) -> PlannerAgent:
    return PlannerAgent(noise_planner)


@pytest.fixture
def moving(still: Tensor, observe: Callable) -> np.ndarray:
    """An observation in the midst of an episode."""
    observation = observe(still.numpy())[0]
    observation[STATE_SLICES["joint_velocity"]] = 0.1
    return observation


@pytest.fixture
def reset(moving: np.ndarray) -> np.ndarray:
    """The same right after a reset: the joints rest."""
    observation = moving.copy()
    observation[STATE_SLICES["joint_velocity"]] = 0
    return observation


@pytest.fixture(scope="module")
def env() -> gymnasium.Env:
    return gymnasium.make(dcfm_envs.CUBE_SINGLE, max_episode_steps=5)


def test_the_signatures_are_theirs() -> None:
    """OGBench ``sample_actions(observations, goals=None, seed=None, temperature=1.0)``; Stable-Baselines3
    ``predict(observation, state=None, episode_start=None, deterministic=False)``."""

    def of(method: Callable[..., Any]) -> dict[str, Any]:
        return {name: p.default for name, p in inspect.signature(method).parameters.items() if name != "self"}

    none = inspect.Parameter.empty
    ogbench = {"observations": none, "goals": None, "seed": None, "temperature": 1.0}
    predict = {"observation": none, "state": None, "episode_start": None, "deterministic": False}
    assert of(OGBenchPolicy.sample_actions) == ogbench
    assert of(PredictPolicy.predict) == predict


def test_an_episode_is_noticed_by_its_goal_or_by_joints_at_rest(
    agent: PlannerAgent, reset: np.ndarray, moving: np.ndarray
) -> None:
    policy = OGBenchPolicy(agent)
    steps = []
    for observation, goal in (
        (reset, GOAL),
        (moving, GOAL),
        (moving, GOAL),
        (moving, OTHER),  # another goal
        (moving, OTHER),
        (reset, OTHER),  # at rest
        (moving, OTHER),
    ):
        policy.sample_actions(observations=observation, goals=goal, temperature=0)
        steps.append(int(agent.execution.step[0]))
    assert steps == [1, 2, 3, 1, 2, 1, 2]
    policy.reset()
    policy.sample_actions(moving, OTHER)
    assert agent.execution.step.tolist() == [1]


def test_rows_begin_one_by_one(agent: PlannerAgent, reset: np.ndarray, moving: np.ndarray) -> None:
    policy = OGBenchPolicy(agent)
    for rows, steps in (([reset, reset], [1, 1]), ([moving, moving], [2, 2]), ([reset, moving], [1, 3])):
        actions = policy.sample_actions(np.stack(rows), GOAL)
        assert actions.shape == (2, 5)
        assert agent.execution.step.tolist() == steps


def test_a_seed_is_an_integer_or_a_jax_key(agent: PlannerAgent, reset: np.ndarray) -> None:
    def plan(seed: Any) -> np.ndarray:
        policy = OGBenchPolicy(agent)
        policy.sample_actions(reset, GOAL, seed=seed)
        return agent.plan.effector_position

    key, other = np.array([[1, 2], [1, 3]], dtype=np.uint32)  # what jax.random.PRNGKey gives, as numpy sees it
    np.testing.assert_array_equal(plan(key), plan(key))
    np.testing.assert_array_equal(plan(7), plan(7))
    assert not np.array_equal(plan(key), plan(7))
    assert not np.array_equal(plan(key), plan(other))


def test_an_episode_is_its_seed_s_whatever_was_before(
    agent: PlannerAgent, reset: np.ndarray, moving: np.ndarray
) -> None:
    """Where all rows begin, and where one of them does."""
    policy, plans = OGBenchPolicy(agent), []
    for rows in ([reset, reset], [reset, reset], [reset, moving]):
        policy.sample_actions(np.stack(rows), GOAL, seed=7)
        plans.append(agent.plan.effector_position[0])
    np.testing.assert_array_equal(plans[0], plans[1])
    np.testing.assert_array_equal(plans[0], plans[2])


def test_predict_passes_state_through_and_takes_dictionaries(agent: PlannerAgent, reset: np.ndarray) -> None:
    policy = PredictPolicy(agent)
    state = (np.zeros(1),)
    action, given = policy.predict({"observation": reset, "desired_goal": GOAL}, state, None, True)
    assert given is state
    assert action.shape == (5,)
    assert action.dtype == np.float32
    assert policy.predict({"observation": reset, "desired_goal": GOAL})[1] is None
    assert PredictPolicy(agent, goal=lambda: GOAL).predict(reset)[0].shape == (5,)
    PredictPolicy(agent, goal=OTHER).predict({"observation": reset, "desired_goal": GOAL})  # its own goes before
    np.testing.assert_allclose(agent.plan.goal, [GOAL], atol=1e-6)


def test_an_old_flag_does_not_begin_an_episode_again(agent: PlannerAgent, moving: np.ndarray) -> None:
    """``evaluate_policy`` leaves ``episode_start`` true in rows whose episodes it counts no more."""
    policy = PredictPolicy(agent, goal=GOAL)
    batch = np.stack([moving] * 2)
    steps = []
    for flags in ([True, True], [False, False], [True, False], [True, False], [True, True]):
        policy.predict(batch, episode_start=np.array(flags))
        steps.append(agent.execution.step.tolist())
    assert steps == [[1, 1], [2, 2], [1, 3], [2, 4], [3, 1]]


def test_joints_rest_exactly_at_resets_and_nowhere_else(env: gymnasium.Env, agent: PlannerAgent) -> None:
    policy = PredictPolicy(agent, goal=lambda: env.unwrapped.placement.goal_position)  # type: ignore[attr-defined]
    starts = []
    observation, _ = env.reset(seed=0)
    for _ in range(12):
        action, _ = policy.predict(observation)
        starts.append(agent.execution.step[0] == 1)
        observation, _, _, truncated, _ = env.step(action)
        if truncated:
            observation, _ = env.reset()
    assert np.flatnonzero(starts).tolist() == [0, 5, 10]


def test_stable_baselines_own_evaluation(env: gymnasium.Env, noise_planner: Planner) -> None:
    pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not needed, and not installed")
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv

    venv = DummyVecEnv([lambda: env])
    goals = lambda: np.stack([p.goal_position for p in venv.get_attr("placement")])  # noqa: E731
    policy = PredictPolicy(PlannerAgent(noise_planner), goal=goals)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of environments without its Monitor
        rewards, lengths = evaluate_policy(policy, venv, n_eval_episodes=3, return_episode_rewards=True)  # type: ignore
    assert lengths == [5, 5, 5]
    assert len(rewards) == 3


def test_what_cannot_be_says_what_to_do(agent: PlannerAgent, moving: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pass goals="):
        OGBenchPolicy(agent).sample_actions(moving)
    with pytest.raises(ValueError, match=r"PredictPolicy\(agent, goal="):
        PredictPolicy(agent).predict(moving)
    with pytest.raises(ValueError, match="episode_start of shape"):
        PredictPolicy(agent, goal=GOAL).predict(moving, episode_start=np.zeros(2, dtype=bool))
