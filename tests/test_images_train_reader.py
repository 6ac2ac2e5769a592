"""scripts/images/train_reader.py: a reader of a few made digits, and bad input in one line."""

import gzip
import struct
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra import compose, initialize_config_module

from dcfm_images.digits import FILES
from dcfm_images.reader import load_reader
from tests.commands import script_module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return script_module("scripts/images/train_reader.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Own IDX files of both parts, made."""
    where = tmp_path / "idx"
    where.mkdir()
    for number, names in enumerate(FILES.values()):
        generator = torch.Generator().manual_seed(number)
        images = torch.randint(0, 256, (60, 28, 28), generator=generator, dtype=torch.uint8)
        for name, values in zip(names, (images, torch.arange(10, dtype=torch.uint8).repeat(6)), strict=True):
            header = struct.pack(f">i{values.ndim}i", 0x800 + values.ndim, *values.shape)
            (where / name).write_bytes(gzip.compress(header + values.numpy().tobytes()))
    return where


def train(script: ModuleType, *overrides: str) -> None:
    with initialize_config_module("dcfm_configs.images", version_base="1.3"):
        script.run(compose("train_reader", overrides=list(overrides)))


def test_trained_measured_written(
    script: ModuleType, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "reader"
    train(script, f"folder={folder}", f"out={out}", "epochs=1", "channels=[4,4,4]", "batch=20", "sizes=[14,28]")
    found = load_reader(out)
    assert set(found.metadata["metrics"]["accuracy"]) == {"14", "28"}
    assert found.metadata["metrics"]["accuracy"]["14"]["both"]["n"] == 60
    assert "14 px: digit and colour right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("digits=embedded", "the embedded digits have no test part"),
        ("channels=[4]", "give three numbers"),
        ("sizes=[]", "at least one digit and sizes"),
        ("epochs=0", "at least 1"),
        ("epochs=some", r"see configs/images/train_reader\.yaml"),
    ],
)
def test_bad_values(script: ModuleType, folder: Path, tmp_path: Path, override: str, message: str) -> None:
    out = tmp_path / "reader"
    with pytest.raises(ValueError, match=message):
        train(script, f"folder={folder}", f"out={out}", override)
    assert not out.exists()
