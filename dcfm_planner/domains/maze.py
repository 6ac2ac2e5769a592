"""OGBench's large point maze: walks from a room on the left to one on the right, through the one door between.

Attributes: the room of the start and the room of the goal. Half of a plan's rows are the way to the door, half the way
from it, so that each row depends on one attribute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import nn

from dcfm.artefacts import atomically
from dcfm.attributes import AttributeSpace
from dcfm_envs.rendering import without_pictures
from dcfm_planner.columns import Layout
from dcfm_planner.domain import CollectionProgress, Executed, Segments, split
from dcfm_planner.evaluation.plain import PlainEvaluation
from dcfm_planner.trajectory_network import TrajectoryNetwork

UNIT, STEP, NOISE, ARRIVED = 4.0, 0.2, 0.5, 0.3  # m a cell, m a control step, actions' noise, m from a goal

STARTS = {"A": ((1, 1), (2, 1)), "B": ((1, 4), (1, 3)), "C": ((5, 1), (5, 2)), "D": ((7, 1), (7, 2))}
GOALS = {"E": ((1, 10), (1, 9)), "F": ((5, 10), (5, 9)), "G": ((7, 10), (7, 9)), "H": ((7, 4), (6, 4))}
ROOMS = STARTS | GOALS  # cells (row, column)
DOOR = 16.0  # m along x: the middle of the one cell that joins left and right
SPACE = AttributeSpace(names=("start", "goal"), values=(tuple(STARTS), tuple(GOALS)))
LAYOUT = Layout.of([("position", "m", (18.0, 12.0), (10.0, 7.0))], goal="position")


@lru_cache(maxsize=1)
def environment() -> Any:
    """OGBench's environment, one a process."""
    with without_pictures():  # mujoco is imported when the environment is made
        import gymnasium
        import ogbench  # noqa: F401 # registers it

        env: Any = gymnasium.make("pointmaze-large-v0").unwrapped
    env.reset(seed=0, options={"task_id": 1})
    return env


