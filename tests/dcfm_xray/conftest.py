"""A small autoencoder in a folder, and the configuration of a training that takes seconds."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from dcfm_xray.autoencoder import Autoencoder, AutoencoderConfig, save_autoencoder

SMALL = [
    "images=1500",
    "test_share=0.4",
    "silos=2",
    "partition=iid",
    "workers=0",
    "device=cpu",
    "task.size=32",
    "task.latent=2",
    "task.channels=[8]",
    "task.condition=8",
    "task.heads=1",
    "stage_one.loop.steps=2",
    "stage_one.loop.batch=8",
    "peers.loop.steps=2",
    "peers.loop.batch=8",
    "student.loop.steps=2",
    "student.replay.paths=4",
    "student.replay.steps=2",
    "further.loop.steps=2",
]


def nih_sample() -> Path:
    """The folder of 621 real images: ``data/nih_chestxray14_sample``, or what ``DCFM_NIH_SAMPLE`` names. Skips where
    there is none."""
    folder = Path(os.environ.get("DCFM_NIH_SAMPLE", "data/nih_chestxray14_sample"))
    if not folder.is_dir():
        pytest.skip(f"there are no real X-rays in {folder} (DCFM_NIH_SAMPLE names another folder)")
    return folder.resolve()


@pytest.fixture(scope="session")
def small_autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one for 32 pixels, with weights drawn by chance."""
    torch.manual_seed(0)
    network, folder = Autoencoder(32, 2, (8, 8, 16)), tmp_path_factory.mktemp("autoencoder")
    save_autoencoder(network, folder, AutoencoderConfig(size=32, latent=2, channels=(8, 8, 16)), {})
    return folder


@pytest.fixture(scope="session")
def configuration(small_autoencoder: Path) -> Callable[..., DictConfig]:
    """Composes configs/xray/train.yaml with overrides, small unless another preset is asked for."""

    def make(*overrides: str, preset: str | None = None) -> DictConfig:
        small = [*SMALL, f"autoencoder={small_autoencoder}"] if preset is None else []
        with initialize_config_module("dcfm_configs.xray", version_base="1.3"):
            return compose("train", overrides=[f"preset={preset or 'quick'}", *small, *overrides])

    return make
