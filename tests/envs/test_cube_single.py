"""The environment: placed exactly as asked, drawn from its seed alone, OGBench's physics to the last bit."""

import copy
import pickle
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from ogbench.manipspace.envs.cube_env import CubeEnv

import dcfm_envs
from dcfm_envs.cube_single import CubeSingle
from dcfm_envs.placement import OPTIONS
from dcfm_envs.scene import CUBE_REST_HEIGHT, SUCCESS_RADIUS, named

PLACED: dict[str, Any] = {
    "cube_position": [0.48, 0.12],
    "cube_yaw": 0.4,
    "goal_position": [0.36, -0.21, 0.02],
    "goal_yaw": -2.5,
    "effector_position": (0.31, 0.05, 0.23),
    "effector_yaw": -1.1,
    "gripper_opening": 0.35,
}


@pytest.fixture(scope="module")
def env() -> CubeSingle:
    return CubeSingle()


def test_gymnasium_s_checker_has_nothing_to_say() -> None:
    """Pictures apart, which ``test_rendering`` checks in a process that can draw."""
    made = gymnasium.make(dcfm_envs.CUBE_SINGLE)
    assert made.spec is not None
    assert made.spec.max_episode_steps == 200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(made.unwrapped, skip_render_check=True)
    made.close()
    made.close()


def test_everything_is_where_it_was_asked_for(env: CubeSingle) -> None:
    observation, info = env.reset(seed=0, options=PLACED)
    state, goal = env.named(observation), env.named(info["goal"])
    np.testing.assert_allclose(state["cube_position"], [0.48, 0.12, CUBE_REST_HEIGHT], atol=1e-12)
    np.testing.assert_allclose(state["effector_position"], PLACED["effector_position"], atol=1e-6)
    np.testing.assert_allclose(goal["cube_position"], PLACED["goal_position"], atol=1e-12)
    np.testing.assert_allclose(info["goal_position"], PLACED["goal_position"], atol=1e-12)
    for value, name in (
        (state["cube_yaw"], "cube_yaw"),
        (state["effector_yaw"], "effector_yaw"),
        (goal["cube_yaw"], "goal_yaw"),
        (state["gripper_opening"], "gripper_opening"),
    ):
        assert float(value) == pytest.approx(PLACED[name], abs=1e-6), name
    np.testing.assert_array_equal(state["joint_velocity"], 0)
    np.testing.assert_allclose(goal["effector_position"], env.placement.goal_effector_position, atol=1e-6)
    assert float(info["privileged/target_block_yaw"][0]) == PLACED["goal_yaw"]  # what OGBench's oracle reads


def test_a_gripper_opening_is_kept(env: CubeSingle) -> None:
    """The linkage is set consistently: with no action the fingers stay where they were put."""
    for opening in (0.0, 0.1, 0.5, 0.97):
        observation, _ = env.reset(seed=0, options={"gripper_opening": opening})
        assert float(named(observation)["gripper_opening"]) == pytest.approx(opening, abs=1e-6)
        observation = env.step(np.zeros(5))[0]
        assert float(named(observation)["gripper_opening"]) == pytest.approx(opening, abs=0.01)


def test_the_seed_alone_decides(env: CubeSingle) -> None:
    np.random.seed(1)
    first, info = env.reset(seed=7)
    then = env.reset()[0]
    np.random.seed(2)
    env.action_space.seed(99)
    again, info_again = CubeSingle().reset(seed=7)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(info["goal"], info_again["goal"])
    assert not np.array_equal(first, then)
    assert not np.array_equal(first, env.reset(seed=8)[0])


@pytest.mark.parametrize("name", OPTIONS)
def test_giving_one_quantity_leaves_the_others(env: CubeSingle, name: str) -> None:
    env.reset(seed=3)
    before = env.placement
    env.reset(seed=3, options={name: PLACED[name]})
    for field, value in vars(before).items():
        same = np.array_equal(value, getattr(env.placement, field))
        assert same == (field != name), field


