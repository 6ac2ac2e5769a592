"""Compare methods on chest X-rays: train what is missing, evaluate it, make the table and Figures 8 and 9.

    python scripts/xray/table.py                                      # everything; goes on where it was interrupted
    python scripts/xray/table.py 'methods=[ddm_l,dcfm_a,dcfm_b]' 'training=["preset=quick"]'
    python scripts/xray/table.py train=false evaluate=false           # collect what is there

Trainings lie under ``<runs>/<partition>/seed<k>``, where ``scripts/xray/train.py`` puts them with
``out=<runs>/<partition>/seed<k>``. Synthetic medical images are for research, not for diagnosis. The settings are
described in configs/xray/table.yaml.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from dcfm.comparison import check_failed, check_there, entries_of
from dcfm.configuration import script, typed, writable
from dcfm.progress import Stages
from dcfm.records import command_line
from dcfm_xray.evaluation_settings import Keys, settings_of
from dcfm_xray.table import TableSettings, make_table
from dcfm_xray.text import markdown


@dataclass
class Settings(Keys):
    """The keys of configs/xray/table.yaml and their types, beyond those of :class:`Keys`."""

    methods: list[str]
    partitions: list[str]
    seeds: list[int]
    runs: str
    out: str
    real: str | None
    train: bool
    training: list[str]
    evaluate: bool
    redo: bool
    device: str


def run(config: DictConfig) -> None:
    """Check, train, evaluate, collect, write, print."""
    given = typed(config, Settings, "xray/table")
    settings = TableSettings(
        tuple(given.methods),
        tuple(given.partitions),
        tuple(given.seeds),
        Path(given.runs),
        Path(given.out),
        None if given.real is None else Path(given.real),
        given.train,
        tuple(given.training),
        given.evaluate,
        settings_of(given),
        given.redo,
        given.device,
    )
    if not settings.train:
        check_there(entries_of(settings.partitions, settings.seeds, settings.methods), settings.runs, settings.out)
    out = writable(given.out)
    torch.set_num_threads(1)
    stages = Stages()
    try:
        summary = make_table(settings, command_line(), stages)
    finally:
        stages.close()
    print(f"{markdown(summary)}\nwrote table.md, table.tex, table.json and figures to {out}")
    check_failed(summary["failed"])


@script("xray/table", "nothing that was done is lost: the same command goes on from here")
def main(config: DictConfig) -> None:
    """Compare, with bars that tell the time left; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
