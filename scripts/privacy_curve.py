"""Train the toy with differential privacy and draw what it costs: shares in the modes against epsilon.

    python scripts/privacy_curve.py
    python scripts/privacy_curve.py methods=[dcfm_b] 'noises=[null,1]' seeds=[0] out=runs/privacy-small

Prints a table and writes it to ``out`` with ``privacy.json`` and ``privacy.png``. The guarantee: docs/privacy.md.
"""

from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from dcfm.artefacts import write_text_atomically
from dcfm.comparison import check_list
from dcfm.configuration import script, typed, writable
from dcfm.records import made_by, write_json
from dcfm.toy.private import RULES, PrivateCell, draw, run, summarise, table
from dcfm.toy.problem import ProblemSettings
from dcfm.toy.score import Sampling
from dcfm.toy.training import read_training


@dataclass
class Settings:
    """The keys of configs/privacy_curve.yaml and their types."""

    methods: list[str]
    noises: list[Any]
    seeds: list[int]
    clip: float
    delta: float
    partition: str
    silos: int
    samples: int
    draws: int
    steps: int
    out: str
    training: dict[str, Any]


@script("privacy_curve", "the same command goes on from what is finished")
def main(config: DictConfig) -> None:
    """Check, train, score, write, print."""
    given = typed(config, Settings, "privacy_curve")
    check_list("methods", given.methods, tuple(RULES))
    check_list("seeds", given.seeds)
    noises = [None if noise is None else float(noise) for noise in given.noises]
    if not noises or len(set(noises)) != len(noises):
        raise ValueError(f"noises={given.noises}: give at least one, each once")
    training, sampling = read_training(given.training), Sampling(given.draws, given.steps)
    cells = [
        PrivateCell(
            method,
            noise,
            given.clip,
            given.delta,
            ProblemSettings(partition=given.partition, silos=given.silos, samples=given.samples, seed=seed),
            training,
            sampling,
        )
        for method in given.methods
        for noise in noises
        for seed in given.seeds
    ]
    out = writable(given.out)
    torch.set_num_threads(1)
    with tqdm(total=len(cells), unit="training") as bar:
        points = summarise(run(cells, out, bar.update))
    settings = OmegaConf.to_container(config, resolve=True)
    content = {**made_by(), "settings": settings, "points": points}
    write_json(out / "privacy.json", content)
    write_text_atomically(out / "table.md", table(points))
    draw(points, out / "privacy.png")
    print(f"{table(points)}\nwrote {out}/privacy.json, table.md, privacy.png")


if __name__ == "__main__":
    main()
