"""The protocols hold for the domains that ship, and withheld combinations are what their names say."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from dcfm_planner.domain import Domain, Evaluation, Executable, is_one_of, labels_of, lacking, split
from dcfm_planner.domains.cube import CUBE
from dcfm_planner.domains.maze import PointMaze
from dcfm_planner.quadrants import KNOWN_PAIRS, NOVEL_PAIRS, pair_labels
from dcfm_planner.task import PlannerTask
from dcfm_planner.training import read_domain


def test_both_are_domains() -> None:
    assert isinstance(CUBE, Domain)
    assert isinstance(PointMaze(), Executable)
    for domain in (CUBE, PointMaze()):
        assert isinstance(domain.evaluation(), Evaluation)
        assert len(domain.guidance) == domain.space.size
        domain.space.check_coverage(split(domain)["known"])  # Eq. 2 and full rank


def test_cells_are_the_cubes_own() -> None:
    cells = split(CUBE)
    assert torch.equal(cells["known"], torch.from_numpy(pair_labels(KNOWN_PAIRS)))
    assert torch.equal(cells["novel"], torch.from_numpy(pair_labels(NOVEL_PAIRS)))
    assert not is_one_of(cells["known"], cells["novel"]).any()


@pytest.mark.parametrize("names", [("TL", "XX"), ("TL",), ("TL", "TL", "TL")])
def test_unknown_combinations(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="give one value of each of"):
        labels_of(CUBE.space, [names])


def test_a_domain_is_read_from_any_module() -> None:
    config = OmegaConf.create({"_target_": "dcfm_planner.domains.maze.PointMaze", "walks": 3})
    assert read_domain(config) == PointMaze(walks=3)
    wrong = "makes a HoldRates, not a .*Domain: it has no evaluation, guidance, layout"
    for target, message in (("dcfm_planner.task.HoldRates", wrong), ("no.such.Domain", "no.such")):
        with pytest.raises(ValueError, match=message):
            read_domain(OmegaConf.create({"_target_": target}))


def test_what_an_evaluation_lacks_is_told_before_it_begins() -> None:
    """In a process without the tests' checks of types, as users have it."""
    assert lacking(PointMaze(), Executable) == []
    tried = (
        "from dcfm_planner.domains.cube import CUBE; from dcfm_planner.evaluation.plain import *; PlainEvaluation(CUBE)"
    )
    done = subprocess.run([sys.executable, "-c", tried], capture_output=True, text=True, timeout=200)
    assert "ProblemError: CubeSingle has no check, draw_ends, execute, max_steps, scene, which" in done.stderr


def test_the_task_takes_the_domains_shape_and_holds_its_goal() -> None:
    task = PlannerTask(horizon=16, fold=1, channels=(8, 8), condition=8, domain=PointMaze())
    x = torch.randn(64, *task.shape)
    held = task.draw_held(x, torch.Generator().manual_seed(0))
    assert task.shape == (16, 2)
    assert held[:, 0].any()
    assert held[:, -1].all(-1).any()
    velocity = task.network()(x, torch.rand(64), torch.zeros(64, 2, dtype=torch.long), held)
    assert velocity.shape == x.shape
    assert (velocity[held] == 0).all()


def test_the_maze_says_what_is_wrong_with_its_walks(tmp_path: Path) -> None:
    for settings in ({"walks": 0}, {"walks": -1}, {"seed": -1}):
        with pytest.raises(ValueError, match="at least 1 walk"):
            PointMaze(**settings)
    (tmp_path / "text.npz").write_text("no walks")
    for source in (tmp_path / "text.npz", tmp_path):
        with pytest.raises(ValueError, match="is no file of walks or damaged"):
            PointMaze().segments(str(source), horizon=16)
