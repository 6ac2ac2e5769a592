"""What is checked before any work; what of a phase's time was the engine's."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from dcfm.federated.launch import federate, phase_seconds
from dcfm.federated.silo_files import silo_path


def test_what_server_and_silos_would_refuse_is_refused_before_any_work(tmp_path: Path) -> None:
    """The script's own configuration, which hydra makes for it, takes keys that nothing reads."""
    given = [f"out={tmp_path / 'run'}", "+stage_one.privacy.noise_multiplier=1"]
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("federate", overrides=given)
    with pytest.raises(ValueError, match=r"^stage_one: nothing reads this"):
        federate(config, given)
    assert not list(tmp_path.iterdir())


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
