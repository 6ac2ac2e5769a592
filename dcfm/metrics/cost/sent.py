"""Communication, measured: every registered method trains a few steps on the toy, and its exchange's ledger is set
beside Table 3 and beside the formula of what this package sends; then the exchange alone, without training, among up to
thousands of silos.

What is sent depends neither on the network nor on data or steps, so small ones show all of it; every count is exact.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.methods import registry
from dcfm.methods.method import Recipe
from dcfm.metrics.cost import communication
from dcfm.metrics.cost.communication import Protocol, Traffic, traffic
from dcfm.silos import LabelHistogram, Silo
from dcfm.toy.deal import deal
from dcfm.toy.mixture import Mixture, draw_missing
from dcfm.toy.task import ToyTask
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.loop import LoopConfig
from dcfm.trainers.peers import PeerConfig
from dcfm.trainers.student import ReplayConfig, StudentConfig

MOST_COMBINATIONS: Final = 64
"""Combinations that the toy's data is drawn from where the space has more."""


def toy_silos(attributes: int, silos: int, seed: int = 0) -> list[Silo]:
    """Silos of the toy, Non-IID, with a quarter of the combinations missing; two samples a combination and silo."""
    mixture, generator = Mixture(attributes), torch.Generator().manual_seed(seed)
    rows = mixture.space.combinations()
    rows = rows[torch.randperm(len(rows), generator=generator)[:MOST_COMBINATIONS].sort().values]
    observed, _ = draw_missing(mixture.space, len(rows) // 4, generator, among=rows)
    return deal(mixture, observed, "noniid", silos, 2 * silos, seed=seed)


def message_bytes(payload: Mapping[str, Tensor]) -> int:
    """Size on the wire of tensors in one message: values, names and shapes."""
    return len(to_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in payload.items()}))


@dataclass(frozen=True)
class SentFormula:
    """What a method sends: by the paper, and as run here. The functions take silos ``N``, FedAvg's rounds ``T`` and
    DCFM-A's rounds ``R``; ``why`` they differ is for the reader."""

    paper: str | None
    units: Callable[[int, int, int], int] | None
    as_run: str
    protocol: Callable[[int, int], Protocol]
    why: str = ""


_EXPERTS: Final = SentFormula(
    "N - 1",
    lambda n, t, r: communication.experts_units(n),
    "1 + (N - 1)",
    lambda t, r: communication.experts(),
    "the paper counts the experts received, the ledger also the own one sent",
)
_AVERAGING: Final = SentFormula(
    "2 T",
    lambda n, t, r: communication.federated_averaging_units(t),
    "T + T",
    lambda t, r: communication.federated_averaging(t),
)
_REFINED: Final = registry.settings_of("dcfm_b_r")["rounds"]
SENT: Final[Mapping[str, SentFormula]] = {
    "fedflow": _AVERAGING,
    "fedflow_l": _AVERAGING,
    "ddm": _EXPERTS,
    "ddm_l": _EXPERTS,
    "dfd": _EXPERTS,
    "dfd_l": _EXPERTS,
    "dcfm_a": SentFormula(
        "R N",
        lambda n, t, r: communication.peers_units(n, r),
        "(R + 1) + (R + 1)(N - 1)",
        lambda t, r: communication.peers(r),
        "one more allgather after the last round, so that every silo holds the finished experts to sample from",
    ),
    "dcfm_b": SentFormula(
        "2", lambda n, t, r: communication.student_units(), "1 + 1", lambda t, r: communication.student()
    ),
    "dcfm_b_r": SentFormula(
        None,
        None,
        f"({_REFINED} + 1) + ({_REFINED} + 1)",
        lambda t, r: communication.student_then_rounds(_REFINED),
        "not in the paper",
    ),
    "factored": replace(_AVERAGING, paper=None, units=None, why="not in the paper; sent like FedFlow"),
    "pooled": SentFormula(None, None, "0 + 0", lambda t, r: Protocol(), "not in the paper; moves raw samples instead"),
}
"""By the names of the registry. A method that is not listed is measured without a formula."""


@dataclass(frozen=True)
class SentRow:
    """One method among ``silos`` silos, per silo: units (models), bytes of weights, bytes of histograms (a mean over
    the silos, whose histograms differ in size). ``equal``: the ledger agrees with the formula as run for every silo, to
    the byte."""

    method: str
    title: str
    silos: int
    rounds: dict[str, int]
    paper_formula: str | None
    paper_units: int | None
    as_run_formula: str | None
    as_run_units: Traffic | None
    measured_units: Traffic
    weight_bytes: Traffic
    histogram_bytes: Traffic
    message_bytes: int
    equal: bool | None
    equal_paper: bool | None
    why: str


def small_recipe(averaging_rounds: int, peer_rounds: int) -> Recipe:
    """Two steps of everything: what is sent does not depend on more."""
    loop = LoopConfig(steps=2, batch=8, warmup=0, checkpoint_every=2)
    return Recipe(
        stage_one=LocalConfig(loop),
        further=LocalConfig(loop),
        peers=PeerConfig(loop, rounds=peer_rounds),
        student=StudentConfig(loop, replay=ReplayConfig(paths=8, steps=2)),
        fedavg=FedAvgConfig(rounds=averaging_rounds, steps=1, batch=8, warmup=0, checkpoint_every=averaging_rounds),
        pooled=LocalConfig(loop),
    )


