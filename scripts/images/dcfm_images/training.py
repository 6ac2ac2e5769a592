"""From digits to silos, and from silos to published image models: what ``scripts/images/train.py`` runs.

    out/combinations.json          who holds how much of what, and the settings that decide it
    out/published/<method>/        the trained models
    out/<method>.ledger.jsonl      every message between silos

and what :mod:`dcfm.decentralized` keeps on the way.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from dcfm.configuration import typed, writable
from dcfm.jobs import ProgressFactory
from dcfm.methods.method import Recipe
from dcfm.runs import RunSettings, check_run, claim, read_recipe, read_task, train_dealt
from dcfm.task import task_settings
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
    """

    settings: Settings
    task: ImageTask
    recipe: Recipe
    problem: Problem


def prepare(cfg: DictConfig) -> Prepared:
    """Check everything that can be wrong before any work: keys, types, methods, network, digits, split.

    Nothing is written, except that digits which are downloaded are kept in the user's cache.

    Raises:
        ValueError: settings that cannot be.
    """
    settings = typed(cfg, Settings, "images/train")
    check_run(settings)
    task, recipe = read_task(cfg, ImageTask), read_recipe(cfg, settings.methods)
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
    return Prepared(settings, task, recipe, problem)


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
    write_combinations(writable(settings.out), ready)
    return train_dealt(settings, ready.task, problem.silos, ready.recipe, cfg, publish, progress)


def write_combinations(out: Path, ready: Prepared) -> None:
    """Write ``out/combinations.json``.

    Raises:
        ValueError: there is one already, of other silos, attributes or another network.
    """
    settings = ready.settings
    content = ready.problem.matrix() | {
        "partition": settings.partition,
        "alpha": settings.alpha,
        "seed": settings.seed,
        "task": task_settings(ready.task),
    }
    told = {"source": content.pop("source")}  # where the digits lay: what they are, each training's data hash tells
    claim(out / COMBINATIONS, content, told)
