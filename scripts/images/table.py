"""Compare all methods on Colored MNIST: train what is missing, evaluate it, and make Table 1.

    python scripts/images/table.py                                    # everything; goes on where it was interrupted
    python scripts/images/table.py 'methods=[ddm_l,dcfm_a,dcfm_b]' 'partitions=[noniid]' 'training=["preset=quick"]'
    python scripts/images/table.py train=false evaluate=false         # collect what is there

Writes ``table.md``, ``table.tex``, ``table.json`` and figures to ``out``, beside each entry's own results. The settings
are described in configs/images/table.yaml.
"""

import shlex
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from dcfm.comparison import check_any, check_failed, check_there
from dcfm.configuration import script, typed, writable
from dcfm.progress import Stages
from dcfm_images.evaluation_settings import EvaluationSettings
from dcfm_images.report import write_table
from dcfm_images.summary import summarise
from dcfm_images.table import run as run_missing
from dcfm_images.table_settings import TableSettings
from dcfm_images.text import markdown


@dataclass
class Settings:
    """The keys of configs/images/table.yaml and their types."""

    methods: list[str]
    partitions: list[str]
    seeds: list[int]
    runs: str
    out: str
    train: bool
    training: list[str]
    evaluate: bool
    each: int
    seed: int
    rules: list[str]
    selection_each: int
    selection_seed: int
    solver: str
    evaluations: int
    curve: list[int]
    snapshots: int
    guidance: list[float]
    curve_each: int
    features: str
    draws: int
    batch: int
    digits: str | None
    folder: str | None
    redo: bool
    max_entries: int | None
    device: str


def read_settings(config: DictConfig) -> TableSettings:
    """Check the types and ranges of what was given.

    Raises:
        ValueError: a value has the wrong type, is unknown, or is out of range.
    """
    given: dict[str, Any] = asdict(typed(config, Settings, "images/table"))
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    own = {part.name for part in fields(EvaluationSettings)}
    evaluation = EvaluationSettings(**{name: value for name, value in plain.items() if name in own})
    rest: dict[str, Any] = {name: value for name, value in plain.items() if name not in own}
    rest |= {"runs": Path(given["runs"]), "out": Path(given["out"])}
    rest["folder"] = None if given["folder"] is None else Path(given["folder"])
    return TableSettings(evaluation=evaluation, **rest)


def run(config: DictConfig) -> None:
    """Check, train, evaluate, collect, write, print."""
    settings = read_settings(config)
    if not settings.train:
        check_there(settings.entries(), settings.runs, settings.out)
    out = writable(settings.out)
    torch.set_num_threads(1)
    command, stages = shlex.join(["python", *sys.argv]), Stages()
    try:
        failed = run_missing(settings, command, stages) if settings.train or settings.evaluate else {}
    finally:
        stages.close()
    summary = summarise(settings, command, failed)
    check_any(summary, summary["failed"])
    written = write_table(settings, summary)
    print(f"\n{markdown(summary)}\nwrote {', '.join(written)} to {out}")
    check_failed(summary["failed"])


@script("images/table", "nothing that was done is lost: the same command goes on from here")
def main(config: DictConfig) -> None:
    """Compare, with bars that tell the time left; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
