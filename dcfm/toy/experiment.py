"""The toy experiment: every method trained on one problem, and its samples of every combination scored.

A *cell* is one problem (a partition and a seed). Its folder holds the trainings' artefacts, which methods share, one
record for each finished method, and samples for the figure; a run that was interrupted goes on from there. Cells run
in processes of their own, one thread each.
"""

import json
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Int
from torch import Tensor

from dcfm.artefacts import save_tensors, write_text_atomically
from dcfm.decentralized import Federation
from dcfm.exchange import Ledger
from dcfm.fields import Field
from dcfm.methods import registry
from dcfm.methods.method import RULES
from dcfm.selection import KnownOnly, Selection, select
from dcfm.task import frozen_networks
from dcfm.toy.cell import Cell, check_cell, check_cells, record_path
from dcfm.toy.deal import describe
from dcfm.toy.mixture import label_name
from dcfm.toy.problem import Problem
from dcfm.toy.score import hits, sample, score_samples
from dcfm.workers import begin_worker

CRITERION: Final = "share of samples within the 99 % radius of the queried mode, known combinations only"
CHOSEN_BY: Final = 500
"""Samples of each combination that the choice of the sampling rule, and the record of the other one, rest on."""
SHOWN: Final = 250
"""Samples of each combination that are kept for the figure."""


