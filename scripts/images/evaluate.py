"""Judge a trained image model on known and novel combinations.

    python scripts/images/evaluate.py model=runs/images/noniid/published/dcfm_b
    python scripts/images/evaluate.py model=runs/images/noniid/published/dcfm_b 'curve=[4,8,16,25,50]'

Writes ``metrics.json`` and more to ``out`` (:mod:`dcfm_images.evaluation`); what is there is not made again. The
settings are described in configs/images/evaluate.yaml.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from dcfm.configuration import script, typed
from dcfm.progress import Stages
from dcfm.records import command_line
from dcfm_images.evaluation import evaluate
from dcfm_images.evaluation_settings import Keys, settings_of
from dcfm_images.text import describe_metrics


@dataclass
class Settings(Keys):
    """The keys of configs/images/evaluate.yaml and their types, beyond those of :class:`Keys`."""

    model: str
    out: str
    reader: str | None
    digits: str | None
    folder: str | None
    held_back: str | None
    redo: bool
    device: str


def run(config: DictConfig) -> None:
    """Check, evaluate, print."""
    given = typed(config, Settings, "images/evaluate")
    settings = settings_of(given)
    torch.set_num_threads(1)
    out, stages = Path(given.out), Stages()
    try:
        metrics = evaluate(
            Path(given.model),
            out,
            settings,
            command=command_line(),
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
