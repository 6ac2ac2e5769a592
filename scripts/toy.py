"""Every method on the toy: modes of a Gaussian mixture, some of which nobody holds.

    python scripts/toy.py                    # all methods, both partitions, minutes on 2 cores
    python scripts/toy.py partition=noniid attributes=3 silos=3 seed=7 'methods=[ddm_l,dcfm_a,dcfm_b]' out=runs/three

Prints what each silo holds and a table, and writes to ``out`` the table, ``metrics.json``, ``selection.json`` and
``samples.png``. The settings are described in configs/toy.yaml.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from dcfm.configuration import script, typed, writable
from dcfm.methods import registry
from dcfm.records import command_line
from dcfm.toy.cell import Cell, check_cells, tell_hidden
from dcfm.toy.deal import read_partitions
from dcfm.toy.experiment import run_cells
from dcfm.toy.figure import draw
from dcfm.toy.problem import ProblemSettings
from dcfm.toy.report import check_kept, describe_silos, table, write_report
from dcfm.toy.score import Sampling
from dcfm.toy.training import read_training


@dataclass
class Settings:
    """The keys of configs/toy.yaml and their types."""

    partition: Any
    methods: Any
    attributes: int
    silos: int
    distance: float
    std: float
    missing: int | None
    samples: int
    alpha: float
    seed: int
    seeds: list[int] | None
    draws: int
    steps: int
    workers: int
    out: str
    training: dict[str, Any]
    tuned: dict[str, Any]
    method_settings: dict[str, Any]


def read_settings(config: DictConfig) -> tuple[list[Cell], list[str], int, Path]:
    """Cells, methods, workers and folder.

    Raises:
        ValueError: a value has the wrong type, is unknown, or is out of range.
    """
    given = typed(config, Settings, "toy")
    methods = list(registry.names()) if given.methods == "all" else given.methods
    if not isinstance(methods, list):
        raise ValueError(f"methods={methods!r}; give all, or a list of {', '.join(registry.names())}")
    cells = []
    for partition in read_partitions(given.partition):
        for seed in [given.seed] if given.seeds is None else given.seeds:
            problem = ProblemSettings(
                partition=partition,
                attributes=given.attributes,
                silos=given.silos,
                distance=given.distance,
                std=given.std,
                missing=given.missing,
                samples=given.samples,
                alpha=given.alpha,
                seed=seed,
            )
            sampling = Sampling(given.draws, given.steps)
            training = read_training(given.training)
            cells.append(Cell(problem, training, sampling, given.method_settings, given.tuned))
    return cells, list(dict.fromkeys(methods)), given.workers, Path(given.out)


def run(config: DictConfig) -> None:
    """Check, train, score, write, print."""
    cells, methods, workers, out = read_settings(config)
    tell_hidden(sys.argv[1:], cells[0].tuned if cells else {}, methods)
    check_kept(out, ((c.problem.partition, c.problem.seed, name) for c in cells for name in methods))
    check_cells(cells, methods, out, workers)
    writable(out)
    command = command_line()
    with tqdm(total=len(cells) * len(methods), unit="method") as bar:

        def show(done: int) -> None:
            bar.update(done - bar.n)

        records = run_cells(cells, methods, out, workers, show)
    values = write_report(records, out, command, OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    draw(records, out, cells[0].problem.mixture)
    print(f"{describe_silos(records)}\n\n{table(values)}\n")
    print(f"wrote {out}/metrics.json, selection.json, table.md, samples.png")


@script("toy", "the same command goes on from what is finished")
def main(config: DictConfig) -> None:
    """Run, with a bar that tells the time left; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
