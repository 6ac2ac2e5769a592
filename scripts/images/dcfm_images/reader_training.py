"""Training the reader: real digits in random colours, at random sizes, moved, blurred, with a little noise.

Each quarter of a batch has one size (a batch of one size would leave batch norm with averages that fit none): digits
are averaged down to fewer than 28 pixels or centred on more, as the benchmark's pictures are
(:func:`dcfm_images.digits.resize`), then coloured; the reader brings them back to 28. Training digits are those of
MNIST's test file, accuracy is measured on its train file.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from dcfm import artefacts
from dcfm.metrics.intervals import share
from dcfm.weights import fingerprint
from dcfm_images.colours import COLOURS, colourise
from dcfm_images.digits import Digits, resize
from dcfm_images.reader import Reader, read, to_side

QUARTERS: Final = 4
"""Parts of a batch that are resized and blurred apart."""

Progress = Callable[[int, int, float], None]
"""Called with steps done, steps, and the loss of the last one."""


@dataclass(frozen=True)
class ReaderConfig:
    """How the reader is trained.

    Args:
        channels: of its convolutions.
        epochs: passes over the digits.
        batch: digits of a step.
        learning_rate: highest; rises and falls in one cycle (Smith & Topin 2018), AdamW.
        weight_decay: of AdamW.
        sizes: pixels along an edge, one drawn for each quarter of a batch.
        turn: largest rotation in degrees.
        scale: largest relative change of size.
        shift: largest move, in pixels of 28.
        blur: largest standard deviation of a Gaussian blur, in pixels of the drawn size; half of the quarters have one.
        noise: standard deviation of the noise on each value of the picture in [-1, 1].
    """

    channels: tuple[int, int, int] = (32, 64, 96)
    epochs: int = 12
    batch: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    sizes: tuple[int, ...] = (12, 14, 16, 18, 20, 24, 28, 32)
    turn: float = 10.0
    scale: float = 0.1
    shift: float = 2.0
    blur: float = 0.8
    noise: float = 0.05

    def __post_init__(self) -> None:
        small = min(self.epochs, *self.channels) < 1 or self.batch < QUARTERS
        if small or not 0 < self.learning_rate < math.inf or not self.sizes:
            raise ValueError(
                f"epochs={self.epochs}, batch={self.batch}, channels={list(self.channels)}, sizes={list(self.sizes)}, "
                f"learning_rate={self.learning_rate}: epochs and channels are at least 1, batch is at least "
                f"{QUARTERS}, the learning rate above 0, and there is at least one size"
            )
        if min(self.sizes) < 8 or min(self.turn, self.scale, self.shift, self.blur, self.noise) < 0:
            raise ValueError(
                f"sizes={list(self.sizes)} must be 8 or more; turn, scale, shift, blur and noise 0 or more, not "
                f"{self.turn}, {self.scale}, {self.shift}, {self.blur}, {self.noise}"
            )


def augment(
    images: UInt8[Tensor, "batch 28 28"], config: ReaderConfig, generator: torch.Generator
) -> tuple[Float[Tensor, "batch 3 size size"], Int[Tensor, " batch"]]:
    """A batch as the reader is to see it, in [-1, 1] but for the noise, and the colours drawn for it."""
    moved = _move(images[:, None].float(), config, generator).round().clamp(0, 255).to(torch.uint8)[:, 0]
    size = config.sizes[int(torch.randint(len(config.sizes), (1,), generator=generator))]
    colour = torch.randint(len(COLOURS), (len(images),), generator=generator)
    pictures = colourise(resize(moved, size), colour)
    spread, used = torch.rand(2, generator=generator).tolist()
    if used < 0.5 and config.blur > 0:
        pictures = _blur(pictures, spread * config.blur)
    return pictures + config.noise * torch.randn(pictures.shape, generator=generator), colour


def train_reader(digits: Digits, config: ReaderConfig, *, seed: int = 0, on_step: Progress | None = None) -> Reader:
    """Train from the start, on the CPU; the seed decides everything. Returns the reader in evaluation mode."""
    if len(digits) < QUARTERS:
        raise ValueError(f"{len(digits)} digits; a reader learns from at least {QUARTERS}")
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    reader = Reader(config.channels).train()
    optimizer = torch.optim.AdamW(reader.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    batches = math.ceil(len(digits) / config.batch)
    steps = config.epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=max(steps, 2))
    done = 0
    for _ in range(config.epochs):
        order = torch.randperm(len(digits), generator=generator)
        for rows in order.tensor_split(batches):  # batches of nearly one size: none too small for batch norm
            quarters = [augment(digits.images[part], config, generator) for part in rows.tensor_split(QUARTERS)]
            colour = torch.cat([colour for _, colour in quarters])
            digit_logits, colour_logits = reader(torch.cat([to_side(pictures) for pictures, _ in quarters]))
            loss = nn.functional.cross_entropy(digit_logits, digits.labels[rows])
            loss = loss + nn.functional.cross_entropy(colour_logits, colour)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            if on_step is not None:
                on_step(done, steps, float(loss.detach()))
    return reader.eval().requires_grad_(False)


def measure(reader: Reader, digits: Digits, sizes: Sequence[int], *, seed: int = 0) -> dict[str, Any]:
    """Accuracy on real digits, each in one random colour, at each size, with Wilson intervals.

    Returns:
        By size, then by ``digit``, ``colour`` and ``both``: ``k`` of ``n``, ``rate``, ``low``, ``high``.
    """
    generator = torch.Generator().manual_seed(seed)
    colour = torch.randint(len(COLOURS), (len(digits),), generator=generator)
    found = {}
    for size in sizes:
        images = resize(digits.images, size)
        labels = torch.cat(
            [read(reader, colourise(i, c)) for i, c in zip(images.split(2000), colour.split(2000), strict=True)]
        )
        right = labels == torch.stack([digits.labels, colour], dim=1)
        columns = {"digit": right[:, 0], "colour": right[:, 1], "both": right.all(1)}
        found[str(size)] = {name: share(int(column.sum()), len(column)) for name, column in columns.items()}
    return found


def save_reader(
    folder: Path,
    reader: Reader,
    config: ReaderConfig,
    trained_on: Digits,
    accuracy: Mapping[str, Any],
    *,
    seed: int,
    measured_on: str,
    command: str,
) -> Path:
    """Write the reader as an artefact with float16 weights; accuracy, command and sources go into its metadata."""
    settings = asdict(config)
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    plain |= {"seed": seed, "trained_on": trained_on.source, "digits": len(trained_on)}
    metrics = {"measured_on": measured_on, "interval": "95 % Wilson", "accuracy": dict(accuracy), "command": command}
    data_hash = fingerprint([{"images": trained_on.images, "labels": trained_on.labels}])
    return artefacts.save(folder, reader.state_dict(), plain, metrics=metrics, data_hash=data_hash, half=True)


def _move(images: Tensor, config: ReaderConfig, generator: torch.Generator) -> Tensor:
    """Turned, scaled and shifted, each picture by an amount of its own."""
    draw = 2 * torch.rand(4, len(images), generator=generator) - 1
    angle, zoom = draw[0] * math.radians(config.turn), 1 + draw[1] * config.scale
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    shift = draw[2:] * config.shift * 2 / images.shape[-1]
    theta = torch.stack(
        [torch.stack([cosine, -sine, shift[0]], dim=1), torch.stack([sine, cosine, shift[1]], dim=1)], dim=1
    )
    grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def _blur(pictures: Tensor, deviation: float) -> Tensor:
    offsets = torch.arange(-2, 3)
    weights = torch.exp(-0.5 * (offsets / max(deviation, 1e-3)) ** 2)
    weights = weights / weights.sum()
    kernel = (weights[:, None] * weights)[None, None].expand(3, 1, 5, 5)
    padded = nn.functional.pad(pictures, (2, 2, 2, 2), mode="replicate")
    return nn.functional.conv2d(padded, kernel, groups=3)
