"""The study of numbers of silos: what it trains, what a silo passes, what is refused, and that it goes on."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from dcfm.toy.cell import Cell
from dcfm.toy.many_silos import Study, draw, run, table
from dcfm.toy.problem import ProblemSettings
from dcfm.toy.score import Sampling
from dcfm.toy.training import Phase, Training

TRAINING = Training(
    8,
    1,
    16,
    stage_one=Phase(steps=2),
    peers=Phase(steps=2),
    student=Phase(steps=2),
    fedavg=Phase(steps=1),
    fedavg_rounds=3,
    rounds=2,
    peers_per_round=1,
)


def cell(silos: int, seed: int) -> Cell:
    return Cell(ProblemSettings("noniid", silos=silos, samples=20 * silos, seed=seed), TRAINING, Sampling(20, 2))


def study(*numbers: int, methods: tuple[str, ...] = ("fedflow_l", "dcfm_a", "dcfm_b")) -> Study:
    return Study({n: (cell(n, 0), cell(n, 1)) for n in numbers}, methods)


def test_points_are_lines_over_the_number_of_silos(tmp_path: Path) -> None:
    """What a silo passes: 2T models of averaging, 2 of DCFM-B, and of DCFM-A itself and one peer out, one peer in, in
    each of two rounds, and everybody's at last."""
    done: list[int] = []
    points = run(study(2, 4), tmp_path, 0, done.append)
    assert done[-1] == study(2, 4).trainings() == 12
    assert [(p["method"], p["silos"]) for p in points] == [
        (name, n) for name in ("fedflow_l", "dcfm_a", "dcfm_b") for n in (2, 4)
    ]
    passed = {(p["method"], p["silos"]): p["models"] for p in points}
    assert passed["fedflow_l", 2] == passed["fedflow_l", 4] == 6
    assert passed["dcfm_b", 2] == passed["dcfm_b", 4] == 2
    assert passed["dcfm_a", 2] < passed["dcfm_a", 4]
    assert all(0 <= p["novel"]["least"] <= p["novel"]["mean"] <= 1 and p["novel"]["runs"] == 2 for p in points)
    text = table(points)
    assert "| DCFM-B | 4 | 2 |" in text
    assert len(text.splitlines()) == 2 + len(points)
    draw(points, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_what_is_finished_is_read_and_other_settings_are_refused(tmp_path: Path) -> None:
    few = study(2, methods=("dcfm_b",))
    first = run(few, tmp_path, 0)
    assert run(few, tmp_path, 0) == first  # the seconds of the trainings too
    assert run(study(2, 3, methods=("dcfm_b",)), tmp_path, 0)[0] == first[0]
    other = Cell(ProblemSettings("noniid", silos=2, samples=50), TRAINING, Sampling(20, 2))
    with pytest.raises(ValueError, match="choose another out="):
        run(Study({2: (other,)}, ("dcfm_b",)), tmp_path, 0)


def test_pooled_passes_no_models(tmp_path: Path) -> None:
    training = replace(TRAINING, pooled=Phase(steps=2))
    cells = {n: (replace(cell(n, 0), training=training),) for n in (2, 3)}
    points = run(Study(cells, ("pooled", "dcfm_b")), tmp_path, 0)
    assert [p["models"] for p in points] == [0, 0, 2, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(points, tmp_path / "picture.png")


def test_bad_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a method occurs twice"):
        study(2, methods=("dcfm_b", "dcfm_b"))
    for cells, methods in (({}, ("dcfm_b",)), ({2: ()}, ("dcfm_b",)), ({2: (cell(2, 0),)}, ())):
        with pytest.raises(ValueError, match="at least one of each"):
            Study(cells, methods)
    with pytest.raises(ValueError, match="other numbers of silos"):
        Study({3: (cell(2, 0),)}, ("dcfm_b",))
    with pytest.raises(ValueError, match="nobody"):
        run(study(2, methods=("nobody",)), tmp_path, 0)
    assert not list(tmp_path.iterdir())