def test_options_last_for_one_episode(env: CubeSingle) -> None:
    env.reset(seed=3, options=PLACED)
    with_options = env.placement
    env.reset(seed=3)
    assert not np.array_equal(env.placement.cube_position, with_options.cube_position)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cube": [0.4, 0.1]}, "unknown reset options 'cube'; there are cube_position"),
        ({"cube_position": [0.4]}, "2 numbers or 3 numbers"),
        ({"cube_position": [0.4, np.nan]}, "finite"),
        ({"cube_position": "left"}, "give numbers"),
        ({"cube_position": [0.9, 0.0]}, "must lie within"),
        ({"goal_position": [0.4, 0.0, -0.1]}, "must lie within"),
        ({"effector_position": [0.4, 0.0]}, "3 numbers"),
        ({"effector_position": [0.4, 0.0, 0.9]}, "must lie within"),
        ({"cube_yaw": [0.1, 0.2]}, "one number"),
        ({"gripper_opening": 1.5}, "closed"),
    ],
)
def test_bad_options(env: CubeSingle, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        env.reset(options=options)


def test_stepping_is_ogbench_s(env: CubeSingle) -> None:
    """Observation, reward and physics equal those of the stock environment from the same state."""
    stock = CubeEnv(env_type="single", mode="data_collection", terminate_at_goal=False)
    stock.reset(seed=0)
    env.reset(seed=11, options={"effector_position": (0.4, 0.0, 0.2), "cube_position": (0.4, 0.0)})
    for mine, theirs in ((env.data.qpos, stock.data.qpos), (env.data.mocap_pos, stock.data.mocap_pos)):
        theirs[:] = mine
    stock.data.qvel[:], stock.data.qacc_warmstart[:] = 0, 0
    import mujoco

    mujoco.mj_forward(stock.model, stock.data)
    mujoco.mj_forward(env.model, env.data)
    rng = np.random.default_rng(0)
    for _ in range(12):
        action = rng.uniform(-1, 1, 5)
        mine, theirs = env.step(action), stock.step(action)
        np.testing.assert_array_equal(mine[0], theirs[0])
        assert mine[1:3] == theirs[1:3]
        assert mine[4]["success"] == theirs[4]["success"]


def test_success_is_a_cube_within_4_cm_of_the_goal(env: CubeSingle) -> None:
    for distance, success in ((0.9 * SUCCESS_RADIUS, True), (1.1 * SUCCESS_RADIUS, False)):
        places = {"cube_position": (0.4, 0.1), "goal_position": (0.4, 0.1 + distance)}
        _, info = env.reset(seed=0, options=places)
        assert info["success"] is success
        _, reward, terminated, truncated, info = env.step(np.zeros(5, dtype=np.float32))
        assert (reward, terminated, truncated, info["success"]) == (float(success), False, False, success)
    ending = CubeSingle(terminate_at_goal=True)
    ending.reset(seed=0, options={"cube_position": (0.4, 0.1), "goal_position": (0.4, 0.1)})
    assert ending.step(np.zeros(5))[2] is True


def test_ogbench_s_oracle_solves_it(env: CubeSingle) -> None:
    """A real rollout: what the oracle reads is in ``info``, and its plan moves the cube to the goal."""
    from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

    from dcfm_envs.collection import seeded_global_numpy

    observation, info = env.reset(seed=1, options={"cube_position": (0.35, 0.2), "goal_position": (0.5, -0.2)})
    oracle = CubePlanOracle(env=env, noise=0.1, noise_smoothing=0.5)
    with seeded_global_numpy(0):
        oracle.reset(observation, info)
    while not oracle.done:
        observation, *_, info = env.step(oracle.select_action(observation, info))
    assert info["success"]
    assert float(named(observation)["cube_position"][2]) == pytest.approx(CUBE_REST_HEIGHT, abs=1e-3)


def test_actions_are_clipped_and_checked(env: CubeSingle) -> None:
    action = np.array([1, -1, 1, 1, 1.0])
    env.reset(seed=0)
    once = env.step(action)[0]
    env.reset(seed=0)
    np.testing.assert_array_equal(once, env.step(5 * action)[0])
    for bad in (np.zeros(4), np.array([0, 0, np.nan, 0, 0]), np.zeros((1, 5))):
        with pytest.raises(ValueError, match="5 finite numbers"):
            env.step(bad)
    with pytest.raises(gymnasium.error.ResetNeeded):
        CubeSingle().step(action)


def test_a_copy_is_an_environment_of_the_same_settings(env: CubeSingle) -> None:
    made = CubeSingle(terminate_at_goal=True, width=64)
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        np.testing.assert_array_equal(again.reset(seed=3)[0], env.reset(seed=3)[0])
        again.set_state(np.concatenate([again.data.qpos[:14], PLACED["goal_position"], [1, 0, 0, 0]]), again.data.qvel)
        again.data.mocap_pos[:] = PLACED["goal_position"]
        assert again.step(np.zeros(5))[2]


def test_set_state_restores_a_state(env: CubeSingle) -> None:
    env.reset(seed=4)
    for _ in range(3):
        env.step(np.array([0.5, 0.2, -0.8, 0.1, 0.6]))
    qpos, qvel, goal = env.data.qpos.copy(), env.data.qvel.copy(), env.get_step_info()["goal"]
    expected = env.set_state(qpos, qvel)
    following = env.step(np.ones(5))[0]
    for _ in range(3):
        env.step(np.array([-0.5, 0.2, 0.8, 0.1, -0.6]))
    np.testing.assert_allclose(env.set_state(qpos, qvel), expected, atol=1e-12)
    np.testing.assert_allclose(env.step(np.ones(5))[0], following, atol=1e-9)
    np.testing.assert_array_equal(env.get_step_info()["goal"], goal)
    for _ in range(20):
        env.step(np.array([0, 0, 0, 0, 1.0]))  # the gripper closes: forces of before are not part of the state
    np.testing.assert_allclose(env.set_state(qpos, qvel), expected, atol=1e-12)
    env.reset(seed=5)
    np.testing.assert_allclose(env.set_state(qpos, qvel), expected, atol=1e-12)
    with pytest.raises(ValueError, match="shape"):
        env.set_state(qpos[:-1], qvel)
    with pytest.raises(ValueError, match="finite"):
        env.set_state(qpos * np.nan, qvel)
    for length in (0.0, 2.0):
        with pytest.raises(ValueError, match=r"quaternion .* is none: give one of length 1"):
            env.set_state(np.concatenate([qpos[:-4], length * qpos[-4:]]), qvel)
    env.set_state(qpos.astype(np.float32), qvel)


def test_what_it_cannot_draw_it_does_not_promise(env: CubeSingle) -> None:
    with pytest.raises(ValueError, match="rgb_array"):
        CubeSingle(render_mode="human")
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


def test_a_placement_needs_a_reset() -> None:
    with pytest.raises(ValueError, match="reset"):
        _ = CubeSingle().placement


def test_vector_environments() -> None:
    environments = gymnasium.make_vec(dcfm_envs.CUBE_SINGLE, num_envs=2, vectorization_mode="sync")
    observations, infos = environments.reset(seed=0)
    assert observations.shape == infos["goal"].shape == (2, 28)
    np.testing.assert_array_equal(observations[1], CubeSingle().reset(seed=1)[0])
    environments.close()
