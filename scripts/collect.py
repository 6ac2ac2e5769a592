"""Collect play data of the cube scene with OGBench's oracle, into OGBench's own file format.

    python scripts/collect.py                          # 600 + 60 episodes into data/, on every core
    python scripts/collect.py train=20 val=2 seed=3 workers=2 out=data/small

Interrupt it at any time: the next start goes on with the episodes that are missing. The settings are described in
configs/collect.yaml.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from tqdm import tqdm

os.environ.setdefault("MUJOCO_GL", "disable")  # no picture is drawn here

from dcfm.configuration import script, typed, writable
from dcfm.workers import usable_cores
from dcfm_envs.collection import CollectionPlan, collect


@dataclass
class Settings:
    """The keys of configs/collect.yaml and their types."""

    train: int
    val: int
    steps: int
    seed: int
    workers: int | None
    out: str
    name: str


def read_settings(config: DictConfig) -> tuple[CollectionPlan, Settings]:
    """Check the types and ranges of what was given.

    Raises:
        ValueError: a value has the wrong type or is out of range.
    """
    settings = typed(config, Settings, "collect")
    if settings.workers is not None and settings.workers < 1:
        raise ValueError(f"workers={settings.workers}; give at least 1, or null for one process a core")
    if not settings.name or Path(settings.name).name != settings.name:
        raise ValueError(f"name={settings.name!r}; give a file name without folder and ending")
    return CollectionPlan(settings.train, settings.val, settings.seed, settings.steps), settings


@script("collect", "nothing is lost: the same command goes on from here")
def main(config: DictConfig) -> None:
    """Collect, with a bar that tells the time left."""
    plan, settings = read_settings(config)
    writable(settings.out)
    workers = settings.workers or usable_cores()
    with tqdm(total=plan.train + plan.val, unit="episode", desc=settings.name, smoothing=0.1) as bar:

        def show(done: int, total: int) -> None:
            if bar.n == 0 and done:
                bar.initial = done  # episodes of an earlier run say nothing about the pace of this one
            bar.update(done - bar.n)

        train, val = collect(plan, Path(settings.out), name=settings.name, workers=workers, on_episode=show)
    print(f"wrote {train}" + (f" and {val}" if plan.val else ""))


if __name__ == "__main__":
    main()
