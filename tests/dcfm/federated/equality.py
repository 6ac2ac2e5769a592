"""What a federated run must equal: the in-process federation with the same settings, bit for bit."""

from pathlib import Path

import torch

from dcfm.artefacts import load
from dcfm.decentralized import Federation
from dcfm.federated.server import serve
from dcfm.federated.settings import composed, read_settings
from dcfm.federated.tasks import read_task
from dcfm.methods import registry
from tests.dcfm.federated.grid import LocalGrid


def in_process(overrides: tuple[str, ...], out: Path):
    """Experts and ledger of :class:`Federation` with the same settings."""
    config = composed(overrides)
    settings, problem = read_settings(config), read_task(config)
    federation = Federation(problem.task, problem.deal(), out, settings.seed, workers=0)
    method = registry.make(settings.protocol)
    exchange = method.exchange(federation)
    return method.train(federation, problem.recipe, exchange), exchange.ledger


def federated(out: Path) -> list[dict[str, torch.Tensor]]:
    return [load(folder).weights for folder in sorted((out / "result").iterdir())]


def assert_equal(some, others) -> None:
    assert len(some) == len(others)
    for a, b in zip(some, others, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)


def assert_run_equals_in_process(overrides: tuple[str, ...], out: Path) -> Path:
    """Run the app over ``out/federated`` and compare; returns the published folder."""
    given = (*overrides, f"out={out / 'federated'}")
    config = composed(given)
    serve(LocalGrid(given), config)
    assert_equal(federated(out / "federated"), in_process(given, out / "in_process")[0])
    return out / "federated/published" / config.protocol
