"""What of a phase's time was the engine's."""

import json
from pathlib import Path

from dcfm.federated.client import silo_path
from dcfm.federated.launch import phase_seconds


def test_a_phase_is_charged_the_attempt_that_worked(tmp_path: Path) -> None:
    """Asked twice, a silo answers at once the second time; an attempt longer than the phase was before a restart."""
    attempts = {0: [("stage_one", 500.0), ("stage_one", 80.0), ("stage_one", 0.1)], 1: [("stage_one", 90.0)]}
    for number, rows in attempts.items():
        path = silo_path(tmp_path, number).parent / "work" / "seconds.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps({"phase": p, "seconds": s}) + "\n" for p, s in rows))
    (tmp_path / "status.json").write_text(json.dumps({"seconds": {"stage_one": 100.0, "distil_on_server": 7.0}}))
    assert phase_seconds(tmp_path, 2) == {
        "stage_one": {"seconds": 100.0, "work": 90.0, "engine": 10.0},
        "distil_on_server": {"seconds": 7.0},
    }
