"""Records: complete or absent, and never of something else."""

import shlex
from pathlib import Path

import pytest

from dcfm import records
from dcfm.artefacts import git_revision
from dcfm.records import RecordError

ASKED = {"seed": 1, "sizes": (1, 2)}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    (tmp_path / "result.json").write_text("[1]")
    records.finish(tmp_path / "record.json", ASKED, ["result.json"], {"chosen": "a"})
    return tmp_path / "record.json"


def test_read_back(record: Path) -> None:
    found = records.matching(record, ASKED)
    assert found is not None
    assert found["chosen"] == "a"
    assert records.read(record.with_name("other.json")) is None


def test_begun_is_not_done(record: Path) -> None:
    records.begin(record)
    records.begin(record)
    assert records.matching(record, ASKED) is None


def test_made_otherwise(record: Path) -> None:
    with pytest.raises(RecordError, match=r"seed: 1 there, 2 asked for.*redo=true"):
        records.matching(record, {**ASKED, "seed": 2})
    with pytest.raises(RecordError, match="more: None there"):
        records.matching(record, {**ASKED, "more": 1})
    with pytest.raises(RecordError, match=r"sizes: \[1, 2\] there, None asked for"):
        records.matching(record, {"seed": 1})
    assert records.matching(record, {"seed": 2}, redo=True) is None


def test_a_method_that_was_changed_is_another_one(tmp_path: Path) -> None:
    """Of records of before its settings were kept nothing is known, and they are taken."""
    (tmp_path / "result.json").write_text("[1]")
    asked = {"seed": 1, records.METHOD: {"scale": 2.0}}
    records.finish(tmp_path / "record.json", asked, ["result.json"])
    assert records.matching(tmp_path / "record.json", asked) is not None
    with pytest.raises(RecordError, match=r"method_settings: \{'scale': 2.0\} there, \{'scale': 3.0\} asked for"):
        records.matching(tmp_path / "record.json", asked | {records.METHOD: {"scale": 3.0}})
    with pytest.raises(RecordError, match="None asked for"):
        records.matching(tmp_path / "record.json", {"seed": 1})
    records.finish(tmp_path / "record.json", {"seed": 1}, ["result.json"])
    assert records.matching(tmp_path / "record.json", asked) is not None


def test_damaged(record: Path) -> None:
    (record.parent / "result.json").write_text("[2]")
    for only in (None, ["result.json"]):
        with pytest.raises(RecordError, match=r"result\.json is missing or not the file"):
            records.read(record, only)
    assert records.read(record, ["other.json"]) is not None
    record.write_text("{")
    with pytest.raises(RecordError, match="damaged"):
        records.read(record)


def test_the_folder_one_is_in_can_be_worked_on_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with records.alone_in(Path(".")):
        assert [path.name for path in tmp_path.parent.glob(f".{tmp_path.name}.lock")]


def test_plain_data_comes_back(tmp_path: Path) -> None:
    records.write_json(tmp_path / "new" / "a.json", {"a": [1.5, None]})
    assert records.read_json(tmp_path / "new" / "a.json", "copy it", ["a"]) == {"a": [1.5, None]}


def test_numbers_that_are_none_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        records.write_json(tmp_path / "a.json", {"mean": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        records.finish(tmp_path / "record.json", {"mean": float("inf")}, [])
    assert not list(tmp_path.iterdir())


def test_results_of_another_method_are_not_taken(record: Path) -> None:
    """Whose weights may be the same; made anew, nothing that was made of them counts any more."""
    metrics, below = record.with_name("metrics.json"), record.parent / "films" / "film_record.json"
    records.check_method(metrics, "dfd")  # nothing is there
    records.write_json(metrics, {"method": "ddm"})
    records.write_json(below, {})
    records.check_method(metrics, "ddm", redo=True)
    with pytest.raises(RecordError, match="has the results of ddm, and dfd is asked for"):
        records.check_method(metrics, "dfd")
    assert (record.exists(), below.exists()) == (True, True)
    records.check_method(metrics, "dfd", redo=True)
    assert (record.exists(), below.exists()) == (False, False)


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "Expecting"), ("[]", "holds a list"), ("3", "holds a int"), ('{"b": 1}', "lacks a, c"), ("\x80", "utf-8")],
)
def test_damaged_data_is_named_with_what_to_do(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"a\.json is damaged \(.*{why}.*\); copy it"):
        records.read_json(path, "copy it", ["a", "c"])


def test_results_say_what_made_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["scripts/toy.py", "methods=[ddm]", "out=a b"])
    made = records.made_by()
    assert shlex.split(str(made["command"])) == ["python", "scripts/toy.py", "methods=[ddm]", "out=a b"]
    assert made["git_revision"] == git_revision()
