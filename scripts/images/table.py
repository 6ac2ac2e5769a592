"""Compare all methods on Colored MNIST: train what is missing, evaluate it, and make Table 1.

    python scripts/images/table.py                                    # everything; goes on where it was interrupted
    python scripts/images/table.py 'methods=[ddm_l,dcfm_a,dcfm_b]' 'partitions=[noniid]' 'training=["preset=quick"]'
    python scripts/images/table.py train=false evaluate=false         # collect what is there

Writes ``table.md``, ``table.tex``, ``table.json`` and figures to ``out``, beside each entry's own results. The settings
are described in configs/images/table.yaml.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from dcfm.comparison import check_any, check_failed, check_there
from dcfm.configuration import script, typed, writable
from dcfm.progress import Stages
from dcfm.records import command_line
from dcfm_images.evaluation_settings import Keys, settings_of
from dcfm_images.report import write_table
from dcfm_images.summary import summarise
from dcfm_images.table import run as run_missing
from dcfm_images.table_settings import TableSettings
from dcfm_images.text import markdown


@dataclass
class Settings(Keys):
    """The keys of configs/images/table.yaml and their types, beyond those of :class:`Keys`."""

    methods: list[str]
    partitions: list[str]
    seeds: list[int]
    runs: str
    out: str
    train: bool
    training: list[str]
    evaluate: bool
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
    given = typed(config, Settings, "images/table")
    return TableSettings(
        tuple(given.methods),
        tuple(given.partitions),
        tuple(given.seeds),
        Path(given.runs),
        Path(given.out),
        given.train,
        given.evaluate,
        tuple(given.training),
        settings_of(given),
        given.digits,
        None if given.folder is None else Path(given.folder),
        given.redo,
        given.max_entries,
        given.device,
    )


def run(config: DictConfig) -> None:
    """Check, train, evaluate, collect, write, print."""
    settings = read_settings(config)
    if not settings.train:
        check_there(settings.entries(), settings.runs, settings.out)
    out = writable(settings.out)
    torch.set_num_threads(1)
    command, stages = command_line(), Stages()
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
