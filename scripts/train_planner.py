"""Train the planner on silos that exchange weights and label histograms, and nothing else.

    python scripts/train_planner.py partition=noniid preset=quick out=runs/noniid

Everything under ``out`` is resumable: start the same command again after an interruption.
"""

import logging
import shutil
import sys
from collections.abc import Callable

import hydra
from omegaconf import DictConfig
from tqdm import tqdm

from dcfm_planner.models import shipped_name, weights_folder
from dcfm_planner.training import train

log = logging.getLogger("train_planner")


class Bar:
    """A progress bar a training, one below the other."""

    def __init__(self, name: str, position: int) -> None:
        self.name, self.position = name, position
        self.bar: tqdm | None = None

    def __call__(self, done: int, total: int, terms: dict[str, float]) -> None:
        if self.bar is None:
            self.bar = tqdm(
                total=total, initial=done - 1, desc=self.name, position=self.position, mininterval=5, dynamic_ncols=True
            )
        self.bar.update(1)
        if done % 50 == 0 or done == total:
            self.bar.set_postfix({name: f"{value:.4f}" for name, value in terms.items()}, refresh=False)
        if done == total:
            self.bar.close()


@hydra.main(config_path="pkg://dcfm_configs", config_name="train_planner", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Check the settings, collect play data if there is none, train, publish."""
    try:
        run(cfg)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing is lost: the same command goes on from the last checkpoints")


def show_collection(episodes: int) -> Callable[[int, int], None]:
    """A progress bar for the collection."""
    bar = tqdm(total=episodes, unit="episode", desc="collecting play data")

    def show(done: int, total: int) -> None:
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show


def run(cfg: DictConfig) -> None:
    folders = train(cfg, progress=Bar, collecting=show_collection)
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
