"""How DCFM-A grows with the number of silos, and what it costs to train against a few peers only, on the toy.

With ``N`` silos an allgather brings ``N`` models to each: memory, bytes and, where every peer answers for its share of
a batch, time. With ``m`` peers a round (:attr:`~dcfm.trainers.peers.PeerConfig.peers_per_round`) a silo holds
``m + 1``. Silos have as many samples on average however many there are.

A *cell* is a number of silos, a number of peers and a seed; its record is ``out/<silos>/seed<seed>/peers_<m>.json``.
Cells of equal silos and seed share Stage I. Recovery is the share of samples of the novel combination in its mode:

* ``stage_one``: of the experts before any round, routed as DCFM-A is sampled;
* ``all_experts``: of all experts after the rounds, which a silo can only ask if it has gathered all of them;
* ``own_experts``: of a silo's own expert and as many peers' as it trained with, the mean over a few silos.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from dcfm.artefacts import git_revision
from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.fields import Field, Routed
from dcfm.metrics.intervals import wilson
from dcfm.records import read_json, write_json
from dcfm.silos import LabelHistogram
from dcfm.task import frozen_networks
from dcfm.toy.deal import check_samples
from dcfm.toy.problem import Problem, ProblemSettings, make_problem
from dcfm.toy.score import Sampling, hits, sample
from dcfm.toy.task import ToyTask
from dcfm.toy.training import Training
from dcfm.trainers.peers import choose_peers
from dcfm.weights import Weights

ASKED: Final = 4
"""Silos whose own experts are sampled."""


@dataclass(frozen=True)
class ScaleCell:
    """One simulation.

    Args:
        silos: ``N``.
        peers: ``m`` a round, or ``None`` for all.
        seed: of problem, training and sampling.
        samples: of each silo, on average.
        training: of the toy.
        sampling: of the scores.
    """

    silos: int
    peers: int | None
    seed: int
    samples: int
    training: Training
    sampling: Sampling

    @property
    def problem(self) -> ProblemSettings:
        """The default geometry, non-IID, with as many samples of each of the three observed combinations as make the
        silos' share."""
        return ProblemSettings(silos=self.silos, samples=-(-self.samples * self.silos // 3), seed=self.seed)

    def folder(self, out: Path) -> Path:
        return out / str(self.silos) / f"seed{self.seed}"

    def path(self, out: Path) -> Path:
        return self.folder(out) / f"peers_{'all' if self.peers is None else self.peers}.json"

    def settings(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))


def check_cells(cells: Sequence[ScaleCell], out: Path) -> None:
    """Raise ``ValueError`` for a problem that cannot be made, or records of other settings in ``out``."""
    for cell in cells:
        if isinstance(cell.peers, bool) or not isinstance(cell.peers, int | None):
            raise ValueError(f"peers={cell.peers!r}; give whole numbers of 1 or more, or null for all")
        replace(cell.training.recipe().peers, peers_per_round=cell.peers)
        check_samples(cell.problem.samples, cell.silos)
        if cell.silos <= 8:  # larger ones are made alike, and take a while
            make_problem(cell.problem)
        if cell.path(out).exists() and _read(cell.path(out))["settings"] != cell.settings():
            raise ValueError(f"{cell.path(out)} is of other settings; remove {out}, or choose another out=")


def run(cells: Sequence[ScaleCell], out: Path, progress: Callable[[], object] | None = None) -> list[dict[str, Any]]:
    """All records in order; those that lie in ``out`` already are read.

    Raises:
        ValueError: before any work, see :func:`check_cells`.
    """
    check_cells(cells, out)
    records = []
    for cell in cells:
        path = cell.path(out)
        if not path.exists():
            write_json(path, simulate(cell, out))
        records.append(_read(path))
        if progress is not None:
            progress()
    return records


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, "remove it to simulate it again")


