"""The protocols over the real client app equal the in-process federation, bit for bit."""

from pathlib import Path

import pytest
import torch

from dcfm.artefacts import load
from dcfm.decentralized import Federation
from dcfm.exchange import Ledger
from dcfm.federated.server import serve
from dcfm.federated.settings import composed, read_settings
from dcfm.federated.tasks import read_task
from dcfm.methods import registry
from dcfm.published import load_published, resolve_device
from dcfm.toy.task import ToyTask
from tests.dcfm.federated.grid import TINY, LocalGrid


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


@pytest.mark.parametrize("protocol", ["dcfm_a", "dcfm_b", "fedflow", "fedflow_l"])
def test_equals_the_in_process_federation(protocol: str, tmp_path: Path) -> None:
    overrides = (f"protocol={protocol}", "silos=3", "problem.attributes=3", f"out={tmp_path / 'f'}", "seed=4", *TINY)
    serve(LocalGrid(overrides), composed(overrides))
    experts, ledger = in_process(overrides, tmp_path / "p")
    assert_equal(federated(tmp_path / "f"), experts)
    own = Ledger.from_jsonl(tmp_path / "f" / "ledger.jsonl", ledger.model_size)
    last = {"fedflow": 1.0, "fedflow_l": 1.0}.get(protocol, 0.0)  # delivery of the average, which stays put in process
    assert own.units() == {silo: units + last for silo, units in ledger.units().items()}
    sampled = load_published(
        tmp_path / "f/published" / protocol, lambda s: ToyTask(**s), resolve_device("cpu"), what="toy"
    )
    assert sampled.field().__call__(torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 3, dtype=torch.long)).shape == (
        2,
        3,
    )


def test_a_silo_can_distil(tmp_path: Path) -> None:
    overrides = ("distil_on=silo1", f"out={tmp_path / 'f'}", *TINY)
    serve(LocalGrid(overrides), composed(overrides))
    assert_equal(federated(tmp_path / "f"), in_process(overrides, tmp_path / "p")[0])