def run_cell(
    cell: Cell, methods: Sequence[str], folder: Path, on_method: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Train and score the methods on one problem; returns the cell's record.

    Args:
        cell: the problem and the settings.
        methods: names in the registry.
        folder: of the cell; what is finished there is not done again.
        on_method: called when another method is finished.
    """
    problem = check_cell(cell, methods, folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(folder / "settings.json", json.dumps(cell.common(), indent=2) + "\n")
    federation = Federation(cell.task, problem.silos, folder / "trainings", cell.problem.seed, workers=0)
    records = {}
    for name in methods:
        path = record_path(folder, name)
        if not path.exists() or not samples_path(folder, name).exists():
            record = _run_method(cell, problem, federation, name, folder)
            write_text_atomically(path, json.dumps(record, indent=2, allow_nan=False) + "\n")
        records[name] = json.loads(path.read_text(encoding="utf-8"))
        on_method()
    return {
        "partition": cell.problem.partition,
        "seed": cell.problem.seed,
        "silos": describe(problem.silos, problem.mixture.space),
        "novel": [label_name(y) for y in problem.missing.tolist()],
        "methods": records,
    }


@dataclass(frozen=True)
class Trained:
    """A trained method.

    Attributes:
        fields: by sampling rule.
        ledger: of the exchange.
        seconds: that training took just now, without what lay there already.
    """

    fields: dict[str, Field]
    ledger: Ledger
    seconds: float


def train_method(cell: Cell, federation: Federation, name: str) -> Trained:
    """Train a method, or pick up what lies in the federation's folder.

    Methods share their trainings there; one that is tuned differently has a folder of its own.
    """
    started = time.perf_counter()
    method = cell.method(name)
    if cell.tuned.get(name):
        federation = replace(federation, out=federation.out / f"tuned_{name}")
    exchange = method.exchange(federation)
    trained = method.train(federation, cell.training_of(name).recipe(), exchange)
    seconds = time.perf_counter() - started
    task = method.task(cell.task)
    networks = frozen_networks(task, trained)
    fields = {rule: method.field(networks, federation.histograms, task.space.null, rule) for rule in RULES}
    return Trained(fields, exchange.ledger, seconds)


def _run_method(cell: Cell, problem: Problem, federation: Federation, name: str, folder: Path) -> dict[str, Any]:
    trained, method = train_method(cell, federation, name), cell.method(name)
    chosen = choose_rule(cell, problem, trained.fields)
    everything = torch.cat([problem.known, problem.missing])
    everything = everything[_lexicographic(everything)]
    is_known = (everything[:, None] == problem.known).all(-1).any(1)
    few = replace(cell.sampling, draws=min(cell.sampling.draws, CHOSEN_BY))
    results, shown = {}, everything.new_zeros(0)
    for rule, generated in trained.fields.items():
        generator = torch.Generator().manual_seed(1_000_003 * (cell.problem.seed + 1))
        x = sample(generated, everything, cell.sampling if rule == chosen.chosen else few, generator)
        results[rule] = score_samples(problem.mixture, everything, is_known, x, generator)
        if rule == chosen.chosen:
            shown = x[:, :SHOWN].contiguous()
    save_tensors(samples_path(folder, name), {"samples": shown, "labels": everything})
    return {
        "title": method.title,
        "decentralised": method.decentralised,
        "own_settings": cell.own(name),
        "code_sha256": registry.code_hash(name),
        "rule": chosen.chosen,
        "selection": chosen.as_dict(),
        **summary(results[chosen.chosen]),
        "combinations": results[chosen.chosen],
        "by_rule": {rule: summary(found) | {"combinations": found} for rule, found in results.items()},
        "cost": {"units": trained.ledger.units(), "bytes": trained.ledger.bytes()},
        "seconds": round(trained.seconds, 1),
    }


def samples_path(folder: Path, method: str) -> Path:
    """Where a cell's folder keeps a finished method's samples for the figure."""
    return folder / "samples" / f"{method}.safetensors"


def choose_rule(cell: Cell, problem: Problem, fields: dict[str, Field]) -> Selection:
    """The sampling rule that puts more samples of the known combinations into their modes."""

    def score(rule: str, known: Int[Tensor, "m k"]) -> tuple[int, int]:
        generator = torch.Generator().manual_seed(cell.problem.seed + 2_000_003)
        sampling = replace(cell.sampling, draws=min(cell.sampling.draws, CHOSEN_BY))
        x = sample(KnownOnly(fields[rule], problem.known, problem.mixture.space.null), known, sampling, generator)
        inside = hits(problem.mixture, known, x)
        return int(inside.sum()), inside.numel()

    settings = {rule: {"rule": rule} for rule in fields}
    return select({rule: rule for rule in fields}, score, problem.known, settings=settings, criterion=CRITERION)


def summary(records: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Least and mean share and mean distance, of the known and of the novel combinations."""
    found = {}
    for name, known in (("known", True), ("novel", False)):
        rows = [r for r in records if r["known"] == known]
        if rows:
            shares = [r["share"] for r in rows]
            distance = sum(r["sliced_wasserstein"] for r in rows) / len(rows)
            found[name] = {"mean": sum(shares) / len(rows), "min": min(shares), "sliced_wasserstein": distance}
    return found


def _lexicographic(rows: Int[Tensor, "m k"]) -> Int[Tensor, " m"]:
    places = 2 ** torch.arange(rows.shape[1] - 1, -1, -1)
    return (rows * places).sum(1).argsort()


def run_cells(
    cells: Sequence[Cell],
    methods: Sequence[str],
    out: Path,
    workers: int = 2,
    progress: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Run cells in up to ``workers`` processes (0: in this one); returns their records in order.

    Args:
        cells: each with a name of its own.
        methods: names in the registry.
        out: each cell's folder is ``out/<cell.name>``.
        workers: processes, of one thread each.
        progress: called now and then with the number of finished methods, of all cells.

    Raises:
        ValueError: before any training, if anything is wrong with any cell.
    """
    check_cells(cells, methods, out, workers)
    jobs = [(cell, methods, out / cell.name) for cell in cells]

    def show() -> None:
        if progress is not None:
            progress(sum(record_path(out / cell.name, name).exists() for cell in cells for name in methods))

    if workers == 0:
        return [run_cell(*job, show) for job in jobs]
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=begin_worker)
    try:
        futures = [pool.submit(run_cell, *job) for job in jobs]
        waiting = set(futures)
        while waiting:
            finished, waiting = wait(waiting, timeout=1.0, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
            show()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)