def simulate(cell: ScaleCell, out: Path) -> dict[str, Any]:
    """Train, count, score."""
    problem, task = make_problem(cell.problem), ToyTask(width=cell.training.width, depth=cell.training.depth)
    recipe = cell.training.recipe()
    federation = Federation(task, problem.silos, cell.folder(out), cell.seed, workers=0)
    stage_one = federation.stage_one(recipe.stage_one)
    exchange = federation.exchange()
    name = "all" if cell.peers is None else str(cell.peers)
    peers, trained_at = replace(recipe.peers, peers_per_round=cell.peers), cell.folder(out) / f"peers_{name}"
    # What an interrupted run has trained takes no time now: the record then has none.
    resumed = trained_at.exists()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    experts = replace(federation, out=trained_at).dcfm_a(stage_one, peers, exchange)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    size = sum(v.numel() * v.element_size() for v in experts[0].values())
    counted = count(exchange, recipe.peers.rounds)
    return {
        "git_revision": git_revision(),
        "settings": cell.settings(),
        "silos": cell.silos,
        "peers": cell.peers,
        "seed": cell.seed,
        "model_bytes": size,
        "models_held": counted["models_held"],
        "bytes_held": counted["models_held"] * size,
        "bytes_a_silo": counted["bytes_a_silo"],
        "bytes_of_all": counted["bytes_of_all"],
        "seconds_a_silo": None if resumed else seconds / cell.silos,
        "cpu_seconds_a_silo": None if resumed else cpu / cell.silos,
        "recovery": recovery(cell, problem, task, stage_one, experts, federation.histograms),
    }


def count(exchange: Exchange, rounds: int) -> dict[str, int]:
    """From the ledger: the most models that a silo holds in a round, its own among them; bytes a silo; bytes of all."""
    received: dict[str, int] = {}
    for message in exchange.ledger.messages:
        if message.kind == "weights" and message.direction == "received":
            received[message.silo] = received.get(message.silo, 0) + 1
    sent = exchange.ledger.bytes()
    return {
        "models_held": 1 + max(received.values(), default=0) // rounds,  # a silo alone receives none
        "bytes_a_silo": max(sent.values(), default=0),
        "bytes_of_all": sum(sent.values()),
    }


def recovery(
    cell: ScaleCell,
    problem: Problem,
    task: ToyTask,
    stage_one: Sequence[Weights],
    experts: Sequence[Weights],
    histograms: Sequence[LabelHistogram],
) -> dict[str, Any]:
    """See the module; each with the 95 % Wilson interval of its samples, known combinations beside it."""
    before, after = (frozen_networks(task, weights) for weights in (stage_one, experts))
    null, everyone = task.space.null, range(cell.silos)

    def routed(networks: Sequence[Field], numbers: Sequence[int]) -> dict[str, Any]:
        field = Routed([networks[i] for i in numbers], [histograms[i] for i in numbers], null)
        return {"novel": _share(cell, problem, field, novel=True), "known": _share(cell, problem, field, novel=False)}

    found = {"stage_one": routed(before, everyone), "all_experts": routed(after, everyone)}
    if cell.peers is not None:
        chosen = choose_peers(everyone, cell.peers, cell.training.rounds + 1, seed=cell.seed)
        groups = [g for g in chosen.values() if _covers(problem, [histograms[i] for i in g])]
        shares = [routed(after, group) for group in groups[:ASKED]]
        found["own_experts"] = {"silos_that_hold_every_value": len(groups), "silos": cell.silos, "shares": shares}
    return found


def _covers(problem: Problem, histograms: Sequence[LabelHistogram]) -> bool:
    space = problem.mixture.space
    merged = LabelHistogram.merge(histograms)
    return all(bool((merged.marginal(i) > 0).all()) for i in range(space.size))


def _share(cell: ScaleCell, problem: Problem, field: Field, novel: bool) -> dict[str, float]:
    combinations = problem.missing if novel else problem.observed
    generator = torch.Generator().manual_seed(1_000_003 * (cell.seed + 1))
    inside = hits(problem.mixture, combinations, sample(field, combinations, cell.sampling, generator))
    k, n = int(inside.sum()), inside.numel()
    low, high = wilson(k, n)
    return {"value": k / n, "low": low, "high": high, "n": n}
