"""Draw the idea of the method on the toy: who holds what, Eq. 5 as arrows, and what the CI term does.

    python scripts/idea.py                    # some minutes on one core
    python scripts/idea.py out=docs/idea trainings=runs/idea/trainings  # the pictures of docs/idea.md

Writes ``silos.png``, ``samples.png``, ``composition.png``, ``gap.png`` and ``idea.json`` (shares with intervals, gaps)
to ``out``. The settings are described in configs/idea.yaml.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from dcfm.artefacts import write_text_atomically
from dcfm.configuration import script, typed, writable
from dcfm.decentralized import Federation
from dcfm.metrics.intervals import wilson
from dcfm.records import made_by
from dcfm.toy import idea
from dcfm.toy.cell import Cell, check_cell, tell_hidden
from dcfm.toy.experiment import choose_rule, train_method
from dcfm.toy.problem import ProblemSettings
from dcfm.toy.score import Sampling, sample
from dcfm.toy.training import read_training


@dataclass
class Settings:
    """The keys of configs/idea.yaml and their types."""

    methods: list[str]
    samples: int
    draws: int
    seed: int
    out: str
    trainings: str
    tuned: dict[str, Any]
    training: dict[str, Any]


def run(config: DictConfig) -> None:
    """Train what is missing, sample, draw."""
    given = typed(config, Settings, "idea")
    torch.set_num_threads(1)
    tell_hidden(sys.argv[1:], given.tuned, given.methods)
    problem_settings = ProblemSettings(seed=given.seed, samples=given.samples)
    cell = Cell(problem_settings, read_training(given.training), Sampling(draws=given.draws), tuned=given.tuned)
    cell.training_of("dcfm_b")  # what cannot be is an error before it is changed
    own = given.tuned.get("dcfm_b", {})  # DCFM-B as it is tuned, but without the CI term of its student
    without = {**own, "student": {**own.get("student", {}), "weight": 0.0}}
    bare = Cell(problem_settings, cell.training, cell.sampling, tuned=given.tuned | {"dcfm_b": without})
    out = Path(given.out)
    trainings = Path(given.trainings)
    problem = check_cell(cell, given.methods, trainings)
    writable(out)
    federation = Federation(cell.task, problem.silos, trainings, given.seed, workers=0)
    samples, shares = {}, {}
    for name in (bar := tqdm(given.methods, unit="method")):
        bar.set_description(name)
        fields = train_method(cell, federation, name).fields
        rule = choose_rule(cell, problem, fields).chosen
        generator = torch.Generator().manual_seed(1_000_003 * (given.seed + 1))  # not the data's draws again
        x = sample(fields[rule], problem.missing[:1], cell.sampling, generator)[0]
        title = cell.method(name).title
        samples[title] = x
        inside = int(problem.mixture.within(x, problem.missing[:1].expand(len(x), -1)).sum())
        low, high = wilson(inside, len(x))
        shares[title] = {"rule": rule, "k": inside, "n": len(x), "share": inside / len(x), "low": low, "high": high}
    idea.draw_silos(problem, out / "silos.png")  # after the trainings, which may refuse a folder of another problem
    idea.draw_samples(problem, samples, out / "samples.png")
    student = train_method(cell, federation, "dcfm_b").fields["joint"]
    idea.draw_composition(problem, student, out / "composition.png")
    apart = replace(federation, out=trainings / "without") if own else federation
    fields = {
        "without CI term": train_method(bare, apart, "dcfm_b").fields["joint"],
        "with it": student,
    }
    gaps = idea.draw_gap(problem, fields, out / "gap.png")
    values = {**made_by(), "shares": shares, "gap": gaps, "time": idea.TIME}
    write_text_atomically(out / "idea.json", json.dumps(values, indent=2) + "\n")
    print(f"wrote {out}/silos.png, samples.png, composition.png, gap.png, idea.json")


@script("idea", "the same command goes on from what is finished")
def main(config: DictConfig) -> None:
    """Draw; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
