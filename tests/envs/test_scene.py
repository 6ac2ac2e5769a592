"""The scene's constants are OGBench's own: read off its environment, not off its documentation."""

import numpy as np
import pytest
from ogbench.manipspace.envs.cube_env import CubeEnv

from dcfm_envs import scene


@pytest.fixture(scope="module")
def stock() -> CubeEnv:
    env = CubeEnv(env_type="single", mode="data_collection", terminate_at_goal=False)
    env.reset(seed=0)
    return env


def test_bounds_and_scales_are_ogbench_s(stock: CubeEnv) -> None:
    np.testing.assert_array_equal(scene.EFFECTOR_BOUNDS, stock._workspace_bounds)
    np.testing.assert_array_equal(scene.EFFECTOR_START_BOUNDS, stock._arm_sampling_bounds)
    np.testing.assert_array_equal(scene.CUBE_BOUNDS, stock._object_sampling_bounds)
    np.testing.assert_array_equal(scene.CUBE_BOUNDS, stock._target_sampling_bounds)
    np.testing.assert_array_equal(scene.ACTION_SCALE, stock.action_high)
    assert stock.control_timestep() == scene.CONTROL_PERIOD


def test_success_radius_is_ogbench_s(stock: CubeEnv) -> None:
    target = stock._cube_target_mocap_ids[0]
    for factor, success in ((0.99, True), (1.01, False)):
        stock.data.joint("object_joint_0").qpos[:3] = stock.data.mocap_pos[target]
        stock.data.joint("object_joint_0").qpos[0] += factor * scene.SUCCESS_RADIUS
        assert stock._compute_successes() == [success]


def test_a_cube_rests_at_its_height(stock: CubeEnv) -> None:
    stock.reset(seed=1)
    for _ in range(4):
        stock.step(np.zeros(5))
    assert stock.data.joint("object_joint_0").qpos[2] == pytest.approx(scene.CUBE_REST_HEIGHT, abs=2e-4)


def test_slices_cover_the_state_once() -> None:
    covered = np.zeros(scene.STATE_SIZE, dtype=int)
    for where in scene.STATE_SLICES.values():
        covered[where] += 1
    np.testing.assert_array_equal(covered, 1)


def test_named_inverts_ogbench_s_scaling(stock: CubeEnv) -> None:
    stock.reset(seed=2)
    for _ in range(3):
        observation, *_, info = stock.step(np.array([0.5, -0.5, 0.3, 0.7, 1.0]))
    named = scene.named(observation)
    keys = {
        "joint_position": "proprio/joint_pos",
        "joint_velocity": "proprio/joint_vel",
        "effector_position": "proprio/effector_pos",
        "effector_yaw": "proprio/effector_yaw",
        "gripper_opening": "proprio/gripper_opening",
        "gripper_contact": "proprio/gripper_contact",
        "cube_position": "privileged/block_0_pos",
        "cube_quaternion": "privileged/block_0_quat",
        "cube_yaw": "privileged/block_0_yaw",
    }
    assert named.keys() == keys.keys() == scene.STATE_SLICES.keys()
    for name, key in keys.items():
        np.testing.assert_allclose(named[name], np.squeeze(info[key]), atol=1e-12, err_msg=name)


def test_named_takes_batches() -> None:
    observations = np.random.default_rng(0).normal(size=(4, 3, scene.STATE_SIZE))
    batch, one = scene.named(observations), scene.named(observations[2, 1])
    for name in scene.STATE_SLICES:
        np.testing.assert_array_equal(batch[name][2, 1], one[name])


def test_named_refuses_another_state() -> None:
    with pytest.raises(ValueError, match="28"):
        scene.named(np.zeros(27))
