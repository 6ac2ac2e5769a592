"""What a server that cannot begin says, and where."""

import json
from pathlib import Path

import pytest

from dcfm.federated.server import alone, serve
from dcfm.federated.settings import composed
from tests.dcfm.federated.grid import THREE, LocalGrid, status


@pytest.mark.parametrize("name", ["left_out.json", "ledger.jsonl"])
def test_a_damaged_file_of_the_folder_is_in_the_status(name: str, tmp_path: Path) -> None:
    """The server's own log lies elsewhere."""
    given = (*THREE, f"out={tmp_path}")
    (tmp_path / name).write_text("[1]")
    with pytest.raises(ValueError, match=name):
        serve(LocalGrid(given), composed(given), "7")
    found = status(tmp_path)
    assert (found["run"], found["state"]) == ("7", "stopped")
    assert name in found["reason"]


def test_a_folder_that_is_taken_is_said_beside_the_others_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone.__wrapped__, "__defaults__", (0.1,))  # its patience
    given = (*THREE, f"out={tmp_path}")
    (tmp_path / "status.json").write_text(json.dumps({"run": "6"}))
    with alone(tmp_path), pytest.raises(ValueError, match="another server works on"):
        serve(LocalGrid(given), composed(given), "7")
    assert status(tmp_path) == {"run": "6"}
    found = json.loads((tmp_path / "status.7.json").read_text())
    assert (found["run"], found["state"]) == ("7", "stopped")
    assert "another server works on" in found["reason"]
