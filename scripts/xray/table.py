"""Compare methods on chest X-rays: evaluate what is trained, collect, make the table and Figures 8 and 9.

    python scripts/xray/table.py runs=runs/xray/table

Trainings are looked for under ``<runs>/<partition>/seed<k>``, where ``scripts/xray/train.py`` puts them with
``out=<runs>/<partition>/seed<k>``. Synthetic medical images are for research, not for diagnosis. The settings are
described in configs/xray/table.yaml.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import hydra
import torch
from omegaconf import DictConfig

from dcfm.configuration import one_line_errors, typed, writable
from dcfm.progress import Stages
from dcfm_xray.evaluation_settings import settings_of
from dcfm_xray.table import TableSettings, make_table
from dcfm_xray.text import markdown


@dataclass
class Settings:
    """The keys of configs/xray/table.yaml and their types."""

    methods: list[str]
    partitions: list[str]
    seeds: list[int]
    runs: str
    out: str
    evaluate: bool
    each: int
    held_out: float
    specificity: float
    seed: int
    rules: list[str]
    selection_each: int
    selection_seed: int
    solver: str
    evaluations: int
    draws: int
    batch: int
    width: int
    stem: str
    norm: str
    steps: int
    classifier_batch: int
    learning_rate: float
    device: str


def run(config: DictConfig) -> None:
    """Check, evaluate, collect, write, print."""
    given = typed(config, Settings, "xray/table")
    settings = TableSettings(
        tuple(given.methods),
        tuple(given.partitions),
        tuple(given.seeds),
        Path(given.runs),
        Path(given.out),
        given.evaluate,
        settings_of(given),
        given.device,
    )
    out = writable(given.out)
    torch.set_num_threads(1)
    stages = Stages()
    try:
        summary = make_table(settings, shlex.join(["python", *sys.argv]), stages)
    finally:
        stages.close()
    print(f"{markdown(summary)}\nwrote table.md, table.tex, table.json and figures to {out}")
    if failed := summary["failed"]:
        reasons = "\n".join(f"  {cell}: {reason}" for cell, reason in failed.items())
        raise ValueError(f"{len(failed)} cells failed, all others are in the table:\n{reasons}")


@hydra.main(config_path="pkg://dcfm_configs.xray", config_name="table", version_base="1.3")
def main(config: DictConfig) -> None:
    """Compare, with bars that tell the time left; one line for each thing that can be wrong."""
    with one_line_errors("nothing that was done is lost: the same command goes on from here"):
        run(config)


if __name__ == "__main__":
    main()
