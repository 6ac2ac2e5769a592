"""The reader: any size in, labels out, whole or not at all on disk; the shipped one on real digits it never saw."""

from pathlib import Path

import pytest
import torch

from dcfm.artefacts import MODEL, ArtefactError
from dcfm_images.colours import COLOURS, colourise
from dcfm_images.digits import Digits, load_digits, resize
from dcfm_images.reader import FEATURES, LoadedReader, Reader, load_reader, read, shipped_reader, to_side
from dcfm_images.reader_training import ReaderConfig, measure, save_reader


@pytest.fixture(scope="module")
def shipped() -> LoadedReader:
    return load_reader()


@pytest.fixture(scope="module")
def real() -> Digits:
    """400 digits of MNIST's train file: no reader learned from them."""
    return load_digits(None, source="embedded")[torch.arange(0, 5000, 13)]


@pytest.mark.parametrize("size", [8, 14, 28, 32])
def test_any_size(size: int) -> None:
    reader = Reader((4, 4, 4)).eval()
    pictures = torch.rand(3, 3, size, size) * 2 - 1
    assert reader.features(pictures).shape == (3, FEATURES)
    digit, colour = reader(pictures)
    assert (digit.shape, colour.shape) == ((3, 10), (3, len(COLOURS)))
    assert to_side(pictures).shape == (3, 3, 28, 28)


@pytest.mark.parametrize("size", [14, 16, 28, 32])
def test_the_shipped_reader_reads_real_digits(shipped: LoadedReader, real: Digits, size: int) -> None:
    colour = torch.arange(len(real)) % len(COLOURS)
    found = read(shipped.reader, colourise(resize(real.images, size), colour))
    right = found == torch.stack([real.labels, colour], dim=1)
    assert right[:, 0].float().mean() > 0.97
    assert right[:, 1].float().mean() > 0.99


def test_the_shipped_reader_says_what_it_is(shipped: LoadedReader) -> None:
    assert (shipped_reader() / MODEL).stat().st_size < 1_000_000
    metrics = shipped.metadata["metrics"]
    assert set(metrics["accuracy"]) == {"14", "16", "28", "32"}
    for found in metrics["accuracy"].values():
        assert found["both"]["low"] < found["both"]["rate"] < found["both"]["high"]
        assert found["both"]["n"] >= 10_000
    assert "train_reader.py" in metrics["command"]
    assert not any(p.requires_grad for p in shipped.reader.parameters())


def test_wrong_colours_are_seen(shipped: LoadedReader, real: Digits) -> None:
    """The colour is read apart from the digit: painting anew changes one label only."""
    one, two = (read(shipped.reader, colourise(real.images, torch.full((len(real),), c))) for c in (0, 2))
    assert (one[:, 0] == two[:, 0]).float().mean() > 0.97
    assert (one[:, 1] != two[:, 1]).all()


def test_saved_and_loaded(tmp_path: Path, real: Digits) -> None:
    reader = Reader((4, 4, 4)).eval()
    reader.half().float()
    accuracy = measure(reader, real, [14], seed=3)
    config = ReaderConfig((4, 4, 4))
    save_reader(tmp_path, reader, config, real, accuracy, seed=0, measured_on="some", command="a command")
    loaded = load_reader(tmp_path)
    assert loaded.metadata["metrics"]["accuracy"] == accuracy
    pictures = torch.rand(5, 3, 14, 14)
    assert torch.equal(loaded.reader(pictures)[0], reader(pictures)[0])
    assert accuracy["14"]["both"]["k"] <= accuracy["14"]["digit"]["k"]


def test_none_there(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no artefact folder"):
        load_reader(tmp_path / "nowhere")


def test_another_architecture(tmp_path: Path, real: Digits) -> None:
    config = ReaderConfig((8, 8, 8))
    save_reader(tmp_path, Reader((4, 4, 4)), config, real, {}, seed=0, measured_on="", command="")
    with pytest.raises(ArtefactError, match=r"no reader of this version.*train_reader"):
        load_reader(tmp_path)
