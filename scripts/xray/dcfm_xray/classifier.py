"""The classifier behind utility: ResNet-18 (He et al. 2016) over grey pictures, 14 findings at once.

Own code, as torchvision is not needed for anything else here. Each finding has a logit of its own, trained by binary
cross-entropy; a finding is *predicted* where its logit lies above its own threshold, fixed beforehand at a specificity
on held-out pictures. Training pictures are moved, brightened and get noise: the same for synthetic and real.
"""

from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

from dcfm import artefacts
from dcfm.trainers.loop import LoopConfig, Progress, fit
from dcfm.weights import fingerprint
from dcfm_xray.autoencoder import to_unit
from dcfm_xray.findings import FINDINGS

STEMS: Final = ("small", "large")
NORMS: Final = ("group", "batch")
BATCH: Final = 128
"""Pictures that are read at once."""


@dataclass(frozen=True)
class ClassifierConfig:
    """How the classifier is made and trained.

    Args:
        width: channels of the first stage; 64 in the source, the last stage has eight times as many.
        stem: ``small``: a 3 x 3 convolution of stride 2, for pictures of 64 pixels; ``large``: the source's 7 x 7 of
            stride 2 and pooling, for 224 or 256.
        norm: ``group`` (8 channels a group) or ``batch``.
        shift: largest move of a training picture along an edge, as a share of it.
        light: largest relative change of brightness.
        noise: largest standard deviation of noise added, of values in [-1, 1].
        loop: of the training. Batch norm's running averages are not averaged by the EMA: ``group`` is the default.
    """

    width: int = 16
    stem: str = "small"
    norm: str = "group"
    shift: float = 0.05
    light: float = 0.1
    noise: float = 0.08
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=900, batch=32, learning_rate=2e-3, warmup=50, weight_decay=1e-2, ema=0.99, checkpoint_every=150
        )
    )

    def __post_init__(self) -> None:
        if self.stem not in STEMS or self.norm not in NORMS:
            raise ValueError(
                f"stem={self.stem!r}, norm={self.norm!r}; stems are {', '.join(STEMS)}, norms {', '.join(NORMS)}"
            )
        if self.width < 8 or self.width % 8:
            raise ValueError(f"width={self.width}; give a multiple of 8")
        if min(self.shift, self.light, self.noise) < 0 or max(self.shift, self.light) >= 1:
            raise ValueError(
                f"shift={self.shift}, light={self.light} and noise={self.noise} are at least 0, the first two below 1"
            )


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.GroupNorm(channels // 8, channels) if kind == "group" else nn.BatchNorm2d(channels)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(_norm(norm, outputs) for _ in range(2))
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), _norm(norm, outputs))

    def forward(self, h: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs high wide"]:
        out = functional.relu(self.norms[0](self.first(h)))
        return functional.relu(self.norms[1](self.second(out)) + self.skip(h))


class Classifier(nn.Module):
    """ResNet-18: four stages of two blocks.

    Args:
        width, stem, norm: see :class:`ClassifierConfig`.
    """

    def __init__(self, width: int = 16, stem: str = "small", norm: str = "group") -> None:
        super().__init__()
        kernel = 3 if stem == "small" else 7
        enter = [nn.Conv2d(1, width, kernel, stride=2, padding=kernel // 2, bias=False), _norm(norm, width), nn.ReLU()]
        if stem == "large":
            enter.append(nn.MaxPool2d(3, stride=2, padding=1))
        stages: list[nn.Module] = []
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            stages.append(_Block(inputs, outputs, 1 if stage == 0 else 2, norm))
            stages.append(_Block(outputs, outputs, 1, norm))
            inputs = outputs
        self.body = nn.Sequential(*enter, *stages)
        self.head = nn.Linear(inputs, len(FINDINGS))

    def features(self, pictures: Float[Tensor, "batch 1 size size"]) -> Float[Tensor, "batch features"]:
        """What the logits are read from: means over the last stage's positions."""
        return self.body(pictures).mean(dim=(2, 3))

    def forward(self, pictures: Float[Tensor, "batch 1 size size"]) -> Float[Tensor, "batch 14"]:
        """Logits of pictures in [-1, 1]."""
        return self.head(self.features(pictures))


@dataclass(frozen=True, eq=False)
class Trained:
    """A classifier and its thresholds.

    Attributes:
        network: frozen, on the device asked for.
        thresholds: of each finding's logit, on the CPU.
        metadata: of its artefact.
    """

    network: Classifier
    thresholds: Float[Tensor, " 14"]
    metadata: dict[str, Any]

    def predict(self, images: UInt8[Tensor, "n size size"]) -> Bool[Tensor, "n 14"]:
        """Which findings are predicted."""
        return logits(self.network, images) > self.thresholds


@torch.no_grad()
def logits(network: Classifier, images: UInt8[Tensor, "n size size"]) -> Float[Tensor, "n 14"]:
    """In parts, where the network is; given on the CPU."""
    device = next(network.parameters()).device
    return torch.cat([network(to_unit(part.to(device))).cpu() for part in images.split(BATCH)])


@torch.no_grad()
def features(network: Classifier, images: UInt8[Tensor, "n size size"]) -> Float[Tensor, "n d"]:
    """In parts, where the network is; given on the CPU."""
    device = next(network.parameters()).device
    return torch.cat([network.features(to_unit(part.to(device))).cpu() for part in images.split(BATCH)])


def augment(
    pictures: Float[Tensor, "batch 1 size size"], config: ClassifierConfig, generator: torch.Generator
) -> Float[Tensor, "batch 1 size size"]:
    """Moved (edges repeat), brightened or darkened, with noise; each picture by its own amount, but for the move."""
    batch, size, device = len(pictures), pictures.shape[-1], pictures.device
    reach = int(config.shift * size)
    if reach:
        padded = functional.pad(pictures, (reach,) * 4, mode="replicate")
        x, y = torch.randint(2 * reach + 1, (2,), generator=generator, device=device).tolist()
        pictures = padded[:, :, y : y + size, x : x + size]
    draw = torch.rand(2, batch, 1, 1, 1, generator=generator, device=device)
    light = (pictures + 1) * (1 + config.light * (2 * draw[0] - 1)) - 1
    return light + config.noise * draw[1] * torch.randn(pictures.shape, generator=generator, device=device)


def train_classifier(
    images: UInt8[Tensor, "n size size"],
    labels: Int[Tensor, "labels 14"],
    config: ClassifierConfig,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Classifier:
    """Train from nothing, or go on from a checkpoint; returns the EMA network, frozen, on the CPU.

    Raises:
        ValueError: no pictures, or not a label each.
        dcfm.trainers.loop.ResumeError: the checkpoint is of other pictures, settings or another seed.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"{len(images)} pictures and {len(labels)} labels; a classifier needs one of each, and some")
    torch.manual_seed(seed)
    network = Classifier(config.width, config.stem, config.norm).to(device)
    x, y = images.to(device), labels.to(device).float()

    def loss(moved: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(x), (config.loop.batch,), generator=generator, device=x.device)
        found = moved(augment(to_unit(x[rows]), config, generator))
        return {"loss": functional.binary_cross_entropy_with_logits(found, y[rows])}

    trained = fit(
        network,
        loss,
        config.loop,
        seed=seed,
        settings={
            "config": asdict(config),
            # The pictures, not their number: those of other weights are as many.
            "pictures": fingerprint([{"images": images, "labels": labels}]),
        },
        checkpoint=checkpoint,
        progress=progress,
    )
    assert isinstance(trained, Classifier)
    return trained.cpu().eval().requires_grad_(False)


def thresholds_at(
    scores: Float[Tensor, "n 14"], labels: Int[Tensor, "n 14"], specificity: float = 0.9
) -> Float[Tensor, " 14"]:
    """For each finding the least score of a picture without it that at least ``specificity`` of these do not exceed.

    Args:
        scores: of held-out pictures.
        labels: what they have.
        specificity: between 0 and 1.

    Raises:
        ValueError: a finding that every picture has.
    """
    if not 0 < specificity < 1:
        raise ValueError(f"specificity={specificity} lies between 0 and 1")
    found = []
    for i, finding in enumerate(FINDINGS):
        negatives = scores[labels[:, i] == 0, i].sort().values
        if not len(negatives):
            raise ValueError(
                f"every held-out picture has {finding}: no threshold can be set; bring pictures without it"
            )
        # Rounded up, so that the share of those below is at least what is asked for; exact shares must not round up.
        found.append(negatives[max(0, ceil(specificity * len(negatives) - 1e-9) - 1)])
    return torch.stack(found)


def save_classifier(folder: Path, trained: Classifier, thresholds: Tensor, config: ClassifierConfig) -> None:
    """Write the artefact: float32 weights (thresholds were set with them)."""
    weights = {f"network.{name}": value for name, value in trained.state_dict().items()} | {"thresholds": thresholds}
    artefacts.save(folder, weights, {"classifier": asdict(config)})


def load_classifier(folder: Path, *, device: torch.device | str = "cpu") -> Trained:
    """Read what :func:`save_classifier` wrote, onto ``device``.

    Raises:
        dcfm.artefacts.ArtefactError: nothing there, damaged, or no classifier.
    """
    found = artefacts.load(folder)
    try:
        given = found.config["classifier"]
        network = Classifier(given["width"], given["stem"], given["norm"])
        network.load_state_dict({k.removeprefix("network."): v for k, v in found.weights.items() if k != "thresholds"})
        thresholds = found.weights["thresholds"]
    except (KeyError, TypeError, RuntimeError) as error:
        raise artefacts.ArtefactError(
            f"{folder} is no classifier's artefact ({str(error).splitlines()[0]}); choose another folder"
        ) from error
    return Trained(network.to(device).eval().requires_grad_(False), thresholds, found.metadata)
