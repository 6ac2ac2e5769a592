"""What a server that cannot begin says, and where; one that is started again goes on."""

import json
import os
from pathlib import Path

import pytest
import torch
from flwr.app import Context, Message

from dcfm.artefacts import load
from dcfm.exchange import Ledger
from dcfm.federated.client import app
from dcfm.federated.server import alone, serve
from dcfm.federated.settings import composed
from tests.dcfm.federated.grid import THREE, Killed, LocalGrid, run, status


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


@pytest.mark.parametrize("protocol", ["dcfm_a", "dcfm_b", "dcfm_b_r", "fedflow"])
def test_a_server_that_is_started_again_goes_on(protocol: str, tmp_path: Path) -> None:
    """Killed at every phase in turn; the result is that of a run which was not, and all that passed is on record."""
    whole = run(tmp_path / "whole", {}, f"protocol={protocol}")
    phases = len({question for _, question in whole.asked}) + (2 if protocol in ("dcfm_b_r", "fedflow") else 0)
    seen: set[str] = set()

    for _ in range(phases + 1):

        def kill(message: Message, context: Context) -> Message:
            key = f"{message.metadata.message_type} {message.metadata.group_id}"
            if key not in seen and message.metadata.message_type != "query.introduce":
                seen.add(key)
                raise Killed
            return app(message, context)

        try:
            run(tmp_path / "cut", {"answers": {1: kill}}, f"protocol={protocol}")
        except Killed:
            assert status(tmp_path / "cut")["state"] == "stopped"
    assert status(tmp_path / "cut")["state"] == "finished"
    passed, told = (
        {(m.silo, m.direction, m.sha256) for m in Ledger.from_jsonl(tmp_path / name / "ledger.jsonl", 1).messages}
        for name in ("whole", "cut")
    )
    assert passed <= told
    for folder in sorted((tmp_path / "whole/result").iterdir()):
        one, two = load(folder).weights, load(tmp_path / "cut/result" / folder.name).weights
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path, {})
    with pytest.raises(ValueError, match=r"other settings \(seed\)"):
        run(tmp_path, {}, "seed=1")


def test_a_result_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "result").write_text("no folder")
    with pytest.raises(OSError, match="result"):
        run(tmp_path, {})
    assert status(tmp_path)["state"] == "stopped"
    assert "result" in status(tmp_path)["reason"]


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    """A server outlives its SuperLink; the next one waits until it is gone."""
    words = rf"another server .*process {os.getpid()} .*end it"
    with alone(tmp_path), pytest.raises(ValueError, match=words), alone(tmp_path, 0.1):
        pass
    with alone(tmp_path, 0.1):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
