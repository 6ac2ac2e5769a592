"""Train the planner on silos that exchange weights and label histograms, and nothing else.

    python scripts/train_planner.py partition=noniid preset=quick out=runs/noniid

Everything under ``out`` is resumable: start the same command again after an interruption.
"""

import logging
import shutil
import sys

import hydra
from omegaconf import DictConfig

from dcfm.progress import TrainingBar
from dcfm_planner.models import shipped_name, weights_folder
from dcfm_planner.progress import collection_bar
from dcfm_planner.training import train

log = logging.getLogger("train_planner")


@hydra.main(config_path="pkg://dcfm_configs", config_name="train_planner", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Check the settings, collect play data if there is none, train, publish."""
    try:
        run(cfg)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing is lost: the same command goes on from the last checkpoints")


def run(cfg: DictConfig) -> None:
    folders = train(cfg, progress=TrainingBar, collecting=collection_bar)
    for method, folder in folders.items():
        log.info("%s: %s", method, folder)
        if cfg.ship:
            target = weights_folder() / shipped_name(cfg.partition, method)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
            log.info("shipped as %s", target)


if __name__ == "__main__":
    main()
