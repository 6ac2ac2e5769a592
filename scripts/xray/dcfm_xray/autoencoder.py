"""The space that X-rays are generated in: a small autoencoder of our own, or a pretrained one.

Flows of different silos can be composed only in common coordinates, so the autoencoder is the same everywhere and stays
as it is: ours is trained on phantoms that no silo owns, a pretrained one is public.

Ours halves a picture three times, ``(1, s, s)`` grey in [-1, 1] to ``(c, s/8, s/8)``. Its loss is the absolute and the
squared error of the picture and the absolute one of its differences between neighbouring pixels, which keeps what is
small and sharp (a nodule, a pleural line); noise on the latents in training makes near latents decode to near pictures.
The phantoms that it is trained on have each finding independently and equally often: it learns to draw rare ones too,
and knows nothing of which occur together. Latents are brought to mean 0 and standard deviation 1 by constants measured
once on the same phantoms.
"""

import importlib.resources
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

from dcfm import artefacts
from dcfm.trainers.loop import LoopConfig, Progress, fit
from dcfm.weights import fingerprint
from dcfm_xray.findings import FINDINGS
from dcfm_xray.phantom import draw_phantoms
from dcfm_xray.sources import Source, UnreadableImage

FACTOR: Final = 8
"""Pixels along an edge that share a latent position."""

GROUP: Final = 8
"""Channels of a normalisation group."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """How ours is made and trained.

    Args:
        size: pixels a side; a multiple of 8.
        latent: channels of the latents.
        channels: of the three resolutions, multiples of 8.
        images: phantoms that it is trained on.
        findings: how often a phantom has each finding.
        source_seed: of these phantoms; no silo's may have it.
        noise: standard deviation of the noise on latents in training, in units of theirs.
        edges: weight of the differences between neighbours.
        squares: weight of the squared error.
        loop: of the training.
    """

    size: int = 64
    latent: int = 4
    channels: Sequence[int] = (16, 32, 64)
    images: int = 8000
    findings: float = 0.15
    source_seed: int = 20_260_000
    noise: float = 0.05
    edges: float = 1.0
    squares: float = 4.0
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=2500, batch=16, learning_rate=2e-3, warmup=100, ema=0.995)
    )

    def __post_init__(self) -> None:
        if self.size < FACTOR or self.size % FACTOR or min(self.latent, self.images) < 1:
            raise ValueError(
                f"size={self.size} must be a multiple of {FACTOR}, latent={self.latent} and images={self.images} at "
                "least 1"
            )
        if len(self.channels) != 3 or any(c < GROUP or c % GROUP for c in self.channels):
            raise ValueError(f"channels={list(self.channels)}; give three multiples of {GROUP}")
        if min(self.noise, self.edges, self.squares) < 0 or not 0 < self.findings < 1:
            raise ValueError(
                f"noise={self.noise}, edges={self.edges} and squares={self.squares} must not be negative, and "
                f"findings={self.findings} lies between 0 and 1"
            )


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(channels // GROUP, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, h: Float[Tensor, "batch c height width"]) -> Float[Tensor, "batch c height width"]:
        return h + self.second(functional.silu(self.first(functional.silu(self.norm(h)))))


class Autoencoder(nn.Module):
    """Ours; :class:`dcfm_xray.cache.Encoder`.

    Args:
        size, latent, channels: see :class:`AutoencoderConfig`.
    """

    def __init__(self, size: int = 64, latent: int = 4, channels: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        self.size, self.latent, self.channels = size, latent, tuple(channels)
        a, b, c = channels
        self.down = nn.Sequential(
            nn.Conv2d(1, a, 4, stride=2, padding=1),
            _Block(a),
            nn.Conv2d(a, b, 4, stride=2, padding=1),
            _Block(b),
            nn.Conv2d(b, c, 4, stride=2, padding=1),
            _Block(c),
            _Block(c),
            nn.Conv2d(c, latent, 1),
        )
        self.up = nn.Sequential(
            nn.Conv2d(latent, c, 3, padding=1),
            _Block(c),
            _Block(c),
            nn.Conv2d(c, 4 * b, 3, padding=1),
            nn.PixelShuffle(2),
            _Block(b),
            nn.Conv2d(b, 4 * a, 3, padding=1),
            nn.PixelShuffle(2),
            _Block(a),
            nn.Conv2d(a, 4, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(latent, 1, 1))
        self.register_buffer("std", torch.ones(latent, 1, 1))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.latent, self.size // FACTOR, self.size // FACTOR)

    @property
    def fingerprint(self) -> str:
        return f"{self.size} {fingerprint([self.state_dict()])}"

    def encode(self, pictures: UInt8[Tensor, "batch size size"]) -> Float[Tensor, "batch latent height width"]:
        """Latents of mean 0 and standard deviation 1 over phantoms."""
        return (self.down(to_unit(pictures)) - self.mean) / self.std

    def decode(self, latents: Float[Tensor, "batch latent height width"]) -> UInt8[Tensor, "batch size size"]:
        """Grey pictures."""
        return to_bytes(self.up(latents * self.std + self.mean))


def to_unit(pictures: UInt8[Tensor, "batch size size"]) -> Float[Tensor, "batch 1 size size"]:
    """Bytes to [-1, 1]."""
    return pictures[:, None].float() / 127.5 - 1


def to_bytes(values: Float[Tensor, "batch 1 size size"]) -> UInt8[Tensor, "batch size size"]:
    """The inverse of :func:`to_unit`; what lies outside is cut off."""
    return ((values[:, 0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def reconstruction_loss(
    network: Autoencoder, pictures: Float[Tensor, "batch 1 size size"], config: AutoencoderConfig, noise: Tensor
) -> dict[str, Tensor]:
    """``E|r| + squares * E r^2 + edges * E|differences of r's neighbours|``, ``r = d(e(x) + noise) - x``."""
    latents = network.down(pictures)
    spread = latents.std(dim=(0, 2, 3), keepdim=True).detach()
    error = network.up(latents + config.noise * spread * noise) - pictures
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    # A weak pull, so that latents stay of order one.
    squares = error.square().mean()
    terms = {"error": error.abs().mean(), "squares": squares, "edges": edges, "size": latents.square().mean()}
    loss = terms["error"] + config.squares * squares + config.edges * edges + 1e-4 * terms["size"]
    return terms | {"loss": loss}


