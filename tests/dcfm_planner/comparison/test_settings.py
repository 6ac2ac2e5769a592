"""What cannot be compared is an error with a remedy, before any work."""

from pathlib import Path
from typing import Any

import pytest

from dcfm.comparison import Entry
from dcfm_planner.comparison.settings import ComparisonSettings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ()}, r"methods=\[\]: give at least one of"),
        ({"methods": ("dcfm_c",)}, "unknown methods 'dcfm_c'; there are dcfm_a, dcfm_b"),
        ({"methods": ("dcfm_a", "dcfm_a")}, "names something twice"),
        ({"partitions": ("non-iid",)}, "unknown partitions 'non-iid'; there are iid, noniid, disjoint"),
        ({"protocols": ("mine",)}, "unknown protocols 'mine'; there are paper, given"),
        ({"rules": ("marginal",)}, "unknown rules 'marginal'; there are joint, composed"),
        ({"seeds": ()}, "seeds="),
        ({"seeds": (-1,)}, "numbers of 0 or more"),
        ({"seed": 1}, "two different seeds"),
        ({"selection_plans": 0}, "at least 1 plan"),
        ({"redo": True, "evaluate": False}, "redo=true evaluates again, and evaluate=false"),
        ({"max_entries": 0}, "max_entries=0"),
        ({"trials": 0}, "at least 1 trial"),
        ({"given_trials": 301}, "has 300 a cell"),
        ({"workers": -1}, "workers=-1"),
        ({"device": "tpu"}, "use auto or cpu"),
        ({"max_steps": 201}, "max_steps=201"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ComparisonSettings(**{"methods": ("dcfm_a",), "device": "cpu"} | change)


def test_entries_and_folders() -> None:
    settings = ComparisonSettings(methods=("ddm", "dcfm_a"), seeds=(0, 1), trials=30, given_trials=10, device="cpu")
    entries = settings.entries()
    assert len(entries) == 8
    assert entries[1] == Entry("noniid", "dcfm_a", 0)
    assert entries[1].published(Path("r")) == Path("r/noniid/seed0/published/dcfm_a")
    assert entries[1].results(Path("o")) == Path("o/noniid/seed0/dcfm_a")
    assert (settings.trials_of("paper"), settings.trials_of("given")) == (30, 10)
    assert settings.evaluation("w", "given", None).controls == ("null", "wrong")
    assert settings.evaluation("w", "paper", None).controls == ()
