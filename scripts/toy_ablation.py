"""One setting of DCFM-A and -B changed at a time, on another geometry of the toy than the benchmark's.

    python scripts/toy_ablation.py

Writes ``ablation.json`` and ``ablation.png`` to ``out``. The factors and values are listed in
configs/toy_ablation.yaml.
"""

from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig

from dcfm.configuration import script, typed, writable
from dcfm.records import command_line
from dcfm.toy.ablation import collect, read_factors, write
from dcfm.toy.cell import Cell
from dcfm.toy.deal import read_partitions
from dcfm.toy.problem import make_problem, read_problem
from dcfm.toy.score import Sampling
from dcfm.toy.training import read_training
from dcfm.toy.variants import run_problems, score_all


@dataclass
class Settings:
    """The keys of configs/toy_ablation.yaml and their types."""

    problem: dict[str, Any]
    partition: Any
    seeds: list[int]
    factors: dict[str, Any]
    draws: int
    steps: int
    workers: int
    out: str
    training: dict[str, Any]


def run(config: DictConfig) -> None:
    """Check, train, score, write."""
    given = typed(config, Settings, "toy_ablation")
    training, sampling = read_training(given.training), Sampling(given.draws, given.steps)
    for key, instead in (("seed", "seeds"), ("partition", "partition")):
        if key in given.problem:
            raise ValueError(f"problem.{key}={given.problem[key]}: give {instead}= instead")
    problem, factors = read_problem(given.problem), read_factors(given.factors)
    if not given.seeds or not factors:
        raise ValueError(f"seeds={given.seeds} and factors={list(factors)}; give at least one of each")
    if problem.missing == 0:
        raise ValueError("problem.missing=0 leaves no novel combination to look at; give 1 or more, or null")
    variants = [variant for values in factors.values() for group in values.values() for variant in group]
    cells = [
        Cell(replace(problem, partition=partition, seed=seed), training, sampling)
        for seed in given.seeds
        for partition in read_partitions(given.partition)
    ]
    for cell in cells:
        make_problem(cell.problem)
        for variant in variants:
            variant.of(cell)
    out = writable(given.out)
    records = run_problems(cells, variants, out, score_all, given.workers)
    write(collect(factors, cells, records), cells, out, command_line())
    print(f"wrote {out}/ablation.json and ablation.png")


@script("toy_ablation", "the same command goes on from what is finished")
def main(config: DictConfig) -> None:
    """Run; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
