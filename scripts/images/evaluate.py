"""Judge a trained image model on known and novel combinations.

    python scripts/images/evaluate.py model=runs/images/noniid/published/dcfm_b
    python scripts/images/evaluate.py model=runs/images/noniid/published/dcfm_b 'curve=[4,8,16,25,50]'

Writes ``metrics.json`` and more to ``out`` (:mod:`dcfm_images.evaluation`); what is there is not made again. The
settings are described in configs/images/evaluate.yaml.
"""

import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from dcfm.configuration import script, typed
from dcfm.progress import Stages
from dcfm_images.evaluation import evaluate
from dcfm_images.evaluation_settings import EvaluationSettings
from dcfm_images.text import describe_metrics


@dataclass
class Settings:
    """The keys of configs/images/evaluate.yaml and their types."""

    model: str
    out: str
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
    reader: str | None
    draws: int
    batch: int
    digits: str | None
    folder: str | None
    held_back: str | None
    redo: bool
    device: str


NOT_OF_THE_EVALUATION = ("model", "out", "reader", "digits", "folder", "held_back", "redo", "device")
"""Keys that are not fields of :class:`~dcfm_images.evaluation_settings.EvaluationSettings`."""


def run(config: DictConfig) -> None:
    """Check, evaluate, print."""
    given = typed(config, Settings, "images/evaluate")
    plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in asdict(given).items()}
    settings = EvaluationSettings(**{k: v for k, v in plain.items() if k not in NOT_OF_THE_EVALUATION})
    torch.set_num_threads(1)
    out, stages = Path(given.out), Stages()
    try:
        metrics = evaluate(
            Path(given.model),
            out,
            settings,
            command=shlex.join(["python", *sys.argv]),
            device=given.device,
            digits=given.digits,
            folder=None if given.folder is None else Path(given.folder),
            held_back=None if given.held_back is None else Path(given.held_back),
            reader=None if given.reader is None else Path(given.reader),
            redo=given.redo,
            on_progress=stages,
        )
    finally:
        stages.close()
    print(f"{describe_metrics(metrics)}\nwrote metrics.json and more to {out}")


@script("images/evaluate", "nothing that was done is lost: the same command goes on from here")
def main(config: DictConfig) -> None:
    """Evaluate, with bars that tell the time left; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
