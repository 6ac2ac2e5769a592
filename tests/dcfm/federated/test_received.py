"""What a silo sent is kept, and asked for again where it is damaged."""

from pathlib import Path

import pytest
import torch

from dcfm.artefacts import load_tensors
from dcfm.federated import members
from tests.dcfm.federated.grid import run


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "POLL", 0.01)


@pytest.mark.parametrize("damage", ["cut", "gone", "empty"])
def test_what_was_kept_and_is_damaged_is_asked_for_again(damage: str, tmp_path: Path) -> None:
    run(tmp_path, {})
    kept = load_tensors(tmp_path / "received/stage_one/1/weights.safetensors")
    before = {name: value.clone() for name, value in kept.items()}  # the file's are mapped, and it is cut
    for path in (
        tmp_path / "received/stage_one/1/weights.safetensors",
        tmp_path / "received/arrival/1/histogram.safetensors",
    ):
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:100] if damage == "cut" else b"")
    grid = run(tmp_path, {})
    assert [n for n, question in grid.asked if question == "train.stage_one"] == [1]
    after = load_tensors(tmp_path / "received/stage_one/1/weights.safetensors")
    assert all(torch.equal(after[name], value) for name, value in before.items())
