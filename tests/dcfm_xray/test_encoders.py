"""Which autoencoder is taken, and what is refused; the shipped one keeps what it says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dcfm.artefacts import load
from dcfm_xray.autoencoder import Autoencoder, load_autoencoder, read_all, shipped_autoencoder
from dcfm_xray.cache import encode
from dcfm_xray.encoders import Codec, EncoderError, load_codec, on_device
from dcfm_xray.findings import FINDINGS
from dcfm_xray.reconstruction import measure, picture, reconstruct
from dcfm_xray.sources import PhantomSource


def test_the_shipped_one_is_small_and_keeps_phantoms() -> None:
    folder = shipped_autoencoder()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
    codec = load_codec(None, None, 64)
    assert isinstance(codec, Codec)
    pictures = read_all(PhantomSource(48, seed=7), 64)
    latents = codec.encode(pictures)
    assert latents.shape[1:] == codec.shape == (4, 8, 8)
    assert 0.7 < float(latents.std()) < 1.3
    error = (reconstruct(codec, pictures).float() - pictures.float()).abs().mean()
    assert error < 5.0  # grey levels of 255; the phantoms' own noise is about 3
    kept = load(folder).metadata["metrics"]["contrast_kept"]
    assert all(kept[finding]["low"] > 0.6 for finding in FINDINGS)  # no finding is lost at 64 pixels


def test_measure_and_picture(small_autoencoder: Path, tmp_path: Path) -> None:
    network = load_autoencoder(small_autoencoder)
    found = measure(network, measured=4, contrasts=2, seed=3)
    assert found["error"]["n"] == 4
    assert set(found["contrast_kept"]) == set(FINDINGS)
    picture(network, tmp_path / "findings.png", seed=3)
    assert (tmp_path / "findings.png").is_file()
    with pytest.raises(ValueError, match="contrasts=1"):
        measure(network, measured=4, contrasts=1, seed=3)


class Exact:
    """An encoder that loses nothing."""

    size, shape, fingerprint = 32, (1, 32, 32), "exact"

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures[:, None].float()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents[:, 0].to(torch.uint8)


def test_an_exact_codec_keeps_everything() -> None:
    found = measure(Exact(), measured=3, contrasts=2, seed=1)
    assert found["error"]["value"] == 0
    for kept in found["contrast_kept"].values():
        assert kept["value"] == pytest.approx(1)


def test_what_is_refused(small_autoencoder: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="takes 32 pixels"):
        load_codec(small_autoencoder, None, 64)
    with pytest.raises(EncoderError, match="one of them"):
        load_codec(small_autoencoder, tmp_path, 32)
    with pytest.raises(EncoderError, match="safetensors weights"):
        load_codec(None, tmp_path, 256)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    with pytest.raises(EncoderError, match="multiples of 8"):
        load_codec(None, tmp_path, 100)
    try:
        import diffusers  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        with pytest.raises(EncoderError, match="pip install diffusers"):
            load_codec(None, tmp_path, 256)


def save_pretrained(folder: Path, levels: int = 4, **others: Any) -> None:
    """An ``AutoencoderKL`` with weights drawn by chance, as diffusers saves it, where diffusers is installed."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels}
    small = {"block_out_channels": [8] * levels, "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4}
    diffusers.AutoencoderKL(**blocks, **small, **others).save_pretrained(folder)


def test_a_pretrained_one_from_disk(tmp_path: Path) -> None:
    save_pretrained(tmp_path)
    codec = load_codec(None, tmp_path, 32)
    assert isinstance(codec, Codec)
    pictures = read_all(PhantomSource(3, seed=7), 32)
    latents = codec.encode(pictures)
    assert latents.shape[1:] == codec.shape == (4, 4, 4)
    assert codec.decode(latents).shape == pictures.shape
    assert load_codec(None, tmp_path, 32).fingerprint == codec.fingerprint
    (found,) = encode(PhantomSource(8, seed=7), torch.arange(8), codec, tmp_path / "cache", workers=0).latents[:1]
    assert torch.allclose(found.float(), latents[0], atol=1e-2)  # float16
    save_pretrained(tmp_path / "another", levels=2)
    with pytest.raises(EncoderError, match=r"gives latents of \(4, 16, 16\)"):
        load_codec(None, tmp_path / "another", 32)


def test_weights_that_are_missing_are_not_drawn_by_chance(tmp_path: Path) -> None:
    """As of a model whose weights have names of their own, which diffusers warns of alone."""
    save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    save_file({key.replace("encoder.conv_in", "vae.conv_in"): value for key, value in weights.items()}, path)
    with pytest.raises(EncoderError, match=r"2 missing \(encoder\.conv_in\.bias, \.\.\.\), 2 unexpected \(vae"):
        load_codec(None, tmp_path, 32)


def test_shift_and_scale_are_those_of_the_configuration(tmp_path: Path) -> None:
    """Both are part of the fingerprint: with others, latents of the same weights are others."""
    save_pretrained(tmp_path / "plain", scaling_factor=1.0)
    save_pretrained(tmp_path / "scaled", scaling_factor=0.5)
    save_pretrained(tmp_path / "shifted", scaling_factor=0.5, shift_factor=0.25)
    plain, scaled, shifted = (load_codec(None, tmp_path / name, 32) for name in ("plain", "scaled", "shifted"))
    assert len({plain.fingerprint, scaled.fingerprint, shifted.fingerprint}) == 3
    pictures = read_all(PhantomSource(2, seed=7), 32)
    latents = plain.encode(pictures)
    assert torch.allclose(shifted.encode(pictures), (latents - 0.25) * 0.5)
    assert torch.equal(shifted.decode((latents - 0.25) * 0.5), plain.decode(latents))


def test_what_cannot_be_read_or_used_is_told_in_words(tmp_path: Path) -> None:
    """Which error there is below depends on what is wrong; none is about room on the disk, none a traceback."""
    for name in ("variant", "cut", "grey"):
        save_pretrained(tmp_path / name, **({"in_channels": 1} if name == "grey" else {}))
    file = "diffusion_pytorch_model.safetensors"
    (tmp_path / "variant" / file).rename(tmp_path / "variant" / "diffusion_pytorch_model.fp16.safetensors")
    (tmp_path / "cut" / file).write_bytes((tmp_path / "cut" / file).read_bytes()[:5000])
    for name in ("variant", "cut", "grey"):
        with pytest.raises(EncoderError, match=rf"pretrained=.*{name} cannot be used \(.*of three channels"):
            load_codec(None, tmp_path / name, 32)


class Moved(Autoencoder):
    """One that notes where it is asked to go, without a device there."""

    where = "here"

    def to(self, device: torch.device) -> "Moved":  # type: ignore[override]
        self.where = str(device)
        return self


def test_a_codec_is_copied_to_another_device() -> None:
    codec = Moved()
    assert on_device(codec, torch.device("cpu")) is codec
    copied = on_device(codec, torch.device("cuda"))
    assert isinstance(copied, Moved)
    assert (copied.where, codec.where) == ("cuda", "here")
