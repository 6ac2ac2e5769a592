"""Computation, measured: a few steps of every trainer on the toy with ``k`` attributes, every evaluation counted and
set beside Table 4 and beside the formula of what this package evaluates.

A step's cost in units of the batch depends neither on the network nor on the data. All counts are exact; how many terms
of Eq. 12 DCFM-A's routing leaves to the silo itself is drawn, so that this one number has an interval.
"""

import math
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from dcfm.methods.factored import FactoredTask
from dcfm.metrics.cost import computation as formulas
from dcfm.metrics.cost.computation import CountedTask, EvaluationCounter, Evaluations
from dcfm.metrics.cost.sent import toy_silos
from dcfm.metrics.cost.trainers import BATCH, STEPS, TRAINERS, Trainer
from dcfm.toy.task import ToyTask
from dcfm.trainers.fedavg import FedAvgConfig, train_round
from dcfm.trainers.local import LocalConfig, train_local
from dcfm.trainers.peers import train_peers
from dcfm.trainers.student import StudentConfig, train_student

SILOS: Final = 2
"""Of a measurement; a step's cost does not depend on it, but the routing does."""


@dataclass(frozen=True)
class OwnTerms:
    """How many of Eq. 12's ``k + 1`` terms, three of a pair, the silo served itself: mean over the samples of ``n``
    steps, 95 % interval (normal, over steps), and the expected value from the label statistics, ``None`` for a pair."""

    mean: float
    low: float
    high: float
    n: int
    expected: float | None


@dataclass(frozen=True)
class StepRow:
    """One trainer's step with ``k`` attributes, in units of the batch.

    ``equal``: counted forward and backward evaluations are those of the formula as run; for DCFM-A's backward, with the
    number of own terms that was drawn (``own_terms``) instead of its expected value.
    """

    trainer: str
    k: int
    steps: int
    batch: int
    paper_formula: str | None
    paper: Evaluations | None
    as_run_formula: str
    as_run: Evaluations
    measured: Evaluations
    equal: bool
    equal_paper: bool | None
    own_terms: OwnTerms | None
    why: tuple[str, ...]


def measure_step(name: str, k: int, seed: int = 0) -> StepRow:
    """Count a few steps of a trainer on the toy with ``k`` attributes.

    Args:
        name: one of :data:`~dcfm.metrics.cost.trainers.TRAINERS`.
        k: attributes, 2 to 14.
        seed: of data and training; only DCFM-A's routing depends on it.

    Raises:
        ValueError: an unknown trainer or a number of attributes that the toy does not have.
    """
    if name not in TRAINERS:
        raise ValueError(f"unknown trainer {name!r}; the trainers are {', '.join(TRAINERS)}")
    trainer = TRAINERS[name]
    config = trainer.config
    silos = toy_silos(k, SILOS, seed)
    data, labels = silos[0].data, silos[0].labels
    own, peers = EvaluationCounter(), EvaluationCounter()
    task, peers_task = (CountedTask(ToyTask(k, width=8, depth=1), counter) for counter in (own, peers))
    networks = [task.network(), *(peers_task.network() for _ in silos[1:])]
    histograms = [silo.histogram(task.space) for silo in silos]
    own_terms = None
    if isinstance(config, LocalConfig):
        train_local(FactoredTask(task) if trainer.factored else task, data, labels, config, seed=seed)
    elif isinstance(config, FedAvgConfig):
        train_round(task, data, labels, networks[0], config, 0, seed=seed)
    elif isinstance(config, StudentConfig):
        train_student(task, networks, histograms, config, seed=seed)
    else:
        evaluated = [0]

        def note(step: int, steps: int, means: dict[str, float]) -> None:
            evaluated.append(peers.forward)

        train_peers(task, data, labels, networks, histograms, 0, config, seed=seed, progress=note)
        term = config.objective.independence
        samples, routed = round(formulas.term_share(term, BATCH) * BATCH), 3 if term.pairwise else k + 1
        per_step = [routed - (after - before) / samples for before, after in pairwise(evaluated)]
        expected = None if term.pairwise else formulas.expected_own_terms(histograms, 0, labels, config.routing)
        own_terms = _own_terms(per_step, expected)
    measured = EvaluationCounter(own.forward + peers.forward, own.backward + peers.backward).per_step(STEPS, BATCH)
    as_run = _as_run(trainer, k, None if own_terms is None else own_terms.mean)
    paper = None if trainer.paper is None else trainer.paper(k)
    return StepRow(
        trainer=name,
        k=k,
        steps=STEPS,
        batch=BATCH,
        paper_formula=trainer.paper_formula,
        paper=paper,
        as_run_formula=trainer.as_run_formula,
        as_run=as_run,
        measured=measured,
        equal=_same(as_run, measured),
        equal_paper=None if paper is None else _same(paper, measured),
        own_terms=own_terms,
        why=trainer.why,
    )


def _as_run(trainer: Trainer, k: int, own_terms: float | None) -> Evaluations:
    config = trainer.config
    if trainer.factored:
        return formulas.factored_as_run(k)
    if isinstance(config, StudentConfig):
        return formulas.student_as_run(k, config, STEPS)
    term = config.objective.independence
    return (
        formulas.local_as_run(k, term, BATCH) if own_terms is None else formulas.peers_as_run(k, term, BATCH, own_terms)
    )


def _own_terms(per_step: list[float], expected: float | None) -> OwnTerms:
    mean, n = statistics.mean(per_step), len(per_step)
    half = 1.96 * statistics.stdev(per_step) / math.sqrt(n)
    return OwnTerms(mean, mean - half, mean + half, n, expected)


def _same(a: Evaluations, b: Evaluations) -> bool:
    return math.isclose(a.forward, b.forward, rel_tol=1e-9) and math.isclose(a.backward, b.backward, rel_tol=1e-9)
