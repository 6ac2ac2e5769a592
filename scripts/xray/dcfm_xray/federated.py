"""Chest X-rays in a federation (:mod:`dcfm.federated`). A silo's file holds latents of the one autoencoder that all
silos share, as float16, and the 14 findings as 0 or 1; :func:`write_hospital` makes it from a hospital's own images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from dcfm.configuration import typed
from dcfm.federated.silo_files import write_silo
from dcfm.methods.method import Recipe
from dcfm.runs import read_recipe, read_task
from dcfm.silos import Silo
from dcfm_xray.cache import encode
from dcfm_xray.dealing import Dealing
from dcfm_xray.encoders import Codec
from dcfm_xray.models import publish
from dcfm_xray.problem import UNREADABLE, WARNING
from dcfm_xray.sources import Problems, Source
from dcfm_xray.task import XrayTask

log = logging.getLogger(__name__)


@dataclass
class Keys:
    """The keys of configs/federated/task/xray.yaml beyond those of :class:`~dcfm_xray.dealing.Dealing`, of which
    ``phantoms`` stands for ``images``."""

    phantoms: int
    out: str


@dataclass(frozen=True)
class FederatedXray:
    """A :class:`dcfm.federated.tasks.FederatedTask`.

    Args:
        task: what is trained.
        recipe: how each phase trains.
        dealing: how :meth:`deal` deals.
        out: where latents are cached.
    """

    task: XrayTask
    recipe: Recipe
    dealing: Dealing
    out: Path

    def codec(self) -> Codec:
        """The autoencoder that all silos share; see :meth:`dcfm_xray.dealing.Dealing.codec`."""
        return self.dealing.codec(self.task)

    def deal(self) -> Sequence[Silo]:
        """The silos that ``scripts/xray/train.py`` would deal, encoded under ``out/cache``."""
        log.warning(WARNING)
        return self.dealing.problem(self.dealing.parts(self.task), self.out / "cache").silos

    publish = staticmethod(publish)
    """As :func:`dcfm_xray.models.load` loads it."""


def read(config: DictConfig) -> FederatedXray:
    """The X-rays that a configuration of configs/federated/task/xray.yaml describes.

    Raises:
        ValueError: a setting that cannot be.
    """
    where = "federated/task/xray"
    keys = typed(OmegaConf.masked_copy(config, [part.name for part in fields(Keys)]), Keys, where)
    names = [part.name for part in fields(Dealing) if part.name in config]
    plain: dict[str, Any] = OmegaConf.to_container(OmegaConf.masked_copy(config, names), resolve=True)  # type: ignore[assignment]
    dealing = Dealing.of(plain | {"images": keys.phantoms}, where)
    return FederatedXray(read_task(config, XrayTask), read_recipe(config), dealing, Path(keys.out))


def write_hospital(path: str | Path, source: Source, codec: Codec, *, workers: int = 0) -> Path:
    """Encode all of a hospital's readable images into the file that its SuperNode is given; returns the path.

    Args:
        path: of the file; latents are cached beside it, in a folder of its name that ends in ``.cache``.
        source: the hospital's images, see :func:`dcfm_xray.problem.open_source`.
        codec: the federation's, see :func:`dcfm_xray.encoders.load_codec`.
        workers: processes that encode, for which a script needs ``if __name__ == "__main__"``; 0 encodes in this one,
            on one thread.

    Raises:
        ValueError: no readable image, or the cache is of something else.
    """
    log.warning(WARNING)
    rows = torch.arange(len(source.labels))
    found = encode(source, rows, codec, Path(path).with_suffix(".cache"), workers=workers)
    if left_out := Problems({**source.problems.left_out, UNREADABLE: found.unreadable}).describe():
        log.warning("left out of %s: %s", path, left_out)
    return write_silo(path, found.latents, source.labels[rows[found.rows]])