def cell_of(xy: np.ndarray) -> tuple[int, int]:
    """Row and column of a position (m)."""
    return int((xy[1] + 1.5 * UNIT) // UNIT), int((xy[0] + 1.5 * UNIT) // UNIT)


def inside(xy: np.ndarray, room: str) -> bool:
    """Whether a position (m) lies in a room."""
    return cell_of(xy) in ROOMS[room]


def walk(start: np.ndarray, goal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions (m) on a noisy way of OGBench's oracle from cell to cell, until near the goal: ``steps x 2``."""
    env = environment()
    env.set_xy(start)
    path = [env.get_xy()]
    subgoals: dict[tuple[int, int], np.ndarray] = {}
    while np.linalg.norm(path[-1] - goal) > ARRIVED:
        cell = cell_of(path[-1])
        if cell not in subgoals:
            subgoals[cell] = goal if cell == cell_of(goal) else env.get_oracle_subgoal(path[-1], goal)[0]
        ahead = subgoals[cell] - path[-1]
        action = ahead / max(STEP, float(np.linalg.norm(ahead))) + rng.normal(0, NOISE, 2)
        env.step(action.clip(-1, 1))
        path.append(env.get_xy())
    return np.array(path)


def rows_of(path: np.ndarray, horizon: int) -> np.ndarray:
    """Half of the rows at equal shares of the way to the door, half of the way from it: ``horizon x 2``."""
    door, last = int(np.argmax(path[:, 0] >= DOOR)), len(path) - 1
    steps = np.r_[np.linspace(0, door, horizon // 2), np.linspace(door, last, horizon - horizon // 2 + 1)[1:]]
    return np.stack([np.interp(steps, np.arange(len(path)), column) for column in path.T], axis=1)


@dataclass(frozen=True)
class PointMaze:
    """A :class:`dcfm_planner.domain.Domain`.

    Args:
        walks: collected where there is no data, spread evenly over the known pairs of rooms.
        seed: of the data.
    """

    walks: int = 600
    seed: int = 0

    name = "pointmaze-large"
    space = SPACE
    layout = LAYOUT
    novel = (("A", "E"), ("B", "F"), ("C", "G"), ("D", "H"))
    guidance = (1.0, 1.0)
    max_steps = 800

    def __post_init__(self) -> None:
        if self.walks < 1 or self.seed < 0:
            raise ValueError(f"walks={self.walks} and seed={self.seed}: at least 1 walk, and a seed of at least 0")

    def evaluation(self) -> PlainEvaluation:
        return PlainEvaluation(self)

    def network(self, horizon: int, fold: int, channels: Sequence[int], condition: int) -> nn.Module:
        """A small MLP; ``fold`` is for U-Nets."""
        return TrajectoryNetwork(SPACE.cardinalities, horizon, LAYOUT.width, channels, condition)

    def segments(
        self, source: str, horizon: int, workers: int = 1, collecting: CollectionProgress | None = None
    ) -> Segments:
        if not Path(source).exists():
            self._collect(Path(source), collecting)
        try:
            with open(source, "rb") as file, np.load(file) as stored:
                paths, labels = np.split(stored["positions"], stored["ends"][:-1]), torch.from_numpy(stored["labels"])
                seed = int(stored["seed"]) if "seed" in stored else None  # walks from elsewhere have none
        except KeyError as error:
            raise ValueError(f"{source} holds other data than walks ({error}); give data= of another file") from error
        except (OSError, EOFError, ValueError, BadZipFile) as error:
            raise ValueError(f"{source} is no file of walks or damaged ({error}); give another or remove it") from error
        if seed is not None and (len(paths), seed) != (self.walks, self.seed):
            raise ValueError(
                f"{source} was collected with walks={len(paths)} and seed={seed}, not walks={self.walks} and "
                f"seed={self.seed}; give these, or data= of another file"
            )
        trajectories = torch.from_numpy(np.array([rows_of(path, horizon) for path in paths])).float()
        return Segments(LAYOUT.normalise(trajectories), labels, {"walks": len(paths)})

    def _collect(self, path: Path, collecting: CollectionProgress | None) -> None:
        """Walks of the known pairs alone."""
        show = collecting(self.walks) if collecting else lambda done, total: None
        labels = np.resize(split(self)["known"].numpy(), (self.walks, SPACE.size))
        paths = []
        for number, pair in enumerate(labels.tolist()):
            rng = np.random.default_rng([self.seed, number])
            paths.append(walk(*self.draw_ends(pair, rng), rng))
            show(number + 1, self.walks)
        with atomically(path) as temporary, open(temporary, "wb") as file:  # a name alone would get .npz at its end
            ends = np.cumsum([len(path) for path in paths])
            np.savez(file, positions=np.concatenate(paths), ends=ends, labels=labels, seed=self.seed)

    def _rooms(self, labels: Sequence[int]) -> list[str]:
        return [values[label] for values, label in zip(SPACE.values, labels, strict=True)]

    def draw_ends(self, labels: Sequence[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        cells = [ROOMS[room][rng.integers(len(ROOMS[room]))] for room in self._rooms(labels)]
        start, goal = (UNIT * (np.array(cell[::-1]) - 1) + rng.uniform(-1, 1, 2) for cell in cells)
        return start, goal

    def check(self, plan: Mapping[str, np.ndarray], labels: Sequence[int]) -> tuple[str, ...]:
        path, walls = plan["position"], environment().maze_map
        between = np.linspace(path[:-1], path[1:], 5, endpoint=False).reshape(-1, 2)
        between = between.clip(-1.4 * UNIT, UNIT * (np.array(walls.shape[::-1]) - 1.6))  # outside is wall too
        start, goal = self._rooms(labels)
        found = {
            "the walk starts outside the room asked for": not inside(path[0], start),
            "the walk ends outside the room asked for": not inside(path[-1], goal),
            "the walk leads through a wall": any(walls[cell_of(p)] for p in between),
        }
        return tuple(reason for reason, holds in found.items() if holds)

    def execute(self, plan: Mapping[str, np.ndarray], labels: Sequence[int], max_steps: int) -> Executed:
        env, path = environment(), plan["position"]
        env.set_goal(goal_xy=path[-1])
        env.set_xy(path[0])
        row, states, goal = 0, [env.get_xy()], self._rooms(labels)[1]
        reached = [bool(env.compute_success())]
        for _ in range(max_steps):
            while row < len(path) - 1 and np.linalg.norm(path[row] - states[-1]) < 2 * ARRIVED:
                row += 1  # towards the first planned row that is not reached yet
            if row == len(path) - 1 and np.linalg.norm(path[-1] - states[-1]) < ARRIVED:
                break
            env.step(((path[row] - states[-1]) / STEP).clip(-1, 1))
            states.append(env.get_xy())
            # OGBench's rule (within 1 m of the goal), and in the room asked for
            reached.append(bool(env.compute_success()) and inside(states[-1], goal))
        near = float(np.linalg.norm(states[-1] - path[-1])) < 0.5
        return Executed(np.array(states), np.array(reached), reached[-1] and near)

    def scene(self, axes: Any) -> None:
        walls = environment().maze_map
        extent = (-1.5 * UNIT, UNIT * (walls.shape[1] - 1.5), -1.5 * UNIT, UNIT * (walls.shape[0] - 1.5))
        axes.imshow(walls, cmap="Greys", alpha=0.4, origin="lower", extent=extent)
