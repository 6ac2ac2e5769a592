"""The maze in MuJoCo: recorded walks are feasible plans that succeed; bad plans are refused or fail."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dcfm_planner.domain import Segments, split
from dcfm_planner.domains.maze import DOOR, LAYOUT, ROOMS, PointMaze, cell_of, environment, inside

MAZE = PointMaze(walks=12)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maze") / "walks.npz"


@pytest.fixture(scope="module")
def segments(source: Path) -> Segments:
    return MAZE.segments(str(source), 32)


def test_cells_are_ogbenchs() -> None:
    env = environment()
    rng = np.random.default_rng(0)
    for xy in rng.uniform(-5, 25, size=(100, 2)):
        assert cell_of(xy) == env.xy_to_ij(xy)
    for room, cells in ROOMS.items():
        for cell in cells:
            assert env.maze_map[cell] == 0
            assert [r for r in ROOMS if inside(np.array(env.ij_to_xy(cell)), r)] == [room]


def test_a_walk_of_each_known_pair_and_the_same_for_a_seed(segments: Segments, source: Path, tmp_path: Path) -> None:
    assert torch.equal(segments.labels, split(MAZE)["known"])
    PointMaze(walks=2).segments(str(tmp_path / "again.npz"), 32)
    with np.load(source) as first, np.load(tmp_path / "again.npz") as again:
        assert np.array_equal(first["positions"][: len(again["positions"])], again["positions"])


def test_recorded_walks_are_feasible_and_succeed(segments: Segments) -> None:
    for trajectory, labels in zip(segments.trajectories, segments.labels.tolist(), strict=True):
        plan = LAYOUT.parts(trajectory)
        assert MAZE.check(plan, labels) == ()
        done = MAZE.execute(plan, labels, MAZE.max_steps)
        assert done.reached[-1]
        assert done.strict
        assert inside(done.states[-1], MAZE.space.values[1][labels[1]])
        assert abs(plan["position"][15, 0] - DOOR) < 0.3  # half of the rows lead to the door
        assert len(done.states) == len(done.reached)


def test_bad_plans(segments: Segments) -> None:
    plan = LAYOUT.parts(segments.trajectories[0])  # from A to F
    wrong = MAZE.check(plan, [1, 2])
    assert [reason.split()[2] for reason in wrong] == ["starts", "ends"]
    straight = {"position": np.linspace(plan["position"][0], plan["position"][-1], 32)}
    assert MAZE.check(straight, [0, 1]) == ("the walk leads through a wall",)
    done = MAZE.execute(straight, [0, 1], 100)  # and it does not get through
    assert not done.reached.any()
    assert len(done.states) == 101


def test_a_file_of_any_name_is_collected_once_and_damage_is_said(tmp_path: Path) -> None:
    source = tmp_path / "walks"
    first = PointMaze(walks=1).segments(str(source), 16)
    assert [path.name for path in tmp_path.iterdir()] == ["walks"]
    assert torch.equal(PointMaze(walks=1).segments(str(source), 16).trajectories, first.trajectories)
    for other in (PointMaze(walks=2), PointMaze(walks=1, seed=1)):
        with pytest.raises(ValueError, match=r"was collected with walks=1 and seed=0, not walks=\d and seed=\d; give"):
            other.segments(str(source), 16)
    source.write_bytes(source.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"walks is no file of walks or damaged .*; give another or remove it"):
        PointMaze(walks=1).segments(str(source), 16)


def test_data_of_another_kind_are_not_to_be_removed(tmp_path: Path) -> None:
    source = tmp_path / "play.npz"
    np.savez(source, observations=np.zeros((3, 28)))
    with pytest.raises(ValueError, match=r"holds other data than walks .* give data=") as said:
        PointMaze(walks=1).segments(str(source), 16)
    assert "remove" not in str(said.value)