def draw_training(config: AutoencoderConfig) -> UInt8[Tensor, "images size size"]:
    """The phantoms that an autoencoder is trained on; every picture another patient."""
    generator = torch.Generator().manual_seed(config.source_seed)
    labels = (torch.rand(config.images, len(FINDINGS), generator=generator) < config.findings).long()
    numbers = config.source_seed + torch.arange(config.images)
    parts = [draw_phantoms(labels[rows], numbers[rows], numbers[rows], config.size) for rows in numbers_of(len(labels))]
    return torch.cat(parts)


def numbers_of(number: int, part: int = 256) -> list[Int[Tensor, " _"]]:
    """Rows 0 to ``number - 1`` in parts."""
    return list(torch.arange(number).split(part))


def train_autoencoder(
    config: AutoencoderConfig,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Autoencoder:
    """Train ours on phantoms of its own seed and measure its latents' constants.

    Args:
        config: how.
        seed: of weights and batches.
        checkpoint: file that an interrupted training goes on from.
        progress: see :data:`dcfm.trainers.loop.Progress`.
        device: of the training.
    """
    pictures = draw_training(config).to(device)
    torch.manual_seed(seed)
    network = Autoencoder(config.size, config.latent, config.channels).to(device)
    shape = (config.loop.batch, *network.shape)

    def loss(moved: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(pictures), (config.loop.batch,), generator=generator, device=pictures.device)
        noise = torch.randn(shape, generator=generator, device=pictures.device)
        return reconstruction_loss(moved, to_unit(pictures[rows]), config, noise)  # type: ignore[arg-type]

    settings = {"config": asdict(config)}
    trained = fit(network, loss, config.loop, seed=seed, settings=settings, checkpoint=checkpoint, progress=progress)
    assert isinstance(trained, Autoencoder)
    return standardise(trained.eval(), pictures[:2000])


@torch.no_grad()
def standardise(network: Autoencoder, pictures: UInt8[Tensor, "n size size"]) -> Autoencoder:
    """Set the constants that bring the latents of these pictures to mean 0 and standard deviation 1."""
    latents = torch.cat([network.down(to_unit(part)) for part in pictures.split(256)])
    network.mean.copy_(latents.mean(dim=(0, 2, 3))[:, None, None])
    network.std.copy_(latents.std(dim=(0, 2, 3))[:, None, None])
    return network


def read_all(source: Source, size: int) -> UInt8[Tensor, "n size size"]:
    """All pictures of a source that is small and readable.

    Raises:
        UnreadableImage: one is not.
    """
    found = []
    for begin in range(0, len(source.labels), 256):
        for picture in source.read(range(begin, min(begin + 256, len(source.labels))), size):
            if isinstance(picture, UnreadableImage):
                raise picture
            found.append(picture)
    return torch.stack(found)


def save_autoencoder(network: Autoencoder, folder: Path, config: AutoencoderConfig, metrics: dict[str, Any]) -> None:
    """Write the artefact: float16 weights, and how they were made."""
    settings = {"size": network.size, "latent": network.latent, "channels": list(network.channels)}
    plain = asdict(config) | {"channels": list(config.channels)}
    artefacts.save(
        folder, network.state_dict(), {"autoencoder": settings, "training": plain}, metrics=metrics, half=True
    )


def shipped_autoencoder() -> Path:
    """Where the shipped autoencoder for phantoms of 64 pixels lies."""
    return Path(str(importlib.resources.files("dcfm_xray"))) / "weights" / "autoencoder"


def load_autoencoder(folder: Path | None = None) -> Autoencoder:
    """Read what :func:`save_autoencoder` wrote, frozen; the shipped one if no folder is given.

    Raises:
        dcfm.artefacts.ArtefactError: nothing there, damaged, or no autoencoder.
    """
    folder = folder or shipped_autoencoder()
    found = artefacts.load(folder)
    try:
        network = Autoencoder(**found.config["autoencoder"])
        network.load_state_dict(found.weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise artefacts.ArtefactError(
            f"{folder} is no autoencoder's artefact ({str(error).splitlines()[0]}); choose another folder"
        ) from error
    return network.eval().requires_grad_(False)
