"""Variants: one problem learnt with different settings, for choosing settings and for ablations.

A variant is a method and what it changes in the training. Variants of a problem share the artefacts of what their silos
train alike, alone. :func:`score_known` looks at known combinations alone and is all that a choice may rest on;
:func:`score_all` looks at the novel ones too and is for ablations.
"""

import hashlib
import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from dcfm.artefacts import write_text_atomically
from dcfm.decentralized import Federation
from dcfm.fields import Field
from dcfm.methods.method import RULES
from dcfm.records import read_json, write_json
from dcfm.selection import KnownOnly
from dcfm.toy.cell import Cell, check_settings
from dcfm.toy.experiment import choose_rule, train_method
from dcfm.toy.problem import Problem, make_problem
from dcfm.toy.score import hits, sample
from dcfm.toy.training import change_training
from dcfm.workers import begin_worker


@dataclass(frozen=True)
class Variant:
    """What is tried.

    Args:
        name: unique among the variants of a method.
        method: name in the registry.
        training: what to change in the training, nested as in ``configs/toy_training``.
        settings: what to change in the method's own settings.
    """

    name: str
    method: str
    training: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, cell: Cell) -> Cell:
        """The cell with the variant's changes.

        Raises:
            ValueError: an unknown key or a value out of range, or a cell whose own tuning of the method would hide it.
        """
        if cell.tuned.get(self.method):
            raise ValueError(f"the problem tunes {self.method} itself ({cell.tuned[self.method]}); vary an untuned one")
        own = {**cell.changes.get(self.method, {}), **self.settings}
        changes = {**cell.changes, **({self.method: own} if own else {})}
        changed = replace(cell, training=change_training(cell.training, self.training), changes=changes)
        changed.method(self.method)
        return changed


Scorer = Callable[[Cell, Problem, dict[str, Field]], dict[str, Any]]
"""Given a cell, its problem and a method's fields by rule: a record."""


def count(cell: Cell, problem: Problem, generated: Field, combinations: torch.Tensor, stream: int) -> tuple[int, int]:
    """How many samples of the combinations lie in the queried mode, of how many; ``stream`` tells noises apart."""
    if not len(combinations):
        return 0, 0
    generator = torch.Generator().manual_seed(stream * 1_000_003 + cell.problem.seed)
    inside = hits(problem.mixture, combinations, sample(generated, combinations, cell.sampling, generator))
    return int(inside.sum()), inside.numel()


def score_known(cell: Cell, problem: Problem, fields: dict[str, Field]) -> dict[str, Any]:
    """Hits on the observed and the withheld combinations, by rule; a field asked for a novel one refuses."""
    null = problem.mixture.space.null
    guarded = {name: KnownOnly(fields[name], problem.known, null) for name in RULES}
    return {
        name: {
            "observed": count(cell, problem, guarded[name], problem.observed, 3),
            "withheld": count(cell, problem, guarded[name], problem.withheld, 4),
        }
        for name in RULES
    }


def score_all(cell: Cell, problem: Problem, fields: dict[str, Field]) -> dict[str, Any]:
    """Hits on the known and on the novel combinations, by the sampling rule that the known ones choose."""
    rule = choose_rule(cell, problem, fields).chosen
    return {
        "rule": rule,
        "known": count(cell, problem, fields[rule], problem.known, 5),
        "novel": count(cell, problem, fields[rule], problem.missing, 6),
    }


def check_variants(cell: Cell, variants: Sequence[Variant], folder: Path) -> dict[str, Cell]:
    """The variants' cells by ``<method>/<name>``.

    Raises:
        ValueError: an impossible variant, a name given twice, or a folder that holds another run's.
    """
    cells = {f"{v.method}/{v.name}": v.of(cell) for v in variants}
    if len(cells) != len(variants):
        raise ValueError(f"variants {[f'{v.method}/{v.name}' for v in variants]}: a name occurs twice in a method")
    for name, changed in cells.items():
        method = name.split("/")[0]
        check_settings(folder / name / "settings.json", _identity(changed, method), younger=("method",))
    return cells


def _identity(cell: Cell, method: str) -> dict[str, Any]:
    """All settings that a variant's record must agree with, its method's own among them."""
    return cell.identity() | {"method": cell.own(method)["method"]}


