"""Judge a trained X-ray model: train a classifier on its pictures alone and ask it about real test images.

    python scripts/xray/evaluate.py model=runs/xray/noniid/published/dcfm_b

Synthetic medical images are for research, not for diagnosis. Writes ``metrics.json`` and more to ``out``
(:mod:`dcfm_xray.evaluation`); what is there is not made again. The settings are described in
configs/xray/evaluate.yaml.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from dcfm.configuration import script, typed
from dcfm.progress import Stages
from dcfm.records import command_line
from dcfm_xray.evaluation import evaluate
from dcfm_xray.evaluation_settings import Keys, settings_of
from dcfm_xray.problem import WARNING
from dcfm_xray.text import describe_metrics, describe_utility


@dataclass
class Settings(Keys):
    """The keys of configs/xray/evaluate.yaml and their types, beyond those of :class:`Keys`."""

    model: str
    out: str
    real: str | None
    path: str | None
    autoencoder: str | None
    pretrained: str | None
    redo: bool
    device: str


def run(config: DictConfig) -> None:
    """Check, evaluate, print."""
    given = typed(config, Settings, "xray/evaluate")
    settings = settings_of(given)
    torch.set_num_threads(1)
    out, stages = Path(given.out), Stages()
    paths = {name: _path(getattr(given, name)) for name in ("path", "autoencoder", "pretrained", "real")}
    ceiling: dict[str, Any] = {}
    try:
        metrics = evaluate(
            Path(given.model),
            out,
            settings,
            command=command_line(),
            device=given.device,
            redo=given.redo,
            on_progress=stages,
            announce=ceiling.update,
            **paths,
        )
    finally:
        stages.close()
    print(f"{WARNING}\n\n{describe_metrics(metrics)}\nreal pictures: {describe_utility(ceiling)}")
    print(f"wrote metrics.json and more to {out}")


def _path(given: str | None) -> Path | None:
    return None if given is None else Path(given)


@script("xray/evaluate", "nothing that was done is lost: the same command goes on from here")
def main(config: DictConfig) -> None:
    """Evaluate, with bars that tell the time left; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
