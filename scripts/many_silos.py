"""How methods compose with more and more silos, on the toy: novel and known shares, and what a silo passes.

    python scripts/many_silos.py
    python scripts/many_silos.py silos=[2,8] 'methods=[ddm_l,dcfm_b]' seeds=[0] out=runs/many_silos-short

Prints a table and writes it to ``out`` with ``many_silos.json`` and ``many_silos.png``. What it shows: docs/scale.md.
"""

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dcfm.configuration import script, typed, writable
from dcfm.toy.cell import Cell, tell_hidden
from dcfm.toy.many_silos import Study, draw, run, table
from dcfm.toy.points import write_study
from dcfm.toy.problem import ProblemSettings
from dcfm.toy.score import Sampling
from dcfm.toy.training import read_training


@dataclass
class Settings:
    """The keys of configs/many_silos.yaml and their types."""

    silos: list[int]
    methods: list[str]
    partition: str
    attributes: int
    seeds: list[int]
    samples: int
    draws: int
    solver_steps: int
    workers: int
    tuned: dict[str, Any]
    out: str
    training: dict[str, Any]


@script("many_silos", "the same command goes on from what is finished")
def main(config: DictConfig) -> None:
    """Check, train, score, write, print."""
    given = typed(config, Settings, "many_silos")
    if len(set(given.silos)) != len(given.silos):
        raise ValueError(f"silos={given.silos}: a number occurs twice")
    training, sampling = read_training(given.training), Sampling(given.draws, given.solver_steps)
    tell_hidden(sys.argv[1:], given.tuned, given.methods)
    cells = {
        silos: tuple(
            Cell(
                ProblemSettings(
                    partition=given.partition,
                    attributes=given.attributes,
                    silos=silos,
                    samples=given.samples * silos,
                    seed=seed,
                ),
                training,
                sampling,
                tuned=given.tuned,
            )
            for seed in given.seeds
        )
        for silos in given.silos
    }
    study, out = Study(cells, tuple(given.methods)), writable(given.out)
    plain = OmegaConf.to_container(config, resolve=True)
    write_study("many_silos", study.trainings(), partial(run, study, out, given.workers), table, draw, out, plain)


if __name__ == "__main__":
    main()
