"""Outcomes of trials, read back from their file."""

from pathlib import Path

import pytest

from dcfm.comparison import ComparisonError
from dcfm_planner.comparison import records
from dcfm_planner.evaluation.report import trials_csv
from dcfm_planner.evaluation.trials import Trial


def test_outcomes_read_back_from_trials(tmp_path: Path) -> None:
    path = tmp_path / records.TRIALS
    common = {"cell": "novel", "source": "TL", "target": "BR", "kind": "diagonal"}
    trials = [
        Trial("planner", index=0, noise_seed=2**32, feasible=True, reasons=(), success=True, **common),
        Trial("planner", index=1, noise_seed=6, feasible=True, reasons=(), at_start=True, success=True, **common),
        Trial("null", index=0, noise_seed=4, feasible=False, reasons=("no, never",), **common),
    ]
    path.write_text(trials_csv(trials))
    found = records.read_outcomes(path)
    assert set(found) == {("planner", "novel"), ("null", "novel")}
    own = found["planner", "novel"]
    assert own.problem.tolist() == [[0, 2**32], [1, 6]]
    assert own.labels == (("TL", "BR"), ("TL", "BR"))
    assert own.success.tolist() == [True, True]
    assert own.counted.tolist() == [True, False]
    path.write_text("arm,cell\nplanner,novel\n")
    with pytest.raises(ComparisonError, match="no file of trials"):
        records.read_outcomes(path)
