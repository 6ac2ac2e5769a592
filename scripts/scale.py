"""DCFM-A on 2 to 256 simulated silos on the toy: memory, bytes, time and novel recovery, with all peers and with few.

    python scripts/scale.py
    python scripts/scale.py silos=[2,8] peers=[2,null] training.stage_one.steps=50 out=runs/scale-small

Prints a table and writes it to ``out`` with ``scale.json`` and ``scale.png``. What it shows: docs/scale.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from dcfm.artefacts import write_text_atomically
from dcfm.configuration import script, typed, writable
from dcfm.records import made_by, write_json
from dcfm.toy.scale import ScaleCell, check_cells, run
from dcfm.toy.scale_report import draw, table
from dcfm.toy.score import Sampling
from dcfm.toy.training import read_training


@dataclass
class Settings:
    """The keys of configs/scale.yaml and their types."""

    silos: list[int]
    peers: list[Any]
    seeds: list[int]
    samples: int
    draws: int
    steps: int
    out: str
    training: dict[str, Any]


@script("scale", "the same command goes on from what is finished")
def main(config: DictConfig) -> None:
    """Check, simulate, write, print."""
    given = typed(config, Settings, "scale")
    if not (given.silos and given.peers and given.seeds):
        raise ValueError("silos, peers and seeds must each have at least one entry")
    for name in ("silos", "peers", "seeds"):
        values = getattr(given, name)
        if len(set(values)) != len(values):
            raise ValueError(f"{name}={values}: an entry occurs twice")
    if given.training.get("peers_per_round") is not None:
        raise ValueError(f"training.peers_per_round={given.training['peers_per_round']}: give peers= instead")
    training, sampling = read_training(given.training), Sampling(given.draws, given.steps)
    cells = [
        ScaleCell(silos, peers, seed, given.samples, training, sampling)
        for silos in given.silos
        for seed in given.seeds
        for peers in given.peers
    ]
    check_cells(cells, Path(given.out))
    out = writable(given.out)
    torch.set_num_threads(1)
    with tqdm(total=len(cells), unit="simulation") as bar:
        records = run(cells, out, bar.update)
    content = {**made_by(), "settings": OmegaConf.to_container(config, resolve=True), "cells": records}
    write_json(out / "scale.json", content)
    write_text_atomically(out / "table.md", table(records))
    draw(records, out / "scale.png")
    print(f"{table(records)}\nwrote {out}/scale.json, table.md, scale.png")


if __name__ == "__main__":
    main()
