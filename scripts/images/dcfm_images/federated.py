"""Coloured digits in a federation (:mod:`dcfm.federated`). A silo's file holds grey bytes ``(n, size, size)`` and the
labels digit and colour; colours are painted batch by batch, so silos need nothing in common but the task."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from dcfm.configuration import typed
from dcfm.methods.method import Recipe
from dcfm.runs import read_recipe, read_task
from dcfm.silos import PARTITIONS, Silo
from dcfm_images.digits import load_digits
from dcfm_images.models import publish
from dcfm_images.problem import make_problem
from dcfm_images.task import ImageTask


@dataclass
class Dealing:
    """The keys that say how one machine deals digits, and their types; see :func:`dcfm_images.problem.make_problem`."""

    partition: str
    alpha: float
    silos: int
    seed: int
    observed: int
    reference: float
    digits: str
    folder: str | None


@dataclass(frozen=True)
class FederatedImages:
    """A :class:`dcfm.federated.tasks.FederatedTask`.

    Args:
        task: what is trained.
        recipe: how each phase trains.
        dealing: how :meth:`deal` deals.
    """

    task: ImageTask
    recipe: Recipe
    dealing: Dealing

    def deal(self) -> Sequence[Silo]:
        """The silos that ``scripts/images/train.py`` would deal."""
        given = self.dealing
        folder = None if given.folder is None else Path(given.folder)
        return make_problem(
            load_digits(folder, self.task.size, source=given.digits),
            silos=given.silos,
            kind=given.partition,
            alpha=given.alpha,
            observed=given.observed,
            reference=given.reference,
            seed=given.seed,
        ).silos

    publish = staticmethod(publish)
    """As :func:`dcfm_images.models.load` loads it."""


def read(config: DictConfig) -> FederatedImages:
    """The digits that a configuration of configs/federated/task/images.yaml describes.

    Raises:
        ValueError: a setting that cannot be.
    """
    keys = [part.name for part in fields(Dealing)]
    dealing = typed(OmegaConf.masked_copy(config, keys), Dealing, "federated/task/images")
    if dealing.partition not in PARTITIONS:
        raise ValueError(f"unknown partition {dealing.partition!r}; the digits' are {', '.join(PARTITIONS)}")
    return FederatedImages(read_task(config, ImageTask), read_recipe(config), dealing)
