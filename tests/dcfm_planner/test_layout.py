"""The columns of a transition: complete, invertible, and blind to which face of the cube was grasped."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from dcfm_envs.scene import CUBE_BOUNDS, EFFECTOR_BOUNDS, STATE_SIZE, STATE_SLICES, named
from dcfm_planner.layout import (
    COLUMNS,
    STATE_COLUMNS,
    TRANSITION,
    denormalise,
    normalise,
    state_features,
    symmetric_yaw,
    yaw_of,
)


def observations(number: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    result = rng.normal(size=(number, STATE_SIZE))
    for name in ("effector_yaw", "cube_yaw"):
        yaw = rng.uniform(-np.pi, np.pi, number)
        result[:, STATE_SLICES[name]] = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    return result


def test_columns_cover_a_transition_once() -> None:
    covered = np.concatenate([np.arange(TRANSITION)[column.slice] for column in COLUMNS.values()])
    np.testing.assert_array_equal(covered, np.arange(TRANSITION))
    assert TRANSITION == STATE_COLUMNS + 5
    for column in COLUMNS.values():
        assert len(column.offset) == len(column.scale) == column.stop - column.start
        assert min(column.scale) > 0
        assert column.unit


def test_state_features_are_the_named_quantities() -> None:
    batch = observations(6)
    features, states = state_features(batch), named(batch)
    assert features.shape == (6, STATE_COLUMNS)
    for name in ("effector_position", "cube_position"):
        np.testing.assert_allclose(features[:, COLUMNS[name].slice], states[name])
    for name in ("gripper_opening", "gripper_contact"):
        np.testing.assert_allclose(features[:, COLUMNS[name].start], states[name])
    for name in ("effector_yaw", "cube_yaw"):
        expected = np.stack([np.cos(4 * states[name]), np.sin(4 * states[name])], axis=-1)
        np.testing.assert_allclose(features[:, COLUMNS[name].slice], expected, atol=1e-12)
    np.testing.assert_array_equal(state_features(batch[2]), features[2])


def test_another_observation_is_refused() -> None:
    """In a process without the tests' checks of types, as users have it."""
    tried = f"import numpy; from dcfm_planner.layout import *; state_features(numpy.zeros((3, {STATE_SIZE - 1})))"
    done = subprocess.run([sys.executable, "-c", tried], capture_output=True, text=True, timeout=200)
    assert (
        f"ValueError: an observation has {STATE_SIZE - 1} numbers; OGBench's cube-single state has {STATE_SIZE}"
        in done.stderr
    )


@pytest.mark.parametrize("width", [STATE_COLUMNS, TRANSITION])
def test_normalising_is_invertible(width: int, generator: torch.Generator) -> None:
    values = torch.randn(2, 5, width, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(denormalise(normalise(values)), values)
    torch.testing.assert_close(normalise(denormalise(values)), values)
    assert normalise(values.float()).dtype == torch.float32


def test_the_workspace_is_of_order_one() -> None:
    """Normalised by constants of the scene: corners of the boxes stay within a few units."""
    state = torch.zeros(TRANSITION)
    for name, corners in (("effector_position", EFFECTOR_BOUNDS), ("cube_position", CUBE_BOUNDS)):
        for corner in corners:
            state[COLUMNS[name].slice] = torch.tensor([*corner, 0.02][:3], dtype=torch.float32)
            assert float(normalise(state)[COLUMNS[name].slice].abs().max()) <= 2.5


def test_actions_of_zero_stay_zero() -> None:
    np.testing.assert_array_equal(normalise(torch.zeros(TRANSITION))[COLUMNS["action"].slice], 0)


@pytest.mark.parametrize("quarter", [-2, -1, 1, 2, 3])
def test_quarter_turns_look_alike(quarter: int) -> None:
    yaw = np.linspace(-1.5, 1.5, 7)
    turned = yaw + quarter * np.pi / 2
    np.testing.assert_allclose(
        symmetric_yaw(np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)),
        symmetric_yaw(np.stack([np.cos(turned), np.sin(turned)], axis=-1)),
        atol=1e-12,
    )


def test_yaw_of_inverts_up_to_symmetry_and_length() -> None:
    yaw = np.linspace(-np.pi / 4 + 0.01, np.pi / 4 - 0.01, 9)
    stored = symmetric_yaw(np.stack([np.cos(yaw), np.sin(yaw)], axis=-1))
    np.testing.assert_allclose(yaw_of(stored), yaw)
    np.testing.assert_allclose(yaw_of(0.3 * stored), yaw)
