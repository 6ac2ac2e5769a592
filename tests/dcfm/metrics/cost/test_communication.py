"""Traffic is what the ledger lists, sent and received apart; protocols cost what their formulas say."""

import pytest
import torch

from dcfm.exchange import Exchange
from dcfm.metrics.cost import communication
from dcfm.metrics.cost.communication import Protocol, Traffic, traffic
from dcfm.metrics.cost.sent import message_bytes
from dcfm.silos import LabelHistogram

WEIGHTS = {"w": torch.zeros(3), "b": torch.zeros(())}


def histogram(rows: int) -> dict[str, torch.Tensor]:
    return LabelHistogram.from_labels(torch.arange(rows)[:, None], (rows + 1,)).state_dict()


def test_table_3() -> None:
    assert communication.federated_averaging_units(100) == 200
    assert communication.experts_units(10) == 9
    assert communication.peers_units(10, 2) == 20
    assert communication.student_units() == 2


def test_by_hand() -> None:
    exchange = Exchange(["a", "b", "c"], template=WEIGHTS)
    exchange.allgather("weights", dict.fromkeys(exchange.silos, WEIGHTS))
    exchange.upload("a", "weights", WEIGHTS)
    exchange.upload("a", "histogram", histogram(2))
    exchange.download("b", "weights", WEIGHTS)
    units = traffic(exchange.ledger, exchange.silos, "weights", "units")
    assert units == {"a": Traffic(2, 2), "b": Traffic(1, 3), "c": Traffic(1, 2)}
    assert {silo: both.total for silo, both in units.items()} == exchange.ledger.units()
    one = message_bytes(WEIGHTS)
    assert traffic(exchange.ledger, exchange.silos, "weights")["b"] == Traffic(one, 3 * one)
    assert traffic(exchange.ledger, exchange.silos, "histogram")["a"] == Traffic(message_bytes(histogram(2)), 0)
    assert traffic(exchange.ledger, exchange.silos, "scalars")["a"] == Traffic(0, 0)


@pytest.mark.parametrize("silos", [2, 5])
@pytest.mark.parametrize(
    "protocol",
    [
        communication.federated_averaging(4),
        communication.experts(),
        communication.peers(2),
        communication.student(),
        Protocol(),
    ],
)
def test_a_protocol_costs_what_it_says(protocol: Protocol, silos: int) -> None:
    names = [str(i) for i in range(silos)]
    histograms = {name: histogram(i + 1) for i, name in enumerate(names)}
    sizes = {name: message_bytes(payload) for name, payload in histograms.items()}
    exchange = Exchange(names, template=WEIGHTS)
    protocol.run(exchange, dict.fromkeys(names, WEIGHTS), histograms)
    assert traffic(exchange.ledger, names, "weights", "units") == dict.fromkeys(names, protocol.units(silos))
    for name, counted in traffic(exchange.ledger, names, "histogram").items():
        assert counted == protocol.histogram_bytes(sizes[name], sum(sizes.values()))


def test_how_the_paper_and_the_runs_differ() -> None:
    """An allgather is N models a silo: the experts cost one more than N - 1, DCFM-A a round more than R N."""
    assert communication.experts().units(7).received == communication.experts_units(7)
    assert communication.peers(2).units(7).total == communication.peers_units(7, 2 + 1)
    assert communication.student().units(7).total == communication.student_units()
    assert communication.federated_averaging(5).units(7).total == communication.federated_averaging_units(5)


def test_another_unit() -> None:
    with pytest.raises(ValueError, match="'units' or 'bytes'"):
        traffic(Exchange(["a"], template=WEIGHTS).ledger, ["a"], "weights", "values")
