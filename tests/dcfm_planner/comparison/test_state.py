"""What is there is held against what is asked for: results of other weights or settings are never taken."""

from dataclasses import replace
from pathlib import Path

import pytest

from dcfm.comparison import ComparisonError, Entry
from dcfm_planner.comparison import records
from dcfm_planner.comparison.settings import CONTROLS, ComparisonSettings
from dcfm_planner.comparison.state import look, look_at_all
from dcfm_planner.evaluation import problems

ENTRY = Entry("noniid", "dcfm_b", 0)


def test_nothing_is_there(settings: ComparisonSettings) -> None:
    state = look(settings, ENTRY)
    assert (state.trained, state.weights_hash, state.selection, state.evaluations) == (False, None, None, {})
    assert state.sampling is None


def test_results_are_there_without_weights(settings: ComparisonSettings, write) -> None:
    write(settings, ENTRY, {}, protocols=("paper",))
    state = look(settings, ENTRY)
    assert not state.trained
    assert state.weights_hash == "a" * 64
    assert state.chosen == "joint"
    assert state.sampling is not None
    assert state.sampling.rule == "joint"
    assert set(state.evaluations) == {"paper"}


@pytest.mark.parametrize(
    ("change", "protocol", "message"),
    [
        ({"trials": 24}, "paper", "trials: 12 there, 24 asked for"),
        ({"seed": 2}, "paper", "seed: 0 there, 2 asked for"),
        ({"given_trials": 4}, "given", "trials: 12 there, 4 asked for"),
        ({"selection_plans": 3}, "", "plans_per_pair: 16 there, 3 asked for"),
        ({"max_steps": 100}, "paper", "max_steps: 200 there, 100 asked for"),
    ],
)
def test_other_settings_are_an_error_or_redone(
    change: dict, protocol: str, message: str, settings: ComparisonSettings, write
) -> None:
    write(settings, ENTRY, {})
    changed = replace(settings, **change)
    with pytest.raises(ComparisonError, match=message) as raised:
        look(changed, ENTRY)
    assert "give redo=true" in str(raised.value)
    assert f"another runs= than {settings.runs}" in str(raised.value)
    redone = look(replace(changed, redo=True), ENTRY)
    assert protocol not in redone.evaluations
    assert (redone.selection is None) == (not protocol)


def test_results_of_other_given_problems_or_controls_are_an_error(
    settings: ComparisonSettings, write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(settings, ENTRY, {})
    with monkeypatch.context() as other:
        problems.write_given(tmp_path / "given.json", seed=1)
        other.setattr(problems, "GIVEN_FILE", str(tmp_path / "given.json"))
        with pytest.raises(ComparisonError, match=r"given was made otherwise \(problems_sha256"):
            look(settings, ENTRY)
    monkeypatch.setitem(CONTROLS, "given", ("null",))
    with pytest.raises(ComparisonError, match=r"given was made otherwise \(controls"):
        look(settings, ENTRY)


def test_results_of_other_weights_are_an_error(settings: ComparisonSettings, write, shipped) -> None:
    shipped(settings, ENTRY)
    write(settings, ENTRY, {})
    with pytest.raises(ComparisonError, match="weights_sha256"):
        look(settings, ENTRY)
    redone = look(replace(settings, redo=True), ENTRY)
    assert redone.trained
    assert (redone.selection, redone.evaluations) == (None, {})


def test_an_evaluation_without_its_selection_is_an_error(settings: ComparisonSettings, write) -> None:
    write(settings, ENTRY, {})
    (ENTRY.results(settings.out) / records.SELECTION_RECORD).unlink()
    with pytest.raises(ComparisonError, match="no selection that it was made after"):
        look(settings, ENTRY)


def test_all_that_does_not_match_is_told_at_once(settings: ComparisonSettings, write) -> None:
    for method in settings.methods:
        write(settings, Entry("noniid", method, 0), {})
    damaged: Path = Entry("noniid", "pooled", 0).results(settings.out) / "paper" / records.TRIALS
    damaged.write_text("arm")
    with pytest.raises(ComparisonError, match="1 entries do not match") as raised:
        look_at_all(settings)
    assert str(damaged) in str(raised.value)
    with pytest.raises(ComparisonError, match="4 entries do not match"):
        look_at_all(replace(settings, trials=24, given_trials=24))
