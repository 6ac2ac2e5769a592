"""Choose the toy's settings on other geometries than the benchmark's, by known combinations only.

    python scripts/toy_select.py

Writes ``selection.json`` to ``out`` after each method: all that was tried, its score, and what was chosen. The
problems and candidates are listed in configs/toy_select.yaml.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from tqdm import tqdm

from dcfm.artefacts import write_text_atomically
from dcfm.configuration import script, typed, writable
from dcfm.records import made_by
from dcfm.toy.cell import Cell
from dcfm.toy.choice import choose, read_candidates
from dcfm.toy.problem import make_problem, read_problem
from dcfm.toy.score import Sampling
from dcfm.toy.training import read_training
from dcfm.toy.variants import check_problems, run_problems, score_known


@dataclass
class Settings:
    """The keys of configs/toy_select.yaml and their types."""

    problems: list[Any]
    candidates: dict[str, Any]
    draws: int
    steps: int
    workers: int
    out: str
    training: dict[str, Any]


def run(config: DictConfig) -> None:
    """Check, train, score, choose, write."""
    given = typed(config, Settings, "toy_select")
    training, sampling = read_training(given.training), Sampling(given.draws, given.steps)
    cells = [Cell(read_problem(problem), training, sampling) for problem in given.problems]
    if not cells or len({cell.problem.attributes for cell in cells}) > 1:
        raise ValueError(f"problems={given.problems}; give at least one, all with as many attributes")
    candidates = read_candidates(given.candidates)
    problems = []
    for cell in cells:
        problem = make_problem(cell.problem)
        parts = {"observed": problem.observed, "withheld": problem.withheld, "never looked at": problem.missing}
        problems.append(cell.identity()["problem"] | {name: rows.tolist() for name, rows in parts.items()})
    for variants in candidates.values():  # all methods' before the first one's trainings
        check_problems(cells, variants, Path(given.out), given.workers)
    out = writable(given.out)
    chosen: dict[str, Any] = {
        **made_by(),
        "problems": problems,
        "training": cells[0].identity()["training"],
        "methods": {},
    }
    for method, variants in tqdm(candidates.items(), unit="method"):
        records = run_problems(cells, variants, out, score_known, given.workers)
        selection = choose(variants, records, cells)
        chosen["methods"][method] = selection.as_dict() | {"records": records}
        write_text_atomically(out / "selection.json", json.dumps(chosen, indent=1, allow_nan=False) + "\n")
        tqdm.write(f"{method}: {selection.chosen} of {', '.join(v.name for v in variants)}")
    print(f"wrote {Path(given.out)}/selection.json")


@script("toy_select", "the same command goes on from what is finished")
def main(config: DictConfig) -> None:
    """Run; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
