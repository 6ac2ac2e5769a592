"""Chest X-rays in a federation (:mod:`dcfm.federated`). A silo's file holds latents of the one autoencoder that all
silos share, as float16, and the 14 findings as 0 or 1; :func:`write_hospital` makes it from a hospital's own images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from dcfm.configuration import typed
from dcfm.federated.silo_files import write_silo
from dcfm.methods.method import Recipe
from dcfm.runs import read_recipe, read_task
from dcfm.silos import PARTITIONS, Silo
from dcfm_xray.cache import encode
from dcfm_xray.encoders import Codec, load_codec
from dcfm_xray.models import publish
from dcfm_xray.problem import UNREADABLE, WARNING, make_problem, open_source
from dcfm_xray.silos import Split, split
from dcfm_xray.sources import Problems, Source
from dcfm_xray.task import XrayTask

log = logging.getLogger(__name__)


@dataclass
class Dealing:
    """The keys that say how one machine deals X-rays, and their types; see :func:`dcfm_xray.silos.split`."""

    partition: str
    alpha: float
    silos: int
    seed: int
    source: str
    path: str | None
    phantoms: int
    autoencoder: str | None
    pretrained: str | None
    withhold: bool
    test_share: float
    shard: int
    workers: int
    out: str


@dataclass(frozen=True)
class FederatedXray:
    """A :class:`dcfm.federated.tasks.FederatedTask`.

    Args:
        task: what is trained.
        recipe: how each phase trains.
        dealing: how :meth:`deal` deals.
    """

    task: XrayTask
    recipe: Recipe
    dealing: Dealing

    def codec(self) -> Codec:
        """The autoencoder that all silos share.

        Raises:
            ValueError: none there, or its latents are not the task's.
        """
        given = self.dealing
        codec = load_codec(_path(given.autoencoder), _path(given.pretrained), self.task.size)
        if codec.shape != self.task.shape:
            raise ValueError(
                f"the autoencoder's latents have shape {codec.shape}, the task's {self.task.shape}; set task.latent"
            )
        return codec

    def parts(self) -> tuple[Source, Codec, Split]:
        """The images, the autoencoder, and who would have which rows; nothing is encoded yet."""
        given, codec = self.dealing, self.codec()
        source = open_source(given.source, _path(given.path), given.phantoms, given.seed)
        dealt = split(
            source.labels,
            source.patients,
            kind=given.partition,
            silos=given.silos,
            alpha=given.alpha,
            withhold=given.withhold,
            test_share=given.test_share,
            seed=given.seed,
            given_test=source.given_test,
        )
        return source, codec, dealt

    def deal(self) -> Sequence[Silo]:
        """The silos that ``scripts/xray/train.py`` would deal, encoded under ``out/cache``."""
        log.warning(WARNING)
        given, (source, codec, dealt) = self.dealing, self.parts()
        cache = Path(given.out) / "cache"
        return make_problem(source, codec, cache, dealt, shard=given.shard, workers=given.workers).silos

    publish = staticmethod(publish)
    """As :func:`dcfm_xray.models.load` loads it."""


def read(config: DictConfig) -> FederatedXray:
    """The X-rays that a configuration of configs/federated/task/xray.yaml describes.

    Raises:
        ValueError: a setting that cannot be.
    """
    keys = [part.name for part in fields(Dealing)]
    dealing = typed(OmegaConf.masked_copy(config, keys), Dealing, "federated/task/xray")
    if dealing.partition not in PARTITIONS:
        raise ValueError(f"unknown partition {dealing.partition!r}; the X-rays' are {', '.join(PARTITIONS)}")
    if dealing.shard < 1 or dealing.workers < 0:
        raise ValueError(f"shard={dealing.shard} must be at least 1 and workers={dealing.workers} at least 0")
    return FederatedXray(read_task(config, XrayTask), read_recipe(config), dealing)


def write_hospital(path: str | Path, source: Source, codec: Codec) -> Path:
    """Encode all of a hospital's readable images into the file that its SuperNode is given; returns the path.

    Args:
        path: of the file; latents are cached in ``cache`` beside it.
        source: the hospital's images, see :func:`dcfm_xray.problem.open_source`.
        codec: the federation's, see :func:`dcfm_xray.encoders.load_codec`.

    Raises:
        ValueError: no readable image, or the cache is of something else.
    """
    log.warning(WARNING)
    rows = torch.arange(len(source.labels))
    found = encode(source, rows, codec, Path(path).parent / "cache")
    if left_out := Problems({**source.problems.left_out, UNREADABLE: found.unreadable}).describe():
        log.warning("left out of %s: %s", path, left_out)
    return write_silo(path, found.latents, source.labels[rows[found.rows]])


def _path(given: str | None) -> Path | None:
    return None if given is None else Path(given)
