"""Planners' cards: what is quoted of an evaluation is called what it is."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dcfm import artefacts
from dcfm_planner.card import planner_card
from dcfm_planner.evaluation.ogbench import Episode, summarise
from dcfm_planner.models import weights_folder
from tests.commands import REPOSITORY

NAME = "cube-single/noniid/dcfm_b"
FOLDER = weights_folder() / NAME


def episode(task: int, success: bool = True) -> Episode:
    return Episode(task, f"task{task}", 0, 0, "TL", "BR", "diagonal", success, 50, 0.01)


def measured(results: Path, values: dict[str, Any]) -> dict[str, int]:
    """Numbers of trials by label, of the card of shipped weights with one evaluation."""
    of = {"weights_sha256": artefacts.load(FOLDER).metadata["files"][artefacts.MODEL], "command": "python measure.py"}
    (results / "metrics.json").write_text(json.dumps(of | values))
    return {row.what: row.n for row in planner_card(FOLDER, NAME, results).measured}


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ((1, 2, 3, 4, 5), {"OGBench's success, all five tasks": 5, "OGBench's success, the two diagonal ones": 2}),
        ((4,), {"OGBench's success, of its five tasks only 4": 1}),
        ((1, 2), {"OGBench's success, of its five tasks only 1, 2": 2}),
        ((4, 5), {"OGBench's success, of its five tasks only 4, 5": 2}),
    ],
)
def test_ogbench_s_tasks_are_named_where_they_are_not_all(
    tasks: tuple[int, ...], expected: dict[str, int], tmp_path: Path
) -> None:
    assert measured(tmp_path, summarise([episode(task) for task in tasks])) == expected


def test_pairs_without_trials_are_left_out(tmp_path: Path) -> None:
    rates = {"known": {"n": 4, "rate": 1.0, "low": 0.5, "high": 1.0}, "novel": {"n": 0, "rate": None}}
    values = {"protocol": "given"} | {kind: {"success": rate} for kind, rate in rates.items()}
    assert measured(tmp_path, values) == {"success, known pairs, protocol given": 4}


def test_what_was_not_left_at_its_default_is_part_of_the_name(tmp_path: Path) -> None:
    """Else a card has two values of one name."""
    rate = {"n": 4, "rate": 1.0, "low": 0.5, "high": 1.0}
    command = "python scripts/plan_eval.py trials=4 rule=joint 'guidance=[1.0, 1.0]' seed=1 out=runs/rule=joint"
    values = {"protocol": "paper", "command": command, "known": {"success": rate}, "novel": {"success": rate}}
    name = "success, {} pairs, protocol paper, rule=joint, guidance=[1.0, 1.0], seed=1"
    assert measured(tmp_path, values) == {name.format(kind): 4 for kind in ("known", "novel")}
    rows = planner_card(FOLDER, NAME, REPOSITORY / "docs/results").measured
    assert len({(row.what, row.n) for row in rows}) == len(rows) > 4


def test_a_domain_that_is_not_the_packages_is_loaded_from_where_its_training_found_it(tmp_path: Path) -> None:
    config = artefacts.load(FOLDER).config
    config["training"]["domain"] = {"_target_": "mine.rooms.Rooms", "walks": 3}
    artefacts.save(tmp_path, {"w": torch.ones(2)}, config)
    card = planner_card(tmp_path, "rooms/iid/dcfm_b")
    assert card.title == "DCFM-B, rooms, iid"
    assert card.use.splitlines() == [
        "from dcfm_planner import load_planner",
        "from mine.rooms import Rooms",
        "",
        'planner = load_planner("rooms/iid/dcfm_b", domain=Rooms()).planner',
    ]
