"""What every registered method sends is what its formula says, to the byte, and what is simulated is what is sent."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from dcfm.exchange import Exchange, Ledger
from dcfm.methods import registry
from dcfm.metrics.cost.communication import Traffic
from dcfm.metrics.cost.sent import CURVES, SENT, measure_sent, simulate, small_recipe, toy_silos


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cost")


@pytest.mark.parametrize("silos", [2, 4])
@pytest.mark.parametrize("attributes", [2, 3])
@pytest.mark.parametrize("method", SENT)
def test_ledger_equals_formula(method: str, attributes: int, silos: int, out: Path) -> None:
    row = measure_sent(method, toy_silos(attributes, silos), out / f"{attributes}-{silos}", 3, 2)
    assert row.equal is True
    assert row.measured_units == row.as_run_units
    assert row.weight_bytes == Traffic(
        row.measured_units.sent * row.message_bytes, row.measured_units.received * row.message_bytes
    )
    if row.equal_paper is False:
        assert row.why, "a number that is not the paper's needs its reason"


def test_every_shipped_method_has_a_formula() -> None:
    """Others, which a user may have added, are measured without one."""
    experts = {f"{name}{local}" for name in ("fedflow", "ddm", "dfd") for local in ("", "_l")}
    assert set(SENT) == experts | {"dcfm_a", "dcfm_b", "dcfm_b_r", "factored", "pooled"}
    assert set(SENT) <= set(registry.names())


def test_the_papers_numbers(out: Path) -> None:
    """Federated averaging and DCFM-B send what Table 3 says; DDM one more, DCFM-A an allgather more."""
    silos = toy_silos(2, 4)
    rows = {name: measure_sent(name, silos, out / "2-4", 3, 2) for name in ("fedflow", "ddm", "dcfm_a", "dcfm_b")}
    assert {name: row.paper_units for name, row in rows.items()} == {"fedflow": 6, "ddm": 3, "dcfm_a": 8, "dcfm_b": 2}
    more = {name: row.measured_units.total - (row.paper_units or 0) for name, row in rows.items()}
    assert more == {"fedflow": 0, "ddm": 1, "dcfm_a": 4, "dcfm_b": 0}


@pytest.mark.parametrize("name", CURVES)
def test_the_simulation_sends_the_messages_of_the_method(name: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledgers: list[Ledger] = []
    create = Exchange.__init__

    def note(self: Exchange, *arguments: object, **options: object) -> None:
        create(self, *arguments, **options)  # type: ignore[arg-type]
        ledgers.append(self.ledger)

    monkeypatch.setattr(Exchange, "__init__", note)
    measure_sent(CURVES[name], toy_silos(2, 3), out / "2-3", 1, 2)
    simulate(name, 3, 1, 2)
    trained, simulated = (Counter((m.silo, m.direction, m.peer, m.kind) for m in ledger.messages) for ledger in ledgers)
    assert trained == simulated


@pytest.mark.parametrize("name", CURVES)
def test_curve(name: str) -> None:
    row = simulate(name, 20, 100, 2)
    expected = {"FedFlow": 200, "DDM, DFD": 20, "DCFM-A": 60, "DCFM-B": 2}[name]
    assert (row.measured_units, row.total_units, row.equal) == (expected, 20 * expected, True)


def test_unknown_protocols() -> None:
    with pytest.raises(ValueError, match="at least two"):
        simulate("DCFM-A", 1, 1, 1)
    with pytest.raises(ValueError, match="one of FedFlow"):
        simulate("gossip", 2, 1, 1)


@pytest.mark.parametrize("attributes", [2, 14])
def test_toy_silos(attributes: int) -> None:
    silos = toy_silos(attributes, 4)
    assert len(silos) == 4
    assert silos[0].labels.shape[1] == attributes
    assert torch.equal(silos[0].labels, toy_silos(attributes, 4)[0].labels)
    assert small_recipe(3, 2).fedavg.rounds == 3
