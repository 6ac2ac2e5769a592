"""Every test runs with tensor types and shapes checked, on one thread, on a device and in a precision of choice."""

import os

import pytest
import torch
from jaxtyping import install_import_hook

os.environ.setdefault("MUJOCO_GL", "disable")  # before mujoco is imported
install_import_hook(("dcfm", "dcfm_images", "dcfm_xray", "dcfm_planner", "dcfm_envs"), "beartype.beartype")
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="torch device that the tests run on")
    parser.addoption(
        "--dtype", default="float32", choices=("float32", "float64"), help="floating-point type of samples"
    )


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.config.getoption("--device"))


@pytest.fixture
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return getattr(torch, request.config.getoption("--dtype"))


@pytest.fixture
def generator() -> torch.Generator:
    """Chance of the CPU, the same in every test."""
    return torch.Generator().manual_seed(0)
