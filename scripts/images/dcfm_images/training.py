"""From digits to silos, and from silos to published image models: what ``scripts/images/train.py`` runs.

    out/combinations.json          who holds how much of what, and the settings that decide it
    out/published/<method>/        the trained models
    out/<method>.ledger.jsonl      every message between silos

and what :mod:`dcfm.decentralized` keeps on the way.
"""

import logging
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from dcfm.configuration import typed, writable
from dcfm.decentralized import Federation
from dcfm.jobs import ProgressFactory
from dcfm.methods.method import Recipe
from dcfm.published import resolve_device
from dcfm.runs import RunSettings, check_methods, claim, read_recipe, read_task, train_and_publish
from dcfm_images.digits import load_digits
from dcfm_images.models import publish
from dcfm_images.problem import Problem, make_problem
from dcfm_images.task import ImageTask

log = logging.getLogger(__name__)

COMBINATIONS = "combinations.json"
"""File under ``out``: the combination matrix."""


@dataclass
class Settings(RunSettings):
    """The keys of configs/images/train.yaml and their types."""

    observed: int
    reference: float
    digits: str
    folder: str | None
    tensorboard: bool = False  # models of before it are read too


@dataclass(frozen=True)
class Prepared:
    """A configuration, checked and made into what is trained.

    Attributes:
        settings: typed.
        task, recipe: what is trained and how.
        problem: silos and reference.
        device: of the trainings.
        resolved: the whole configuration as plain data.
    """

    settings: Settings
    task: ImageTask
    recipe: Recipe
    problem: Problem
    device: torch.device
    resolved: dict[str, Any]


def prepare(cfg: DictConfig) -> Prepared:
    """Check everything that can be wrong before any work: keys, types, methods, network, digits, split.

    Nothing is written, except that digits which are downloaded are kept in the user's cache.

    Raises:
        ValueError: settings that cannot be.
    """
    settings = typed(cfg, Settings, "images/train")
    check_methods(settings.methods)
    if settings.workers < 0 or settings.seed < 0:
        raise ValueError(f"workers={settings.workers} and seed={settings.seed} must be at least 0")
    device = resolve_device(settings.device)
    task, recipe = read_task(cfg, ImageTask), read_recipe(cfg)
    digits = load_digits(None if settings.folder is None else Path(settings.folder), task.size, source=settings.digits)
    problem = make_problem(
        digits,
        silos=settings.silos,
        kind=settings.partition,
        alpha=settings.alpha,
        observed=settings.observed,
        reference=settings.reference,
        seed=settings.seed,
    )
    resolved: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    return Prepared(settings, task, recipe, problem, device, resolved)


def train(cfg: DictConfig, *, progress: ProgressFactory | None = None) -> dict[str, Path]:
    """What ``scripts/images/train.py`` does with its configuration: load digits, deal, train, publish.

    Methods share what they have in common, and what is finished under ``out`` is not trained again.

    Args:
        cfg: the configuration ``images/train``, composed.
        progress: see :data:`~dcfm.jobs.ProgressFactory`.

    Returns:
        The published folders by method.

    Raises:
        ValueError: settings that cannot be, before any work; an ``out`` that holds another problem.
    """
    ready = prepare(cfg)
    settings, problem = ready.settings, ready.problem
    log.info("digits: %s", problem.reference.source)
    log.info("%s", problem.describe())
    out = writable(settings.out)
    write_combinations(out, ready)
    torch.set_num_threads(1)
    federation = Federation(
        ready.task,
        problem.silos,
        out,
        settings.seed,
        str(ready.device),
        settings.workers,
        progress,
        settings.snapshots,
    )
    publisher = partial(
        publish,
        histograms=federation.histograms,
        task=ready.task,
        partition=settings.partition,
        training=ready.resolved,
    )
    return train_and_publish(federation, settings.methods, ready.recipe, publisher)


def write_combinations(out: Path, ready: Prepared) -> None:
    """Write ``out/combinations.json``.

    Raises:
        ValueError: there is one already, of other silos, attributes or another network.
    """
    settings = ready.settings
    network = {key: value for key, value in asdict(ready.task).items() if key not in ("precision", "compile")}
    content = ready.problem.matrix() | {
        "partition": settings.partition,
        "alpha": settings.alpha,
        "seed": settings.seed,
        "task": network | {"channels": list(ready.task.channels)},
    }
    told = {"source": content.pop("source")}  # where the digits lay: what they are, each training's data hash tells
    claim(out / COMBINATIONS, content, told)
