"""From play data to silos, and from silos to published planners: what ``scripts/train_planner.py`` runs."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from dcfm.decentralized import Federation, ProgressFactory
from dcfm.runs import check_methods, read_recipe, read_task, train_and_publish
from dcfm.silos import PARTITIONS, Silo, partition
from dcfm_envs.collection import CollectionPlan, collect
from dcfm_envs.play_data import load_play
from dcfm_planner.models import publish, resolve_device
from dcfm_planner.quadrants import NOVEL_PAIRS, SPACE, pair_labels
from dcfm_planner.segments import SegmentSet, cut
from dcfm_planner.task import PlannerTask

log = logging.getLogger(__name__)

CollectionProgress = Callable[[int], Callable[[int, int], None]]
"""Given the number of episodes, what to call with (episodes done, episodes in all) after each."""


def without_novel(segments: SegmentSet) -> SegmentSet:
    """The segments of the twelve known pairs: the diagonal moves are in no silo."""
    novel = torch.from_numpy(pair_labels(NOVEL_PAIRS))
    known = ~(segments.labels[:, None] == novel).all(-1).any(1)
    return segments[known.nonzero()[:, 0]]


def deal(segments: SegmentSet, kind: str, silos: int, *, alpha: float, seed: int) -> list[Silo]:
    """Deal the known pairs' segments to silos (``iid``, ``noniid`` or ``disjoint``, see
    :func:`dcfm.silos.partition`)."""
    known = without_novel(segments)
    generator = torch.Generator().manual_seed(seed)
    rows = partition(kind, known.labels, silos, generator, alpha=alpha)
    return [Silo(f"robot{i}", known.trajectories[r], known.labels[r]) for i, r in enumerate(rows)]


def describe_silos(silos: Sequence[Silo], space: Any) -> str:
    """One line a silo: how many segments of which pair."""
    lines = []
    for silo in silos:
        histogram = silo.histogram(space)
        pairs = [
            f"{'-'.join(space.values[i][v] for i, v in enumerate(c))} {n}"
            for c, n in zip(histogram.combinations.tolist(), histogram.counts.tolist(), strict=True)
        ]
        lines.append(f"{silo.name}: {histogram.total} segments: {', '.join(pairs)}")
    return "\n".join(lines)


def train(
    cfg: DictConfig, *, progress: ProgressFactory | None = None, collecting: CollectionProgress | None = None
) -> dict[str, Path]:
    """What ``scripts/train_planner.py`` does with its configuration: collect if need be, cut, deal, train, publish.

    Args:
        cfg: the configuration ``train_planner``, composed.
        progress: see :data:`~dcfm.decentralized.ProgressFactory`.
        collecting: makes, given the number of episodes, what to call with the number done after each.

    Returns:
        The published folders by method.

    Raises:
        ValueError: settings that cannot be, before any work.
    """
    check_methods(cfg.methods)
    if cfg.partition not in PARTITIONS:
        raise ValueError(f"unknown partition {cfg.partition!r}; the partitions are {', '.join(PARTITIONS)}")
    device = resolve_device(cfg.device)
    task, recipe = read_task(cfg, PlannerTask), read_recipe(cfg)
    segments = cut(load_play(_collected(cfg, collecting)), task.horizon, cfg.border_margin)
    log.info("segments: %s", segments.counts)
    silos = deal(segments, cfg.partition, cfg.silos, alpha=cfg.alpha, seed=cfg.seed)
    log.info("silos:\n%s", describe_silos(silos, SPACE))
    torch.set_num_threads(1)
    federation = Federation(task, silos, Path(cfg.out), cfg.seed, str(device), cfg.workers, progress, cfg.snapshots)
    publisher = partial(
        publish,
        histograms=federation.histograms,
        task=task,
        partition=cfg.partition,
        training=OmegaConf.to_container(cfg, resolve=True),  # type: ignore[arg-type] # keys are strings
    )
    return train_and_publish(federation, list(cfg.methods), recipe, publisher)


def _collected(cfg: DictConfig, collecting: CollectionProgress | None) -> Path:
    """The play data's file; collected first where it is absent."""
    path = Path(cfg.data)
    if not path.exists():
        plan = CollectionPlan(cfg.collect.train, cfg.collect.val, cfg.collect.seed)
        show = None if collecting is None else collecting(plan.train + plan.val)
        collect(plan, path.parent, name=path.stem, workers=cfg.workers, on_episode=show)
    return path
