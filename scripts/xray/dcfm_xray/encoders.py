"""Which autoencoder: ours (the shipped one, or a folder), or a pretrained ``AutoencoderKL`` of diffusers on this disk.

A pretrained one is read from a local folder with safetensors weights alone: nothing is downloaded, nothing unpickled.
"""

import copy
import importlib
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from torch import Tensor, nn

from dcfm.weights import fingerprint
from dcfm_xray.autoencoder import FACTOR, load_autoencoder, to_bytes, to_unit
from dcfm_xray.cache import Encoder


class EncoderError(ValueError):
    """No such autoencoder, or one that cannot be used here."""


@runtime_checkable
class Codec(Encoder, Protocol):
    """An encoder that decodes too."""

    def decode(self, latents: Float[Tensor, "batch latent height width"]) -> UInt8[Tensor, "batch size size"]: ...


class Pretrained(nn.Module):
    """A pretrained ``AutoencoderKL`` behind :class:`Codec`; grey pictures become three equal channels.

    Args:
        network: an ``AutoencoderKL``.
        size: pixels a side.
    """

    def __init__(self, network: Any, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size
        self.scale = float(network.config.scaling_factor)
        self.shift = float(getattr(network.config, "shift_factor", None) or 0.0)
        self.latent = int(network.config.latent_channels)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.latent, self.size // FACTOR, self.size // FACTOR)

    @property
    def fingerprint(self) -> str:
        return f"{self.size} {self.scale} {self.shift} {fingerprint([self.state_dict()])}"

    def encode(self, pictures: UInt8[Tensor, "batch size size"]) -> Float[Tensor, "batch latent height width"]:
        """The mean latents, shifted and scaled as the network's authors do."""
        mean = self.network.encode(to_unit(pictures).expand(-1, 3, -1, -1)).latent_dist.mean
        return (mean - self.shift) * self.scale

    def decode(self, latents: Float[Tensor, "batch latent height width"]) -> UInt8[Tensor, "batch size size"]:
        """Grey pictures: the mean of the three channels."""
        return to_bytes(self.network.decode(latents / self.scale + self.shift).sample.mean(dim=1, keepdim=True))


def load_codec(folder: Path | None, pretrained: Path | None, size: int) -> Codec:
    """The autoencoder of a training.

    Args:
        folder: of one of ours; the shipped one if ``None``.
        pretrained: folder of an ``AutoencoderKL`` (``config.json``, ``diffusion_pytorch_model.safetensors``) instead.
        size: pixels a side of the pictures.

    Raises:
        EncoderError: both were given, diffusers is not installed, pictures of another size, or a pretrained one that
            cannot be read or takes other pictures, or whose weights are not those that its configuration asks for.
        dcfm.artefacts.ArtefactError: ours is missing or damaged.
    """
    if pretrained is not None:
        if folder is not None:
            raise EncoderError(f"autoencoder={folder} and pretrained={pretrained}: give one of them")
        return _pretrained(pretrained, size)
    found = load_autoencoder(folder)
    if found.size != size:
        raise EncoderError(
            f"the autoencoder in {folder or 'the package'} takes {found.size} pixels, asked for are {size}; train one "
            f"with scripts/xray/train_autoencoder.py size={size}, or give pretrained="
        )
    return found


def on_device(codec: Codec, device: torch.device) -> Codec:
    """The codec where pictures are to be made: itself on the CPU, where it was loaded, else a copy, since caches are
    encoded with the one on the CPU."""
    if device.type == "cpu" or not isinstance(codec, nn.Module):
        return codec
    return copy.deepcopy(codec).to(device)


def _pretrained(folder: Path, size: int) -> Codec:
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise EncoderError(f"pretrained={folder} needs config.json and safetensors weights of an AutoencoderKL")
    if size % FACTOR:
        raise EncoderError(f"size={size}; a pretrained autoencoder takes multiples of {FACTOR}, such as 256")
    try:
        diffusers = importlib.import_module("diffusers")
    except ImportError as error:
        raise EncoderError(
            f"pretrained={folder} needs the package diffusers: pip install diffusers; or leave pretrained out"
        ) from error
    try:
        codec = Pretrained(_network(diffusers.AutoencoderKL, folder), size).eval().requires_grad_(False)
        with torch.no_grad():
            shape = tuple(codec.encode(torch.zeros(1, size, size, dtype=torch.uint8)).shape[1:])
    except (OSError, RuntimeError, SafetensorError) as error:
        raise EncoderError(
            f"pretrained={folder} cannot be used ({textwrap.shorten(str(error), 300)}); it needs config.json and "
            "diffusion_pytorch_model.safetensors (a variant such as fp16 under this name, too), readable and whole, of "
            "an AutoencoderKL of three channels"
        ) from error
    if shape != codec.shape:
        raise EncoderError(f"{folder} gives latents of {shape} from {size} pixels; expected are {codec.shape}")
    return codec


def _network(model: Any, folder: Path) -> Any:
    """The ``AutoencoderKL`` in a folder, with all of its weights."""
    network, said = model.from_pretrained(
        str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    # diffusers only warns, and draws by chance what is missing.
    if wrong := [_keys(kind, said) for kind in ("missing", "unexpected", "mismatched") if said[f"{kind}_keys"]]:
        raise EncoderError(
            f"the weights in pretrained={folder} are not those of the AutoencoderKL in its config.json: "
            f"{', '.join(wrong)}; take both from one model, converted for diffusers"
        )
    return network


def _keys(kind: str, said: Mapping[str, Sequence[Any]]) -> str:
    """How many keys diffusers says are so, and the first, e.g. ``2 unexpected (vae.conv_in.bias, ...)``."""
    names = sorted(map(str, said[f"{kind}_keys"]))
    return f"{len(names)} {kind} ({names[0]}{', ...' if names[1:] else ''})"
