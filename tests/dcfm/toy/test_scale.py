"""dcfm/toy/scale.py and scale_report.py: what the ledger counts, whose experts are asked for which combinations."""

import math

import pytest
import torch
from torch import Tensor

from dcfm.exchange import Exchange
from dcfm.toy.problem import make_problem
from dcfm.toy.scale import ScaleCell, count, recovery
from dcfm.toy.scale_report import own_share, table
from dcfm.toy.score import Sampling
from dcfm.toy.task import ToyTask
from dcfm.toy.training import Phase, Training
from dcfm.weights import Weights

TASK = ToyTask(2, 8, 1)
TRAINING = Training(8, 1, 16, stage_one=Phase(steps=2), peers=Phase(steps=2), student=Phase(steps=2))


def test_models_and_bytes_are_the_ledgers() -> None:
    """Two rounds, in which the first silo hears of one peer and the others of none; a number is no model."""
    weights, silos = TASK.network().state_dict(), ["a", "b", "c"]
    exchange = Exchange(silos, template=weights, space=TASK.space)
    for _ in range(2):
        exchange.allgather("weights", dict.fromkeys(silos, weights), {"a": ["a", "b"], "b": ["b"], "c": ["c"]})
        exchange.download("a", "scalars", {"loss": torch.tensor(1.0)})
    model, number = (exchange.ledger.messages[i].bytes for i in (0, -1))
    own = 4 * model + 2 * number
    assert count(exchange, 2) == {"models_held": 2, "bytes_a_silo": own, "bytes_of_all": own + 4 * model}


def moving(by: Tensor) -> Weights:
    """A network that moves every point by as much."""
    weights = {name: torch.zeros_like(value) for name, value in TASK.network().state_dict().items()}
    return weights | {list(weights)[-1]: by}


def test_recovery_is_of_the_experts_and_the_combinations_that_it_names() -> None:
    """Before the round all samples come to a known mode, after it to the novel one, but for one silo's."""
    cell = ScaleCell(3, 2, 0, 30, TRAINING, Sampling(2000, 1))
    problem = make_problem(cell.problem)
    known, novel = (problem.mixture.centres(rows)[0] for rows in (problem.observed, problem.missing))
    histograms = [silo.histogram(TASK.space) for silo in problem.silos]
    found = recovery(cell, problem, TASK, [moving(known)] * 3, [moving(novel)] * 3, histograms)
    share = 1 - math.exp(-(problem.mixture.radius**2) / 2)  # of standard normal noise around a mode's centre
    for name, there, elsewhere in (("all_experts", "novel", "known"), ("stage_one", "known", "novel")):
        shares = found[name]
        assert shares[there]["value"] == pytest.approx(share / (1 if there == "novel" else 3), abs=0.06)
        assert shares[elsewhere]["value"] < 0.1
        assert (shares["novel"]["n"], shares["known"]["n"]) == (2000, 6000)
        assert shares[there]["low"] < shares[there]["value"] < shares[there]["high"]
    own = found["own_experts"]
    assert (own["silos"], own["silos_that_hold_every_value"], len(own["shares"])) == (3, 3, 3)
    assert own["shares"][0]["novel"]["value"] == found["all_experts"]["novel"]["value"]


def test_a_line_of_the_table_is_its_record() -> None:
    def shares(known: float, novel: float) -> dict[str, dict[str, float]]:
        return {k: {"value": v, "low": v - 0.01, "high": v + 0.02} for k, v in (("known", known), ("novel", novel))}

    record = {
        "silos": 8,
        "peers": 2,
        "seed": 1,
        "models_held": 3,
        "bytes_held": 9000,
        "bytes_a_silo": 12_000,
        "cpu_seconds_a_silo": 1.234,
        "recovery": {
            "stage_one": shares(0.1, 0.2),
            "all_experts": shares(0.9, 0.8),
            "own_experts": {"shares": [shares(0.5, 0.4), shares(0.5, 0.7)]},
        },
    }
    assert own_share(record, "novel") == pytest.approx(0.55)
    assert table([record]).splitlines()[2] == (
        "| 8 | 2 | 1 | 3 | 9 | 12 | 1.23 | 90.0 [89.0, 92.0] | 80.0 [79.0, 82.0] | 20.0 [19.0, 22.0] | 55.0 |"
    )
