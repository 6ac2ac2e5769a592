"""Train the planner on silos that exchange weights and label histograms, and nothing else.

    python scripts/train_planner.py partition=noniid preset=quick out=runs/noniid

Everything under ``out`` is resumable: start the same command again after an interruption.
"""

import logging
import shutil
import sys
from pathlib import Path

import hydra
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from dcfm.decentralized import Federation
from dcfm_envs.collection import CollectionPlan, collect
from dcfm_envs.play_data import load_play
from dcfm_planner.models import PARTITIONS, resolve_device, shipped_name, weights_folder
from dcfm_planner.quadrants import SPACE
from dcfm_planner.segments import cut
from dcfm_planner.training import deal, describe_silos, train_and_publish

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


def collected(cfg: DictConfig) -> Path:
    """The play data's file; collected first where it is absent."""
    path = Path(cfg.data)
    if not path.exists():
        plan = CollectionPlan(cfg.collect.train, cfg.collect.val, cfg.collect.seed)
        with tqdm(total=plan.train + plan.val, unit="episode", desc=f"collecting {path.stem}") as bar:

            def show(done: int, total: int) -> None:
                bar.update(done - bar.n)

            collect(plan, path.parent, name=path.stem, workers=cfg.workers, on_episode=show)
    return path


def run(cfg: DictConfig) -> None:
    methods = list(cfg.methods)
    for method in methods:
        shipped_name("noniid", method)
    if cfg.partition not in (*PARTITIONS, "disjoint"):
        raise ValueError(f"unknown partition {cfg.partition!r}; the partitions are iid, noniid, disjoint")
    device = resolve_device(cfg.device)
    try:
        settings = {name: hydra.utils.instantiate(cfg[name]) for name in ("task", "stage_one", "peers", "student")}
    except InstantiationException as error:
        raise ValueError(str(error.__cause__ or error)) from error
    settings["task"].network()  # an impossible horizon is an error now, not after the collection
    segments = cut(load_play(collected(cfg)), settings["task"].horizon, cfg.border_margin)
    log.info("segments: %s", segments.counts)
    silos = deal(segments, cfg.partition, cfg.silos, alpha=cfg.alpha, seed=cfg.seed)
    log.info("silos:\n%s", describe_silos(silos, SPACE))
    torch.set_num_threads(1)
    out = Path(cfg.out)
    federation = Federation(settings["task"], silos, out, cfg.seed, str(device), cfg.workers, Bar, cfg.snapshots)
    folders = train_and_publish(
        federation,
        methods,
        settings["stage_one"],
        settings["peers"],
        settings["student"],
        partition=cfg.partition,
        training=OmegaConf.to_container(cfg, resolve=True),  # type: ignore[arg-type]
    )
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
