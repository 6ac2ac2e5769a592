"""What entries were trained with is in the table, and where that is not what its overrides give, it says so."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from omegaconf import OmegaConf

from dcfm import artefacts
from dcfm.comparison import ComparisonError, Entry
from dcfm_planner.comparison.collate import collect
from dcfm_planner.comparison.recipe import config_of
from dcfm_planner.comparison.settings import ComparisonSettings
from dcfm_planner.comparison.summary import summarise

ENTRY = Entry("noniid", "dcfm_b", 0)


@pytest.fixture
def trained(settings: ComparisonSettings, shipped) -> ComparisonSettings:
    """A comparison of one entry that was trained with ``stage_one.loop.steps=7``."""
    then = replace(settings, methods=(ENTRY.method,), training=("stage_one.loop.steps=7",))
    train(then, ENTRY, shipped)
    return then


def train(settings: ComparisonSettings, entry: Entry, shipped: Callable) -> None:
    """Put a shipped planner where training would have left it, with the settings that it would have had."""
    shipped(settings, entry)
    folder = entry.published(settings.runs)
    found = artefacts.load(folder)
    training: Any = OmegaConf.to_container(config_of(settings, entry), resolve=True)
    kept = {key: found.metadata[key] for key in ("normalizer", "data_hash")}
    artefacts.save(folder, found.weights, found.config | {"training": training}, **kept)


def test_an_entry_trained_as_asked_for_is_no_warning(trained: ComparisonSettings) -> None:
    summary = summarise(collect(trained), "")
    assert summary["warnings"] == []
    assert summary["entries"][0]["recipe"]["stage_one"]["loop"]["steps"] == 7
    assert "data" not in summary["entries"][0]["recipe"]


def test_every_training_seed_has_a_recipe_of_its_own(trained: ComparisonSettings, shipped) -> None:
    both = replace(trained, seeds=(0, 1))
    train(both, replace(ENTRY, seed=1), shipped)
    assert summarise(collect(both), "")["warnings"] == []


def test_overrides_that_were_not_used_are_told(trained: ComparisonSettings) -> None:
    """The entry is there already, so that nothing is trained with the new overrides."""
    later = replace(trained, training=("stage_one.loop.steps=9", "device=cpu"))
    (warning,) = summarise(collect(later), "")["warnings"]
    assert warning == (
        "noniid, training seed 0: trained with other settings than training=['stage_one.loop.steps=9', 'device=cpu'] "
        "gives now: dcfm_b (stage_one.loop.steps: 7 there, 9 now)"
    )
    with pytest.raises(ComparisonError, match="does not fit configs/train_planner"):
        summarise(collect(replace(trained, training=("no.such.key=1",))), "")


def test_results_without_a_recipe_are_as_they_were(settings: ComparisonSettings, write) -> None:
    write(settings, ENTRY, {})
    summary = summarise(collect(replace(settings, training=("stage_one.loop.steps=9",))), "")
    assert summary["warnings"] == []
    assert not any("recipe" in entry for entry in summary["entries"])


def test_another_domain_is_refused_before_it_is_trained(settings: ComparisonSettings) -> None:
    with pytest.raises(ComparisonError, match="is of pointmaze-large; this table is of cube-single"):
        config_of(replace(settings, training=("domain=maze", "preset=maze")), ENTRY)
