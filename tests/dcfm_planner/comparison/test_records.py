"""Records: whole or absent, and nothing else than what they were written for."""

from pathlib import Path

import pytest

from dcfm_planner.comparison import records
from dcfm_planner.comparison.settings import ComparisonError
from dcfm_planner.evaluation.report import trials_csv
from dcfm_planner.evaluation.trials import Trial


def test_a_record_reads_back_and_ends_when_work_begins(tmp_path: Path) -> None:
    path = tmp_path / records.RECORD
    assert records.read(path) is None
    (tmp_path / "a.csv").write_text("1")
    records.finish(path, {"seed": 1, "guidance": (1.0, 1.5)}, ["a.csv"], {"chosen": "joint"})
    found = records.read(path)
    assert found is not None
    assert found["chosen"] == "joint"
    assert records.differences({"seed": 1, "guidance": (1.0, 1.5)}, found["asked"]) == []
    records.begin(path)
    assert records.read(path) is None


@pytest.mark.parametrize("what", ["changed", "missing", "damaged"])
def test_other_files_than_it_was_written_for_are_an_error(what: str, tmp_path: Path) -> None:
    path, file = tmp_path / records.RECORD, tmp_path / "a.csv"
    file.write_text("1")
    records.finish(path, {}, ["a.csv"])
    if what == "changed":
        file.write_text("2")
    elif what == "missing":
        file.unlink()
    else:
        path.write_text(path.read_text()[:20])
    with pytest.raises(ComparisonError, match="run again, or copy it again"):
        records.read(path)


def test_differences_name_the_key_and_both_values() -> None:
    found = records.differences({"trials": 300, "seed": 0}, {"trials": 12, "seed": 0, "old": 1})
    assert found == ["trials: 12 there, 300 asked for", "old: 1 there, None asked for"]


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
