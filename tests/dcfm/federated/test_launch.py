"""What is checked before any work; what of a phase's time was the engine's."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module

from dcfm.federated.launch import deal_silos, federate, phase_seconds, summary
from dcfm.federated.processes import Flower, FlowerError
from dcfm.federated.server import claimed, status_path
from dcfm.federated.settings import composed
from dcfm.federated.silo_files import silo_path, write_silo
from dcfm.federated.tasks import read_run
from tests.dcfm.federated.grid import run


def test_what_server_and_silos_would_refuse_is_refused_before_any_work(tmp_path: Path) -> None:
    """The script's own configuration, which hydra makes for it, takes keys that nothing reads."""
    given = [f"out={tmp_path / 'run'}", "+stage_one.privacy.noise_multiplier=1"]
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("federate", overrides=given)
    with pytest.raises(ValueError, match=r"^stage_one: nothing reads this"):
        federate(config, given)
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_begun_keeps_its_folder_whatever_fails(tmp_path: Path) -> None:
    """Else one with other settings could take it, and what was received in it, for its own."""
    given = ["task=planner", f"data={tmp_path}/none.npz", f"out={tmp_path / 'run'}"]
    claimed(tmp_path / "run", composed(given))
    with pytest.raises(ValueError, match="there is no play data"):
        federate(composed(given), given)
    assert (tmp_path / "run/run.json").exists()


def test_a_silos_file_that_is_there_stays(tmp_path: Path) -> None:
    """Dealing that was cut off is completed; what somebody put in a silo's place is not replaced."""
    settings, problem = read_run(composed([f"out={tmp_path}", "problem.samples=4"]))
    first = [path.read_bytes() for path in deal_silos(tmp_path, settings, problem)]
    own, missing = (silo_path(tmp_path, number) for number in (0, 1))
    write_silo(own, torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.long))
    there = own.read_bytes()
    missing.unlink()
    assert deal_silos(tmp_path, settings, problem) == [own, missing]
    assert (own.read_bytes(), missing.read_bytes()) == (there, first[1])


def test_the_summary_adds_up_what_each_silo_passed(tmp_path: Path) -> None:
    run(tmp_path, {"offline": {1}}, "arrival=0.5")
    lines = summary(tmp_path).splitlines()
    assert lines[:2] == ["finished: silo0, silo2", "left out: silo1, which did not introduce itself within 0.5 s"]
    rows = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    for line, (silo, direction) in zip(lines[2:], product(("silo0", "silo2"), ("received", "sent")), strict=True):
        total = sum(row["bytes"] for row in rows if (row["silo"], row["direction"]) == (silo, direction))
        assert line == f"{silo} {direction} {total:,} bytes"


def test_a_phase_is_charged_the_attempt_that_worked(tmp_path: Path) -> None:
    """Asked twice, a silo answers at once the second time; an attempt longer than the phase was before a restart."""
    attempts = {0: [("stage_one", 500.0), ("stage_one", 80.0), ("stage_one", 0.1)], 1: [("stage_one", 90.0)]}
    for number, rows in attempts.items():
        path = silo_path(tmp_path, number).parent / "work" / "0123456789ab" / "seconds.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps({"phase": p, "seconds": s}) + "\n" for p, s in rows))
    (tmp_path / "status.json").write_text(json.dumps({"seconds": {"stage_one": 100.0, "distil_on_server": 7.0}}))
    assert phase_seconds(tmp_path, 2) == {
        "stage_one": {"seconds": 100.0, "work": 90.0, "engine": 10.0},
        "distil_on_server": {"seconds": 7.0},
    }


@pytest.fixture
def superlink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Settings of a run over a SuperLink that was started before; it takes runs, and stops them by ``stopped``."""
    config = tmp_path / "srv/homes/server/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("")
    monkeypatch.setattr(Flower, "run", lambda *_: "7")
    monkeypatch.setattr(Flower, "status", lambda *_: "running")
    return "engine=running", f"superlink={tmp_path / 'srv'}", f"out={tmp_path / 'out'}", "protocol=dcfm_b"


def test_why_a_server_could_not_begin_is_told(
    superlink: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another one holds the folder, whose status.json is its own."""
    out = tmp_path / "out"

    def run(*_: Any) -> str:
        status = {"state": "running", "phase": "stage_one", "waiting_for": [], "silos": [], "left_out": {}}
        (out / "status.json").write_text(json.dumps(status | {"run": "6"}))
        found = status | {"run": "7", "state": "stopped", "phase": "start", "reason": "another server works on it"}
        status_path(out, "7").write_text(json.dumps(found))
        return "7"

    monkeypatch.setattr(Flower, "run", run)
    with pytest.raises(FlowerError, match=r"^another server works on it$"):
        federate(composed(superlink), superlink)
    assert json.loads((out / "status.json").read_text())["run"] == "6"
    assert not status_path(out, "7").exists()


def test_an_interrupted_command_stops_its_run(superlink: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its server works on in the folder, and the same command cannot go on there."""
    asked = []

    def interrupted(*_: Any) -> Iterator[dict[str, Any]]:
        raise KeyboardInterrupt
        yield {}

    monkeypatch.setattr(Flower, "wait", interrupted)
    monkeypatch.setattr(Flower, "command", lambda self, *words: asked.append(words))
    with pytest.raises(KeyboardInterrupt):
        federate(composed(superlink), superlink)
    assert asked == [("stop", "7", "dcfm")]
