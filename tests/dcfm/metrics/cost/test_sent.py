"""What every registered method sends is what its formula says, to the byte, and what is simulated is what is sent."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcfm.exchange import Exchange, Ledger
from dcfm.methods import registry
from dcfm.metrics.cost.communication import Protocol, Traffic
from dcfm.metrics.cost.sent import CURVES, SENT, measure_sent, simulate, small_recipe, toy_silos
from dcfm.silos import LabelHistogram
from dcfm.toy.task import ToyTask


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


@pytest.mark.parametrize(
    "off", [Protocol(1, 2, 0, 1), Protocol(2, 1, 0, 1), Protocol(1, 1, 1, 1), Protocol(1, 1, 0, 2)]
)
def test_a_formula_that_is_off_is_not_equal(off: Protocol, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SENT, "dcfm_b", replace(SENT["dcfm_b"], protocol=lambda t, r: off))
    assert measure_sent("dcfm_b", toy_silos(2, 2), out / "2-2", 3, 2).equal is False


def test_a_simulation_that_is_not_as_its_formula_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Protocol, "units", lambda self, silos: Traffic(7, 7))
    assert simulate("DCFM-B", 3, 1, 1).equal is False


def test_unknown_protocols() -> None:
    with pytest.raises(ValueError, match="at least two"):
        simulate("DCFM-A", 1, 1, 1)
    with pytest.raises(ValueError, match="one of FedFlow"):
        simulate("gossip", 2, 1, 1)


@pytest.mark.parametrize("attributes", [2, 14])
def test_toy_silos(attributes: int) -> None:
    silos = toy_silos(attributes, 4)
    assert len(silos) == 4
    held = LabelHistogram.merge([silo.histogram(ToyTask(attributes).space) for silo in silos])
    assert len(held.combinations) == {2: 3, 14: 48}[attributes]  # a quarter of 4, or of 64, is missing
    assert silos[0].labels.shape[1] == attributes
    assert torch.equal(silos[0].labels, toy_silos(attributes, 4)[0].labels)
    assert small_recipe(3, 2).fedavg.rounds == 3
