"""Trained X-ray models under audit (:mod:`dcfm.privacy.audit`): hospitals' latents against those of test patients."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from omegaconf import DictConfig
from torch import Tensor

from dcfm.configuration import typed
from dcfm.privacy.audit import Subject, check_counts, describe_model, make_targets
from dcfm.privacy.neighbours import Samples
from dcfm_xray.cache import BATCH, at_once
from dcfm_xray.encoders import Codec
from dcfm_xray.lineage import problem_of
from dcfm_xray.models import load
from dcfm_xray.problem import read_pictures


@dataclass
class _Keys:
    """The keys under ``xray`` and their types."""

    model: str
    path: str | None
    autoencoder: str | None
    pretrained: str | None
    heldout: int
    steps: int


def read(config: DictConfig) -> Subject:
    """The model that a configuration of configs/subject/xray.yaml describes.

    Raises:
        ValueError: no such model, data that its hospitals did not have, or no image held out.
    """
    given = typed(config.xray, _Keys, "subject/xray")
    check_counts("xray", heldout=given.heldout, steps=given.steps)
    model = load(given.model, "cpu")
    path, autoencoder, pretrained = (
        None if value is None else Path(value) for value in (given.path, given.autoencoder, given.pretrained)
    )
    problem = problem_of(model, Path(given.model).resolve(), path=path, autoencoder=autoencoder, pretrained=pretrained)
    test, generator = problem.split.test, torch.Generator().manual_seed(config.seed)
    rows = test[torch.randperm(len(test), generator=generator)[: given.heldout]].sort().values
    pictures = read_pictures(problem.source, rows, problem.codec.size).pictures
    stored = encoded(problem.codec, pictures.images)
    heldout = Samples(model.task.prepare(stored, pictures.labels), pictures.labels, pictures.patients)
    targets = make_targets(model.networks, problem.silos, heldout, model.task, problem.patients)
    return Subject(targets, describe_model(given.model, model) | {"data": problem.source.name}, given.steps)


@torch.no_grad()
def encoded(codec: Codec, images: UInt8[Tensor, "n size size"]) -> Tensor:
    """Latents as silos store them: float16, rounded alike for members and others."""
    return torch.cat([codec.encode(part) for part in images.split(at_once(BATCH, codec.size))]).half()
