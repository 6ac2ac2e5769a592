"""From X-rays to silos of latents, and from silos to published models: what ``scripts/xray/train.py`` runs.

    out/cache/<silo>/              latents, encoded once
    out/combinations.json          who holds how many of which label set, and the settings that decide it
    out/left_out.json              what of the data is in no silo, by kind and name
    out/published/<method>/        the trained models
    out/<method>.ledger.jsonl      every message between silos

and what :mod:`dcfm.decentralized` keeps on the way.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from dcfm.configuration import typed, writable
from dcfm.jobs import ProgressFactory
from dcfm.methods.method import Recipe
from dcfm.progress import StageProgress
from dcfm.records import write_json
from dcfm.runs import RunSettings, check_run, claim, read_recipe, read_task, train_dealt
from dcfm.task import task_settings
from dcfm_xray.dealing import Dealing
from dcfm_xray.encoders import Codec
from dcfm_xray.models import publish
from dcfm_xray.problem import Problem
from dcfm_xray.silos import Split
from dcfm_xray.sources import Source
from dcfm_xray.task import XrayTask

log = logging.getLogger(__name__)

COMBINATIONS = "combinations.json"
"""File under ``out``: who holds what."""

LEFT_OUT = "left_out.json"
"""File under ``out``: rows and images that are in no silo because something is wrong with them."""

CACHE = "cache"
"""Folder under ``out``."""


@dataclass
class Settings(RunSettings, Dealing):
    """The keys of configs/xray/train.yaml and their types: of every training, and of how X-rays are dealt."""

    tensorboard: bool = False  # models of before it are read too


@dataclass(frozen=True)
class Prepared:
    """A configuration, checked and made into what is trained.

    Attributes:
        settings: typed.
        task, recipe: what is trained and how.
        dealing: how it is dealt.
        source, codec, split: of the problem, which is not encoded yet.
    """

    settings: Settings
    task: XrayTask
    recipe: Recipe
    dealing: Dealing
    source: Source
    codec: Codec
    split: Split

    def problem(self, cache: Path, on_progress: StageProgress | None = None) -> Problem:
        """Encode what is not encoded; see :func:`dcfm_xray.problem.make_problem`."""
        return self.dealing.problem((self.source, self.codec, self.split), cache, on_progress)


def prepare(cfg: DictConfig) -> Prepared:
    """Check everything that can be wrong before any work: keys, types, methods, network, data, split. Writes nothing.

    Raises:
        ValueError: settings that cannot be.
    """
    settings = typed(cfg, Settings, "xray/train")
    check_run(settings)
    dealing = Dealing.of(vars(settings), "xray/train")
    task, recipe = read_task(cfg, XrayTask), read_recipe(cfg, settings.methods)
    source, codec, split = dealing.parts(task)
    return Prepared(settings, task, recipe, dealing, source, codec, split)


def train(
    cfg: DictConfig, *, progress: ProgressFactory | None = None, on_progress: StageProgress | None = None
) -> dict[str, Path]:
    """What ``scripts/xray/train.py`` does with its configuration: open, split, encode, train, publish.

    What is finished under ``out`` is not done again.

    Args:
        cfg: the configuration ``xray/train``, composed.
        progress: of trainings, see :data:`~dcfm.jobs.ProgressFactory`.
        on_progress: of encoding.

    Returns:
        The published folders by method.

    Raises:
        ValueError: settings that cannot be, before any work; an ``out`` that holds another problem.
    """
    ready = prepare(cfg)
    settings = ready.settings
    out = writable(settings.out)
    torch.set_num_threads(1)
    problem = ready.problem(out / CACHE, on_progress)
    log.info("%s", problem.describe())
    write_combinations(out, ready, problem)
    write_json(out / LEFT_OUT, {kind: list(names) for kind, names in problem.left_out.left_out.items()})
    return train_dealt(settings, ready.task, problem.silos, ready.recipe, cfg, publish, progress)


def write_combinations(out: Path, ready: Prepared, problem: Problem) -> None:
    """Write ``out/combinations.json``.

    Raises:
        ValueError: there is one already, of other silos or another network.
    """
    given = ready.settings
    matrix = problem.matrix()
    # A source's name says where it lay; the caches know by its content whether it is the same.
    told = {"source": matrix.pop("source")}
    content = matrix | {
        "partition": given.partition,
        "alpha": given.alpha,
        "withhold": given.withhold,
        "seed": given.seed,
        "autoencoder": ready.codec.fingerprint,
        "task": task_settings(ready.task),
    }
    claim(out / COMBINATIONS, content, told)
