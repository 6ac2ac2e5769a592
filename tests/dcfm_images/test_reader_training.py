"""Training the reader: what it is shown, and that it learns."""

import pytest
import torch

from dcfm_images.digits import SIDE, Digits
from dcfm_images.reader_training import ReaderConfig, augment, measure, train_reader

PLAIN = ReaderConfig((8, 8, 8), epochs=1, batch=32, sizes=(28,), turn=0.0, scale=0.0, shift=0.0, blur=0.0, noise=0.0)


@pytest.fixture
def bars() -> Digits:
    """Digits that are bars at ten heights: quick to learn."""
    labels = torch.arange(10).repeat(40)
    images = torch.zeros(400, SIDE, SIDE, dtype=torch.uint8)
    for offset in range(2):
        images[torch.arange(400), 3 + 2 * labels + offset, 6:22] = 255
    return Digits(images, labels, "bars")


def test_nothing_done_is_the_digit_itself(bars: Digits, generator: torch.Generator) -> None:
    pictures, colour = augment(bars.images[:20], PLAIN, generator)
    assert pictures.shape == (20, 3, SIDE, SIDE)
    bright = (pictures.max(1).values + 1) * 127.5
    assert torch.allclose(bright, bars.images[:20].float(), atol=1.01)
    assert len(colour.unique()) > 3


def test_sizes_blur_and_noise(bars: Digits, generator: torch.Generator) -> None:
    config = ReaderConfig(sizes=(12, 32), noise=0.05)
    seen = {augment(bars.images[:4], config, generator)[0].shape[-1] for _ in range(20)}
    assert seen == {12, 32}
    pictures, _ = augment(bars.images, config, generator)
    assert pictures.min() < -1.1  # noise leaves the range, a little
    assert pictures.abs().max() < 1.5


def test_learns_and_repeats(bars: Digits) -> None:
    losses: list[float] = []
    config = ReaderConfig((4, 4, 8), epochs=2, batch=40, learning_rate=2e-2, sizes=(14, 28), turn=0.0, shift=0.0)
    reader = train_reader(bars, config, seed=1, on_step=lambda done, steps, loss: losses.append(loss))
    assert len(losses) == 20
    assert losses[-1] < 0.6 * losses[0]
    assert measure(reader, bars, [28])["28"]["both"]["rate"] > 0.1  # by chance 0.01
    short = ReaderConfig((4, 4, 8), epochs=1, batch=200, sizes=(14,))
    first, second = (train_reader(bars, short, seed=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"batch": 3}, {"sizes": ()}, {"sizes": (4,)}, {"noise": -1.0}, {"learning_rate": 0.0}]
)
def test_impossible_settings(bad: dict) -> None:
    with pytest.raises(ValueError, match=r"sizes|learning"):
        ReaderConfig(**bad)
