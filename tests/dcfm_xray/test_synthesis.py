"""Sampling: latents are decoded where they are made, few at once where pictures are large."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import Bool, Float, Int
from omegaconf import DictConfig
from torch import Tensor

from dcfm.methods.sampling import CANDIDATES
from dcfm.metrics.manifold import membership
from dcfm.silos import LabelHistogram
from dcfm_xray import synthesis
from dcfm_xray.classifier import Classifier, Trained, features
from dcfm_xray.encoders import Codec
from dcfm_xray.evaluation_settings import EvaluationSettings
from dcfm_xray.findings import FINDINGS, SPACE
from dcfm_xray.models import load, publish
from dcfm_xray.problem import Pictures, feasible_sets
from dcfm_xray.synthesis import add_grain, choose, residual_grain, synthesise
from dcfm_xray.training import prepare

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
    two = torch.tensor([0, 4], dtype=torch.uint8)[:, None, None].expand(2, 64, 64)
    assert residual_grain(small, two) == pytest.approx(8**0.5)  # of all pixels, not a mean of pictures' own


def test_grain_ends_at_black_and_white() -> None:
    black = torch.zeros(1, 64, 64, dtype=torch.uint8)
    assert add_grain(black, 9.0, 0).max() < 60
    assert add_grain(255 - black, 9.0, 0).min() > 195


def test_each_set_has_noise_of_its_own_from_the_seed() -> None:
    sets = feasible_sets()[:3]

    def made(which: Tensor, seed: int, grain: float = 0.0) -> Pictures:
        return synthesise(still, Noting(32), which, 4, SETTINGS, seed=seed, device=torch.device("cpu"), grain=grain)

    together, alone = made(sets, 0), made(sets[1:2], 0)
    assert torch.equal(together.labels, sets.repeat_interleave(4, dim=0))
    assert torch.equal(together.images[4:8], alone.images)
    assert not torch.equal(together.images[:4], together.images[4:8])
    assert not torch.equal(together.images, made(sets, 1).images)
    grains = []
    for seed in (0, 1):
        plain, grainy = (made(sets, seed, grain).images.float() for grain in (0.0, 5.0))
        inside = (plain > 30) & (plain < 225)  # nothing is cut off there
        assert (grainy - plain)[inside].std() == pytest.approx(5, rel=0.1)
        grains.append((grainy - plain).where(inside, 0))
    assert not torch.equal(*(grain.sign() * (grains[0] * grains[1] != 0) for grain in grains))


def test_a_diverged_model_is_an_error() -> None:
    with pytest.raises(ValueError, match="not finite"):
        synthesise(
            lambda x, t, y, held=None: x * torch.inf,
            Noting(32),
            feasible_sets()[:1],
            1,
            SETTINGS,
            seed=0,
            device=torch.device("cpu"),
        )


def test_a_success_is_seen_and_lies_among_the_others_by_the_worse_of_two_rules(
    configuration: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """The judge sees everything, or nothing: then real pictures alone count."""
    ready = prepare(configuration())
    torch.manual_seed(0)
    networks = [ready.task.network() for _ in range(2)]
    for parameter in (parameter for network in networks for parameter in network.parameters()):
        if not parameter.any():  # a new network's last layer, without which all make the same pictures
            torch.nn.init.normal_(parameter, std=0.3)
    sets = feasible_sets()[1:9]
    histograms = [LabelHistogram.from_labels(part, SPACE.cardinalities) for part in (sets[:6], sets[3:])]
    training = {"seed": 0}
    weights = [network.state_dict() for network in networks]
    publish(tmp_path, weights, histograms, ready.task, method="dcfm_a", partition="iid", training=training)
    model, network = load(tmp_path, "cpu"), Classifier(8).eval()
    cpu, first = torch.device("cpu"), model.sampled(CANDIDATES["joint"])
    reference = synthesise(first, ready.codec, sets, 3, SETTINGS, seed=1, device=cpu)
    settings = EvaluationSettings(selection_each=4, evaluations=2, rules=("joint", "composed"), selection_seed=7)

    def scores(threshold: float) -> dict[str, tuple[int, int]]:
        judge = Trained(network, torch.full((14,), threshold), {})
        return dict(choose(model, ready.codec, judge, reference, sets, settings).scores)

    counted = {}
    for name in ("joint", "composed, w = 1"):
        field = model.sampled(CANDIDATES[name])
        made = synthesise(field, ready.codec, sets, 4, settings, seed=7, device=cpu)
        inside = membership(features(network, made.images), features(network, reference.images))
        counted[name] = (int(inside.real.sum()), int(inside.generated.sum()))
    eager, shy = scores(-99.0), scores(99.0)
    assert {n for _, n in eager.values()} == {4 * 8 + 24}
    assert shy["composed, w = 1"][0] == counted["composed, w = 1"][0]
    assert eager["composed, w = 1"][0] == sum(counted["composed, w = 1"])
    assert eager["joint"][0] == min(map(sum, counted.values()))


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
