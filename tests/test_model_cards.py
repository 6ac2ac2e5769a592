"""The model cards beside shipped weights: there, up to date, and of the form that Hugging Face's cards have."""

import json
import runpy
from pathlib import Path

import pytest
import torch
import yaml

from dcfm import artefacts
from dcfm.cards import CARD, Card, Measured, card_text, write_card

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cards() -> dict[Path, Card]:
    return runpy.run_path(str(REPOSITORY / "scripts/model_cards.py"))["cards"](REPOSITORY / "docs/results")


def test_every_shipped_weight_has_an_up_to_date_card(cards: dict[Path, Card]) -> None:
    weights = [p.parent for p in REPOSITORY.rglob("weights/**/model.safetensors") if ".venv" not in p.parts]
    assert {path.resolve() for path in cards} == {path.resolve() for path in weights}
    for folder, card in cards.items():
        assert (folder / CARD).read_text() == card_text(folder, card), "run python scripts/model_cards.py"


def test_front_matter_has_licence_and_results(cards: dict[Path, Card]) -> None:
    for folder in cards:
        header = yaml.safe_load((folder / CARD).read_text().split("---\n")[1])
        assert header["license"] == "mit"
        (model,) = header["model-index"]
        for result in model["results"]:
            assert set(result) == {"task", "dataset", "metrics"}
            assert all(metric["value"] >= 0 for metric in result["metrics"])


def test_planner_cards_quote_evaluations_of_these_weights_alone(cards: dict[Path, Card]) -> None:
    (folder,) = (f for f in cards if f.parts[-3:] == ("cube-single", "noniid", "dcfm_b"))
    text = (folder / CARD).read_text()
    values = json.loads((REPOSITORY / "docs/results/planner/noniid-dcfm_b-paper/metrics.json").read_text())
    assert f"| {values['novel']['success']['n']} | `{values['command']}` |" in text
    assert "97.67 [95.26, 98.87] %" in text
    assert "plan_table.py" not in text  # those trainings are others


def test_a_card_does_not_disturb_its_artefact(tmp_path: Path) -> None:
    artefacts.save(tmp_path, {"w": torch.ones(2, 3)}, {"a": 1})
    row = Measured("success", 50.0, 20.0, 80.0, 10, "python measure.py")
    card = Card("Title", "What.", "load()", "Data.", ["A limit."], "robotics", "scene", [row])
    write_card(tmp_path, card)
    text = (tmp_path / CARD).read_text()
    assert "| success | 50 [20, 80] % | 10 | `python measure.py` |" in text
    assert "6 numbers, float32" in text
    assert artefacts.load(tmp_path).config == {"a": 1}
    write_card(tmp_path, Card("Title", "What.", "load()", "Data.", [], "robotics", "scene"))
    assert "Nothing yet." in (tmp_path / CARD).read_text()
    assert "model-index" not in (tmp_path / CARD).read_text()