def run_variants(cell: Cell, variants: Sequence[Variant], folder: Path, score: Scorer) -> dict[str, dict[str, Any]]:
    """Train and score the variants on one problem; returns their records by ``<method>/<name>``.

    Args:
        cell: the problem, and the settings that variants change.
        variants: what to try.
        folder: of the problem; what is finished there is not done again.
        score: :func:`score_known` or :func:`score_all`.

    Raises:
        ValueError: before any training, if a variant is impossible or the folder holds another run's.
    """
    cells, problem = check_variants(cell, variants, folder), make_problem(cell.problem)
    records: dict[str, dict[str, Any]] = {}
    same: dict[str, str] = {}
    for variant, (name, changed) in zip(variants, cells.items(), strict=True):
        # Two variants may come to the same, such as the defaults of two factors.
        first = same.setdefault(json.dumps([variant.method, _identity(changed, variant.method)], sort_keys=True), name)
        path = folder / first / "record.json"
        if not path.exists():
            fields = _train(changed, problem, variant.method, folder, name)
            record = score(changed, problem, fields)
            write_json(path, record)
        records[name] = read_json(path, f"remove {path.parent} to make it again")
    return records


def _train(cell: Cell, problem: Problem, method: str, folder: Path, name: str) -> dict[str, Field]:
    out = folder / name
    out.mkdir(parents=True, exist_ok=True)
    write_text_atomically(out / "settings.json", json.dumps(_identity(cell, method), indent=1) + "\n")
    stores = _stores(cell, folder)
    for pattern, store in stores.items():
        for path in store.glob(pattern):
            shutil.copytree(path, out / "trainings" / path.name, dirs_exist_ok=True)
    federation = Federation(cell.task, problem.silos, out / "trainings", cell.problem.seed, workers=0)
    trained = train_method(cell, federation, method)
    for pattern, store in stores.items():
        for path in (out / "trainings").glob(pattern):
            if not (store / path.name).exists():
                with tempfile.TemporaryDirectory(dir=_made(store)) as unfinished:
                    shutil.copytree(path, Path(unfinished) / path.name)
                    Path(unfinished, path.name).rename(store / path.name)
    return trained.fields


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _stores(cell: Cell, folder: Path) -> dict[str, Path]:
    """Where variants find each other's trainings without partners: folders named by all settings that these rest on."""
    training = cell.training
    network = [training.width, training.depth, training.batch, training.warmup, training.ema]
    first = [network, asdict(training.stage_one)]
    then = [first, training.peers.steps * training.rounds, training.peers.learning_rate]

    def store(settings: list[Any]) -> Path:
        return folder / "shared" / hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]

    return {"stage1*": store(first), "further*": store(then)}


def check_problems(cells: Sequence[Cell], variants: Sequence[Variant], out: Path, workers: int) -> None:
    """Everything that can be wrong with :func:`run_problems`, before any problem is trained on.

    Raises:
        ValueError: fewer than 0 workers, no problem, two of one partition and seed, or what
            :func:`check_variants` finds.
    """
    if workers < 0:
        raise ValueError(f"workers={workers}; give 0 (this process) or more")
    names = [cell.name for cell in cells]
    if not cells or len(set(names)) != len(names):
        raise ValueError(f"the problems are {names}; give at least one, each with a partition or seed of its own")
    for cell in cells:
        check_variants(cell, variants, out / cell.name)


def run_problems(
    cells: Sequence[Cell], variants: Sequence[Variant], out: Path, score: Scorer, workers: int
) -> list[dict[str, dict[str, Any]]]:
    """:func:`run_variants` on each cell's problem in ``out/<cell.name>``, problems in up to ``workers`` processes
    (0: in this one); ``score`` must be a function of a module.

    Raises:
        ValueError: what :func:`check_problems` finds.
    """
    check_problems(cells, variants, out, workers)
    jobs = [(cell, variants, out / cell.name, score) for cell in cells]
    if workers == 0:
        return [run_variants(*job) for job in jobs]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=begin_worker) as pool:
        return list(pool.map(run_variants, *zip(*jobs, strict=True)))
