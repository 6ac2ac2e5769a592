"""What averaging needs to compose: the toy by federated averaging with 1 to 100 rounds, beside DCFM and mixtures.

    python scripts/communication.py
    python scripts/communication.py 'proximal=[null,0.1,1]' averaging=[fedflow_l] once=[] out=runs/communication-fedprox
    python scripts/communication.py 'server=[{rule:adam,learning_rate:0.01}]' once=[] out=runs/server
    python scripts/communication.py silos=4 rounds=[1,4,16] averaging=[fedflow_l] seeds=[0] out=runs/communication-4

A silo takes as many optimizer steps whatever the rounds, but for a remainder. Prints a table and writes it to ``out``
with ``communication.json`` and ``communication.png``. What it shows: docs/communication.md.
"""

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dcfm.configuration import script, typed, writable
from dcfm.toy.cell import Cell, tell_hidden
from dcfm.toy.communication import Study, check_overrides, draw, run, table
from dcfm.toy.points import write_study
from dcfm.toy.problem import ProblemSettings
from dcfm.toy.score import Sampling
from dcfm.toy.training import read_server, read_training


@dataclass
class Settings:
    """The keys of configs/communication.yaml and their types."""

    rounds: list[int]
    averaging: list[str]
    proximal: list[float | None]
    server: list[Any]
    steps: int
    once: list[str]
    partition: str
    attributes: int
    silos: int
    seeds: list[int]
    samples: int
    draws: int
    solver_steps: int
    workers: int
    tuned: dict[str, Any]
    out: str
    training: dict[str, Any]


@script("communication", "the same command goes on from what is finished")
def main(config: DictConfig) -> None:
    """Check, train, score, write, print."""
    given = typed(config, Settings, "communication")
    training, sampling = read_training(given.training), Sampling(given.draws, given.solver_steps)
    check_overrides(sys.argv[1:], given.averaging)
    tell_hidden(sys.argv[1:], given.tuned, [*given.averaging, *given.once])
    cells = [
        Cell(
            ProblemSettings(
                partition=given.partition,
                attributes=given.attributes,
                silos=given.silos,
                samples=given.samples,
                seed=seed,
            ),
            training,
            sampling,
            tuned=given.tuned,
        )
        for seed in given.seeds
    ]
    study = Study(
        tuple(cells),
        tuple(given.averaging),
        tuple(given.rounds),
        given.steps,
        tuple(given.once),
        tuple(given.proximal),
        tuple(None if server is None else read_server(server, "server") for server in given.server),
    )
    out = writable(given.out)
    plain = OmegaConf.to_container(config, resolve=True)
    write_study("communication", study.trainings(), partial(run, study, out, given.workers), table, draw, out, plain)


if __name__ == "__main__":
    main()
