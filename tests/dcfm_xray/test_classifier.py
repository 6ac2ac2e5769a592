"""The classifier: it is ResNet-18, it learns, its thresholds keep the specificity, its artefact round-trips."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcfm.artefacts import ArtefactError
from dcfm.trainers.loop import LoopConfig
from dcfm_xray.classifier import (
    Classifier,
    ClassifierConfig,
    augment,
    features,
    load_classifier,
    logits,
    save_classifier,
    thresholds_at,
    train_classifier,
)

SMALL = ClassifierConfig(width=8, loop=LoopConfig(steps=25, batch=16, learning_rate=6e-3, warmup=4, ema=0.8))


def test_it_is_resnet_18() -> None:
    network = Classifier(64, "large", "batch")
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size != (1, 1)]
    assert len(convolutions) + 1 == 18  # and the linear head
    # torchvision's has 11,689,512 parameters with three input channels and 1,000 classes.
    ours = sum(p.numel() for p in network.parameters())
    assert ours == 11_689_512 - 2 * 64 * 49 - (512 * 1000 + 1000) + (512 * 14 + 14)
    assert network.body(torch.zeros(1, 1, 224, 224)).shape == (1, 512, 7, 7)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_it_learns_two_findings(generator: torch.Generator, norm: str) -> None:
    labels = torch.zeros(96, 14, dtype=torch.long)
    labels[:, :2] = torch.randint(2, (96, 2), generator=generator)
    images = torch.full((96, 32, 32), 100, dtype=torch.uint8)
    images[:, :10] += (90 * labels[:, 0, None, None]).to(torch.uint8)
    images[:, 20:] += (90 * labels[:, 1, None, None]).to(torch.uint8)
    network = train_classifier(images, labels, replace(SMALL, norm=norm))
    scores = logits(network, images)
    predicted = scores > thresholds_at(scores, labels)
    assert (predicted[:, :2] == labels[:, :2].bool()).float().mean() > 0.9
    assert features(network, images).shape == (96, 64)


def test_thresholds_by_hand() -> None:
    scores = torch.arange(10.0)[:, None].expand(10, 14).clone()
    labels = torch.zeros(10, 14, dtype=torch.long)
    assert thresholds_at(scores, labels).tolist() == [8.0] * 14  # nine of ten negatives do not exceed it
    labels[9] = 1
    assert thresholds_at(scores, labels, 2 / 3).tolist() == [5.0] * 14  # six of nine
    with pytest.raises(ValueError, match="Atelectasis"):
        thresholds_at(scores, torch.ones(10, 14, dtype=torch.long))


def test_specificity_is_kept(generator: torch.Generator) -> None:
    scores = torch.randn(501, 14, generator=generator)
    labels = (torch.rand(501, 14, generator=generator) < 0.3).long()
    said = scores > thresholds_at(scores, labels, 0.9)
    for i in range(14):
        negatives = said[labels[:, i] == 0, i]
        assert 0.9 - 1e-6 <= float((~negatives).float().mean()) < 0.9 + 1 / len(negatives) + 1e-6


def test_augmentation_keeps_the_shape_and_can_be_nothing(generator: torch.Generator) -> None:
    pictures = torch.rand(4, 1, 32, 32, generator=generator)
    assert augment(pictures, SMALL, generator).shape == pictures.shape
    still = replace(SMALL, shift=0.0, light=0.0, noise=0.0)
    torch.testing.assert_close(augment(pictures, still, generator), pictures)


def test_augmentation_moves_brightens_and_adds_noise(generator: torch.Generator) -> None:
    """Each picture by its own amount, but for the move, which is the batch's."""
    still = replace(SMALL, shift=0.0, light=0.0, noise=0.0)
    black = torch.full((64, 1, 20, 20), -1.0)
    brighter = replace(still, light=0.2)
    assert (augment(black, brighter, generator) == -1).all()
    factor = (augment(black + 1, brighter, generator) + 1).flatten(1)
    assert factor.std(1).max() < 1e-6
    assert 0.8 <= factor.min() < 0.85
    assert 1.15 < factor.max() <= 1.2
    spread = (augment(black, replace(still, noise=0.1), generator) - black).flatten(1).std(1)
    assert spread.min() < 0.02
    assert 0.08 < spread.max() < 0.12
    place = torch.arange(400.0).reshape(1, 1, 20, 20)
    seen = [divmod(int(augment(place, replace(still, shift=0.1), generator)[0, 0, 10, 10]), 20) for _ in range(60)]
    assert {y for y, _ in seen} == {x for _, x in seen} == {*range(8, 13)}


def test_artefact(tmp_path: Path) -> None:
    network, thresholds = Classifier(8), torch.randn(14)
    save_classifier(tmp_path / "made", network, thresholds, SMALL)
    found = load_classifier(tmp_path / "made")
    assert torch.equal(found.thresholds, thresholds)
    images = torch.randint(256, (3, 32, 32), dtype=torch.uint8)
    assert torch.equal(found.predict(images), logits(network.eval(), images) > thresholds)
    at = replace(found, thresholds=logits(found.network, images[:1])[0])
    assert not at.predict(images[:1]).any()  # what is predicted lies above
    assert not found.network.training
    with pytest.raises(ArtefactError, match="no artefact"):
        load_classifier(tmp_path / "nothing")


@pytest.mark.parametrize("change", [{"stem": "wide"}, {"norm": "none"}, {"width": 12}, {"shift": 1.0}, {"noise": -1.0}])
def test_bad_settings_are_refused(change: dict[str, float | str]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SMALL, **change)


def test_pictures_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="1 labels"):
        train_classifier(torch.zeros(2, 32, 32, dtype=torch.uint8), torch.zeros(1, 14, dtype=torch.long), SMALL)
