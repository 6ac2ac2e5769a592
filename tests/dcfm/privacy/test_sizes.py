"""Silos that are too small to train privately."""

from dataclasses import replace
from pathlib import Path

import pytest

from dcfm.decentralized import Federation
from dcfm.privacy.settings import PrivacyConfig
from dcfm.silos import Silo
from dcfm.trainers.fedavg import FedAvgConfig
from tests.dcfm.federation import TASK, silos
from tests.dcfm.test_decentralized import LOCAL


@pytest.mark.parametrize("training", ["stage_one", "further", "fedavg"])
def test_a_silo_too_small_for_private_batches_is_found_before_any_trains(training: str, tmp_path: Path) -> None:
    small = [silos()[0], Silo("small", silos()[1].data[:7], silos()[1].labels[:7])]
    run = Federation(TASK, small, tmp_path, workers=0)
    whole = replace(LOCAL.objective, independence=replace(LOCAL.objective.independence, share=1.0))
    privacy = PrivacyConfig(noise_multiplier=1.0)
    local = replace(LOCAL, objective=whole, privacy=privacy)
    calls = {
        "stage_one": lambda: run.stage_one(local),
        "further": lambda: run.further([TASK.network().state_dict()] * 2, local),
        "fedavg": lambda: run.fedavg(
            "fedflow", FedAvgConfig(rounds=1, steps=2, batch=8, objective=whole, privacy=privacy), run.exchange()
        ),
    }
    with pytest.raises(ValueError, match=r"silo 'small': batches of \d+ from 7 samples"):
        calls[training]()
    assert not list(tmp_path.glob("**/*.safetensors"))