def measure_sent(
    method: str, silos: Sequence[Silo], out: Path, averaging_rounds: int = 3, peer_rounds: int = 2
) -> SentRow:
    """Train a registered method for a few steps among the toy's silos and read the ledger of its exchange.

    Args:
        method: its name in the registry.
        silos: of :func:`toy_silos`.
        out: a folder for the trainings; the methods may share it.
        averaging_rounds: ``T``.
        peer_rounds: ``R``.
    """
    made = registry.make(method)
    task = ToyTask(silos[0].labels.shape[1], width=8, depth=1)
    federation = Federation(task, silos, out, workers=0)
    exchange = replace(federation, task=made.task(task)).exchange()
    made.train(federation, small_recipe(averaging_rounds, peer_rounds), exchange)
    names, n = [silo.name for silo in silos], len(silos)
    units = traffic(exchange.ledger, names, "weights", "units")
    weights = traffic(exchange.ledger, names, "weights")
    histograms = traffic(exchange.ledger, names, "histogram")
    one = message_bytes(made.task(task).network().state_dict())
    formula = SENT.get(method)
    first = units[names[0]]
    equal = equal_paper = expected = paper = None
    if formula is not None:
        protocol = formula.protocol(averaging_rounds, peer_rounds)
        expected = protocol.units(n)
        sizes = {s.name: message_bytes(h.state_dict()) for s, h in zip(silos, federation.histograms, strict=True)}
        equal = all(
            units[name] == expected
            and weights[name] == Traffic(expected.sent * one, expected.received * one)
            and histograms[name] == protocol.histogram_bytes(sizes[name], sum(sizes.values()))
            for name in names
        )
        if formula.units is not None:
            paper = formula.units(n, averaging_rounds, peer_rounds)
            equal_paper = all(sent.total == paper for sent in units.values())
    mean = Traffic(*(statistics.mean(getattr(h, what) for h in histograms.values()) for what in ("sent", "received")))
    return SentRow(
        method=method,
        title=made.title,
        silos=n,
        rounds={"T": averaging_rounds, "R": peer_rounds},
        paper_formula=formula and formula.paper,
        paper_units=paper,
        as_run_formula=formula and formula.as_run,
        as_run_units=expected,
        measured_units=first,
        weight_bytes=weights[names[0]],
        histogram_bytes=mean,
        message_bytes=one,
        equal=equal,
        equal_paper=equal_paper,
        why=formula.why if formula else "no formula is known for this method",
    )


@dataclass(frozen=True)
class CurveRow:
    """One protocol among ``silos`` silos: units per silo and of all silos together, by the ledger (``measured``), the
    formula as run and Table 3's (``paper``), and what the simulation took. ``equal``: ledger and formula as run agree
    for every silo."""

    protocol: str
    silos: int
    measured_units: float | int
    as_run_units: float | int
    paper_units: int
    total_units: float | int
    messages: int
    cpu_seconds: float
    equal: bool


CURVES: Final[Mapping[str, str]] = {"FedFlow": "fedflow", "DDM, DFD": "ddm", "DCFM-A": "dcfm_a", "DCFM-B": "dcfm_b"}
"""The four protocols of Table 3, and a method of each."""


def simulate(name: str, silos: int, averaging_rounds: int, peer_rounds: int) -> CurveRow:
    """Pass the messages of a protocol through a real exchange, with models of one parameter and no training.

    All messages of one run, with one exception: FedFlow's rounds are alike, so one of them is passed and counted ``T``
    times.

    Args:
        name: of the protocol, one of :data:`CURVES`.
        silos: ``N``; an allgather is ``N^2`` messages.
        averaging_rounds, peer_rounds: ``T`` and ``R``.

    Raises:
        ValueError: an unknown protocol or fewer than two silos.
    """
    if name not in CURVES or silos < 2:
        raise ValueError(f"protocol {name!r} among {silos} silos; give one of {', '.join(CURVES)} and at least two")
    formula = SENT[CURVES[name]]
    assert formula.units is not None
    repeated = averaging_rounds if name == "FedFlow" else 1
    names = [f"silo{i}" for i in range(silos)]
    weights = {"w": torch.zeros(1)}
    histogram = LabelHistogram.from_labels(torch.zeros(1, 2, dtype=torch.long), (2, 2)).state_dict()
    exchange = Exchange(names, template=weights)
    start = time.process_time()
    passed = formula.protocol(averaging_rounds // repeated, peer_rounds)
    passed.run(exchange, dict.fromkeys(names, weights), dict.fromkeys(names, histogram))
    seconds = time.process_time() - start
    measured = [repeated * sent.total for sent in traffic(exchange.ledger, names, "weights", "units").values()]
    expected = formula.protocol(averaging_rounds, peer_rounds).units(silos).total
    return CurveRow(
        protocol=name,
        silos=silos,
        measured_units=measured[0],
        as_run_units=expected,
        paper_units=formula.units(silos, averaging_rounds, peer_rounds),
        total_units=sum(measured),
        messages=len(exchange.ledger.messages),
        cpu_seconds=round(seconds, 3),
        equal=all(units == expected for units in measured),
    )
