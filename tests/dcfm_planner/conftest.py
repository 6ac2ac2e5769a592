"""Fields whose plans are known beforehand, observations made from states, and one recorded pick-and-place."""

import os

os.environ.setdefault("MUJOCO_GL", "disable")  # before mujoco is imported

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_envs.collection import collect_episode
from dcfm_envs.scene import GRIPPER_SCALE, POSITION_SCALE, SCENE_CENTRE, STATE_SIZE, STATE_SLICES
from dcfm_planner.evaluation.simulation import Simulations
from dcfm_planner.layout import COLUMNS, STATE_COLUMNS, TRANSITION, normalise, state_features, yaw_of
from dcfm_planner.plan import Plan
from dcfm_planner.planner import Planner
from dcfm_planner.quadrants import quadrant_of


@dataclass
class PerfectField:
    """The field whose every path ends in ``target`` (horizon x columns): ``(target - x) / (1 - t)``.

    It remembers the labels and the held entries that it was called with.
    """

    target: Tensor
    labels: list[Tensor] = field(default_factory=list)
    held: list[Tensor | None] = field(default_factory=list)

    def __call__(self, x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        self.labels.append(y.clone())
        self.held.append(None if held is None else held.clone())
        velocity = (self.target - x) / (1 - t)[:, None, None].clamp(min=1e-3)
        return velocity if held is None else velocity.masked_fill(held, 0.0)


@dataclass
class NoiseField:
    """The field at rest: a plan is its noise, so that plans tell which noise was used."""

    def __call__(self, x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x)


@pytest.fixture
def noise_planner() -> Planner:
    return Planner(NoiseField(), 16, steps=1, method="euler")


@pytest.fixture
def still() -> Tensor:
    """A transition, SI units: effector above a cube that lies in TL, gripper open, action 0."""
    values = torch.zeros(TRANSITION, dtype=torch.float64)
    values[COLUMNS["effector_position"].slice] = torch.tensor([0.45, 0.1, 0.2], dtype=torch.float64)
    values[COLUMNS["effector_yaw"].start] = 1.0
    values[COLUMNS["cube_position"].slice] = torch.tensor([0.5, 0.2, 0.02], dtype=torch.float64)
    values[COLUMNS["cube_yaw"].start] = 1.0
    return values


@pytest.fixture
def plan_of() -> Callable[[Tensor], Plan]:
    """Plans from transitions in SI units, ``batch x horizon x columns``."""
    return lambda transitions: Plan.from_normalised(normalise(transitions))


@pytest.fixture
def perfect_planner() -> Callable[[Tensor], tuple[Planner, PerfectField]]:
    """A planner whose every plan is the one given (SI units, horizon x columns), and its field."""

    def make(transitions: Tensor) -> tuple[Planner, PerfectField]:
        known = PerfectField(normalise(transitions).float())
        return Planner(known, len(transitions), steps=4, method="euler"), known

    return make


@pytest.fixture
def observe() -> Callable[[np.ndarray], np.ndarray]:
    """OGBench's state vectors from state columns in SI units; joints and quaternion are zero."""

    def make(states: np.ndarray) -> np.ndarray:
        states = np.atleast_2d(np.asarray(states, dtype=np.float64))[:, :STATE_COLUMNS]
        observation = np.zeros((len(states), STATE_SIZE))

        def put(name: str, value: np.ndarray) -> None:
            observation[:, STATE_SLICES[name]] = value

        for name in ("effector_position", "cube_position"):
            put(name, (states[:, COLUMNS[name].slice] - SCENE_CENTRE) * POSITION_SCALE)
        for name in ("effector_yaw", "cube_yaw"):
            yaw = yaw_of(states[:, COLUMNS[name].slice])
            put(name, np.column_stack([np.cos(yaw), np.sin(yaw)]))
        put("gripper_opening", GRIPPER_SCALE * states[:, COLUMNS["gripper_opening"].slice])
        put("gripper_contact", states[:, COLUMNS["gripper_contact"].slice])
        return observation

    return make


@pytest.fixture(scope="session")
def demonstration() -> Tensor:
    """One pick-and-place of OGBench's oracle in MuJoCo: 96 x columns, SI units, end-padded at rest."""
    horizon = 96
    episode = collect_episode(seed=0, episode=0, steps=horizon)
    observations, actions = episode["observations"].astype(np.float64), episode["actions"].astype(np.float64)
    end = int(episode["oracle_starts"][1]) if len(episode["oracle_starts"]) > 1 else horizon
    states = state_features(observations)[:end]
    states = np.concatenate([states, np.repeat(states[-1:], horizon - end, axis=0)])
    taken = np.concatenate([actions[:end], np.zeros((horizon - end, actions.shape[1]))])
    return torch.from_numpy(np.concatenate([states, taken], axis=1))


@pytest.fixture(scope="session")
def demonstrated_labels(demonstration: Tensor) -> np.ndarray:
    """Source and target quadrant of the demonstration."""
    return quadrant_of(demonstration[[0, -1], COLUMNS["cube_position"].slice].numpy())


@pytest.fixture(scope="session")
def simulations() -> Simulations:
    """Two simulations; building OGBench's scene takes seconds, so all tests share them."""
    return Simulations(2)
