"""The study of rounds: what it trains, what a silo passes, what is refused, and that it goes on."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dcfm.toy.cell import Cell
from dcfm.toy.communication import Averaging, Study, check_overrides, draw, run, table
from dcfm.toy.problem import ProblemSettings
from dcfm.toy.score import Sampling
from dcfm.toy.training import Phase, Training
from dcfm.trainers.server import ServerConfig

TRAINING = Training(
    8, 1, 16, stage_one=Phase(steps=2), peers=Phase(steps=2), student=Phase(steps=2), pooled=Phase(steps=2)
)


def cell(seed: int, missing: int | None = None) -> Cell:
    tuned = {"fedflow_l": {"fedavg": {"weight": 5.0}}}
    return Cell(
        ProblemSettings("noniid", samples=40, seed=seed, missing=missing), TRAINING, Sampling(20, 2), tuned=tuned
    )


def study(**changes: object) -> Study:
    given = {
        "cells": (cell(0), cell(1)),
        "averaging": ("fedflow_l",),
        "rounds": (1, 3),
        "steps": 7,
        "once": ("ddm_l", "dcfm_b"),
    }
    return Study(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("rounds", [1, 3, 7])
def test_rounds_share_a_silos_steps(rounds: int) -> None:
    for averaged in study(rounds=(rounds,)).averaged(Averaging(rounds)):
        config = averaged.training_of("fedflow_l").recipe().fedavg
        assert (config.rounds, config.steps) == (rounds, 7 // rounds)
        assert (config.ema, config.continuous) == (0.0, True)
        assert config.objective.independence.weight == 5.0  # what it is tuned to stays
        assert averaged.training_of("dcfm_b") == TRAINING


REPLACED = "changes nothing: averaging takes rounds=, steps=, proximal= and server="


@pytest.mark.parametrize(
    "key",
    [
        "training.fedavg_ema",
        "training.fedavg_proximal",
        "training.fedavg_server",
        "training.fedavg.steps",
        "+tuned.fedflow_l.fedavg_rounds",
    ],
)
def test_settings_that_the_study_replaces_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=REPLACED):
        check_overrides(["seeds=[0]", f"{key}=9"], ["fedflow_l"])
    section, _, last = key.rpartition(".")
    with pytest.raises(ValueError, match=REPLACED):
        check_overrides([f"{section}={{{last}: 9, other: 1}}"], ["fedflow_l"])
    check_overrides([f"{key}0=9", "training.fedavg.weight=2", "+tuned.factored.fedavg.steps=3"], ["fedflow_l"])


def test_each_strength_of_the_proximal_term_is_a_point(tmp_path: Path) -> None:
    tied = study(once=(), rounds=(2,), proximal=(None, 100.0), cells=(cell(0),))
    assert [c.training_of("fedflow_l").recipe().fedavg.proximal for c in tied.averaged(Averaging(2, 100.0))] == [100.0]
    points = run(tied, tmp_path, 0)
    assert [(p["title"], p["rounds"], p.get("proximal")) for p in points] == [
        ("FedFlow+L", 2, None),
        ("FedFlow+L", 2, 100.0),
    ]
    results = [tmp_path / folder / cell(0).name / "trainings" for folder in ("rounds2", "rounds2-proximal100")]
    weights = [load_file(next(folder.rglob("model.safetensors"))) for folder in results]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])  # the silos were held
    assert "| FedFlow+L, proximal 100 | 2 | 4 |" in table(points)
    draw(points, tmp_path / "picture.png")
    assert len(points) == tied.trainings()


def test_each_optimizer_of_the_server_is_a_point(tmp_path: Path) -> None:
    servers = (None, ServerConfig("momentum", momentum=0.5), ServerConfig("adam", 0.1))
    compared = study(once=(), rounds=(2,), server=servers, cells=(cell(0),))
    points = run(compared, tmp_path, 0)
    assert [p.get("server") for p in points] == [None, "momentum 1, momentum 0.5", "adam 0.1"]
    folders = ("rounds2", "rounds2-momentum-1-momentum-0.5", "rounds2-adam-0.1")
    results = [tmp_path / folder / cell(0).name / "trainings" for folder in folders]
    weights = [load_file(next(folder.rglob("model.safetensors"))) for folder in results]
    for other in weights[1:]:
        assert any(not torch.equal(weights[0][name], other[name]) for name in other)
    assert "| FedFlow+L, adam 0.1 | 2 | 4 |" in table(points)
    assert len(points) == compared.trainings()


def test_points_count_the_models_that_a_silo_passes(tmp_path: Path) -> None:
    done: list[int] = []
    points = run(study(), tmp_path, 0, done.append)
    assert [(p["method"], p["rounds"], p["models"]) for p in points] == [
        ("ddm_l", None, 2),
        ("dcfm_b", None, 2),
        ("fedflow_l", 1, 2),
        ("fedflow_l", 3, 6),
    ]
    assert done[-1] == study().trainings() == 8
    for point in points:
        assert point["novel"]["runs"] == len(point["seconds"]) == 2
        assert 0 <= point["novel"]["least"] <= point["novel"]["mean"] <= 1
    text = table(points)
    assert "| FedFlow+L | 3 | 6 |" in text
    assert len(text.splitlines()) == 2 + len(points)
    draw(points, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_what_passes_no_models_is_a_line_across(tmp_path: Path) -> None:
    points = run(study(once=("pooled",), rounds=(1,), cells=(cell(0),)), tmp_path, 0)
    assert [p["models"] for p in points] == [0, 2]
    draw(points, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_what_is_finished_is_read_and_other_settings_are_refused(tmp_path: Path) -> None:
    few = study(once=(), rounds=(2,))
    first = run(few, tmp_path, 0)
    assert run(few, tmp_path, 0) == first  # the seconds of the trainings too
    more = run(study(once=(), rounds=(2, 1)), tmp_path, 0)
    assert more[0] == first[0]
    with pytest.raises(ValueError, match="choose another out="):
        run(study(once=(), rounds=(2,), steps=8), tmp_path, 0)


def test_a_problem_without_novel_combinations_has_known_ones(tmp_path: Path) -> None:
    points = run(study(cells=(cell(0, missing=0),), once=("ddm_l",), rounds=(1,)), tmp_path, 0)
    assert all("known" in p and "novel" not in p for p in points)
    assert table(points).count("\n") == 3
    draw(points, tmp_path / "picture.png")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"averaging": ("dcfm_b",)}, "dcfm_b: averaging= takes fedflow, fedflow_l, factored"),
        ({"once": ("factored",)}, "factored: averaging= takes"),
        ({"once": ("dcfm_b", "dcfm_b")}, "a method occurs twice"),
        ({"rounds": (8,)}, "give numbers from 1 to steps=7"),
        ({"rounds": (0,)}, "give numbers from 1 to steps=7"),
        ({"rounds": (2, 2)}, "none twice"),
        ({"once": (), "averaging": (), "rounds": ()}, "nothing is compared"),
        ({"rounds": ()}, "nothing is compared; give averaging= and rounds="),
        ({"averaging": ()}, "nothing is compared"),
        ({"proximal": ()}, "give null .* or numbers above 0"),
        ({"proximal": (0.0,)}, "give null .* or numbers above 0"),
        ({"proximal": (1.0, 1.0)}, "none twice"),
        ({"server": ()}, "give null .* or optimizers, none twice"),
        ({"server": (ServerConfig("adam"), ServerConfig("adam"))}, "none twice"),
    ],
)
def test_bad_settings(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(**changes)


def test_unknown_methods_and_missing_seeds_come_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nobody"):
        run(study(once=("nobody",)), tmp_path, 0)
    with pytest.raises(ValueError, match="give at least one"):
        run(study(cells=()), tmp_path, 0)
    assert not list(tmp_path.iterdir())
