"""Sampling: latents are decoded where they are made, few at once where pictures are large."""

from dataclasses import replace

import pytest
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm_xray import synthesis
from dcfm_xray.encoders import Codec
from dcfm_xray.evaluation_settings import EvaluationSettings
from dcfm_xray.findings import FINDINGS
from dcfm_xray.problem import feasible_sets
from dcfm_xray.synthesis import residual_grain, synthesise

SETTINGS = EvaluationSettings(batch=32, evaluations=2)


class Noting:
    """A codec that notes how many pictures it is given at once."""

    def __init__(self, size: int) -> None:
        self.size, self.shape, self.fingerprint = size, (1, size // 8, size // 8), "noting"
        self.seen: list[int] = []

    def encode(self, pictures: Tensor) -> Tensor:
        return torch.zeros(len(pictures), *self.shape)

    def decode(self, latents: Tensor) -> Tensor:
        self.seen.append(len(latents))
        return latents.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, 0].mul(50).clamp(0, 255).to(torch.uint8)


def still(
    x: Float[Tensor, " batch *shape"],
    t: Float[Tensor, " batch"],
    y: Int[Tensor, "batch 14"],
    held: Bool[Tensor, "batch 14"] | None = None,
) -> Float[Tensor, " batch *shape"]:
    """A field that moves nothing."""
    return torch.zeros_like(x)


@pytest.mark.parametrize(("size", "parts"), [(32, [32, 18]), (64, [32, 18]), (128, [8, 8, 8, 8, 8, 8, 2])])
def test_large_pictures_are_decoded_few_at_once(size: int, parts: list[int]) -> None:
    codec = Noting(size)
    made = synthesise(still, codec, feasible_sets()[:10], 5, SETTINGS, seed=0, device=torch.device("cpu"))
    assert codec.seen == parts
    whole = synthesise(
        still, codec, feasible_sets()[:10], 5, replace(SETTINGS, batch=999), seed=0, device=torch.device("cpu")
    )
    assert torch.equal(made.images, whole.images)


def test_the_grain_of_large_pictures_is_measured_on_few_at_once() -> None:
    small, large = Noting(64), Noting(256)
    assert residual_grain(small, torch.full((300, 64, 64), 3, dtype=torch.uint8)) == 3
    assert residual_grain(large, torch.full((20, 256, 256), 3, dtype=torch.uint8)) == 3
    assert (small.seen, large.seen) == ([256, 44], [16, 4])


def test_pictures_are_decoded_on_the_device_that_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def note(codec: Codec, device: torch.device) -> Codec:
        asked.append(device)
        return codec

    monkeypatch.setattr(synthesis, "on_device", note)
    device = torch.device("cpu", 0)
    synthesise(still, Noting(32), torch.zeros(1, len(FINDINGS), dtype=torch.long), 1, SETTINGS, seed=0, device=device)
    residual_grain(Noting(32), torch.zeros(1, 32, 32, dtype=torch.uint8), device)
    assert asked == [device, device]
