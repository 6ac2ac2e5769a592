"""The autoencoder: shapes, finite gradients, learning, constants of its latents, and its artefact."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dcfm.artefacts import ArtefactError
from dcfm.trainers.loop import LoopConfig
from dcfm_xray.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    draw_training,
    load_autoencoder,
    read_all,
    reconstruction_loss,
    save_autoencoder,
    standardise,
    to_bytes,
    to_unit,
    train_autoencoder,
)
from dcfm_xray.cache import Encoder
from dcfm_xray.sources import PhantomSource

SMALL = AutoencoderConfig(
    size=32, latent=2, channels=(8, 8, 16), images=48, loop=LoopConfig(steps=60, batch=8, learning_rate=4e-3, warmup=5)
)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return read_all(PhantomSource(24, seed=5), 32)


def test_bytes_and_unit_are_inverse(generator: torch.Generator) -> None:
    pictures = torch.randint(256, (3, 8, 8), generator=generator, dtype=torch.uint8)
    assert torch.equal(to_bytes(to_unit(pictures)), pictures)


def test_an_encoder_for_the_cache(pictures: Tensor) -> None:
    network = Autoencoder(32, 2, (8, 8, 16))
    assert isinstance(network, Encoder)
    latents = network.encode(pictures)
    assert latents.shape[1:] == network.shape == (2, 4, 4)
    assert network.decode(latents).shape == pictures.shape


def test_every_parameter_gets_a_gradient(pictures: Tensor, generator: torch.Generator) -> None:
    network = Autoencoder(32, 2, (8, 8, 16))
    for parameter in network.parameters():  # zero-initialised layers hide the ones before them
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    noise = torch.randn(24, *network.shape, generator=generator)
    reconstruction_loss(network, to_unit(pictures), SMALL, noise)["loss"].backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_training_halves_the_error_of_a_mean_picture(pictures: Tensor) -> None:
    network = train_autoencoder(SMALL)
    seen = to_unit(pictures)
    error = (to_unit(network.decode(network.encode(pictures))) - seen).abs().mean()
    assert error < 0.7 * (seen.mean() - seen).abs().mean()
    latents = network.encode(draw_training(SMALL))
    assert torch.allclose(latents.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-4)
    assert torch.allclose(latents.std(dim=(0, 2, 3)), torch.ones(2), atol=1e-4)


def test_constants_change_latents_and_not_pictures(pictures: Tensor) -> None:
    network = Autoencoder(32, 2, (8, 8, 16)).eval()
    before = network.decode(network.encode(pictures))
    mark = network.fingerprint
    standardise(network, pictures)
    assert (network.decode(network.encode(pictures)).int() - before.int()).abs().max() <= 1
    assert network.fingerprint != mark


def test_it_comes_back_from_disk(tmp_path: Path, pictures: Tensor) -> None:
    network = standardise(Autoencoder(32, 2, (8, 8, 16)).eval(), pictures)
    save_autoencoder(network, tmp_path / "weights", SMALL, {"error": 0.5})
    found = load_autoencoder(tmp_path / "weights")
    assert torch.allclose(found.encode(pictures), network.encode(pictures), atol=2e-2)  # float16
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_another_artefact_is_refused(tmp_path: Path) -> None:
    from dcfm import artefacts

    artefacts.save(tmp_path, {"weight": torch.zeros(2)}, {"what": "else"})
    with pytest.raises(ArtefactError, match="no autoencoder"):
        load_autoencoder(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"size": 30}, {"latent": 0}, {"channels": (8, 8)}, {"channels": (8, 8, 9)}, {"noise": -1.0}, {"findings": 1.0}],
)
def test_settings_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(SMALL, **wrong)  # type: ignore[arg-type]
