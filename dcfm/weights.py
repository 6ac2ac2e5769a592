"""Weights, ``dict[str, Tensor]`` as in a network's ``state_dict()``: of the declared architecture? finite? the same?"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

Weights = dict[str, Tensor]

NOT_IN_NUMPY: Final = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
"""Types whose bytes are told without it."""


def check_architecture(weights: Mapping[str, Tensor], template: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError`` unless the weights have the template's names and shapes; the text names what differs."""
    missing, extra = sorted(template.keys() - weights.keys()), sorted(weights.keys() - template.keys())
    reshaped = [
        f"{name} has shape {tuple(weights[name].shape)} instead of {tuple(template[name].shape)}"
        for name in template
        if name in weights and weights[name].shape != template[name].shape
    ]
    differences = [
        *(f"{name} is missing" for name in missing),
        *(f"{name} is unknown" for name in extra),
        *reshaped,
    ]
    if differences:
        more = f" and {len(differences) - 3} differences more" if len(differences) > 3 else ""
        raise ValueError(f"weights of another architecture: {'; '.join(differences[:3])}{more}")


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError`` if a tensor holds NaN or infinity."""
    bad = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if bad:
        raise ValueError(
            f"NaN or infinity in {', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''}: the training diverged; go back "
            "to an earlier checkpoint or lower the learning rate"
        )


def fingerprint(weights: Sequence[Mapping[str, Tensor]]) -> str:
    """SHA-256 over names, shapes and values: tells whether a training started from these weights."""
    digest = hashlib.sha256()
    for part in weights:
        for name in sorted(part):
            digest.update(f"{name}{tuple(part[name].shape)}".encode())
            value = part[name].detach().cpu().contiguous()
            if value.dtype in NOT_IN_NUMPY:
                value = value.reshape(-1).view(torch.uint8)
            digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def model_size(weights: Mapping[str, Tensor]) -> int:
    """The number of parameters."""
    return sum(tensor.numel() for tensor in weights.values())
