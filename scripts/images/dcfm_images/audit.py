"""Image models under audit (:mod:`dcfm.privacy.audit`): silos' pictures against those of the reference digits."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from omegaconf import DictConfig
from torch import Tensor

from dcfm.configuration import typed
from dcfm.privacy.audit import Subject, check_counts, describe_model, make_targets
from dcfm.privacy.neighbours import Samples
from dcfm_images.digits import Digits
from dcfm_images.lineage import problem_of
from dcfm_images.models import load


@dataclass
class _Keys:
    """The keys under ``images`` and their types."""

    model: str
    digits: str | None
    folder: str | None
    heldout: int
    steps: int


def read(config: DictConfig) -> Subject:
    """The model that a configuration of configs/subject/images.yaml describes.

    Raises:
        ValueError: no such model, digits that its silos did not have, or no digits held out.
    """
    given = typed(config.images, _Keys, "subject/images")
    check_counts("images", heldout=given.heldout, steps=given.steps)
    model = load(given.model, "cpu")
    problem = problem_of(model, digits=given.digits, folder=None if given.folder is None else Path(given.folder))
    generator = torch.Generator().manual_seed(config.seed)
    rows = torch.randperm(len(problem.reference), generator=generator)[: given.heldout]
    reference = problem.reference[rows]
    labels = known_colours(reference, problem.known, generator)
    heldout = Samples(model.task.prepare(reference.images, labels), labels)
    targets = make_targets(model.networks, problem.silos, heldout, model.task)
    return Subject(targets, describe_model(given.model, model) | {"digits": reference.source}, given.steps)


def known_colours(digits: Digits, known: Int[Tensor, "m 2"], generator: torch.Generator) -> Int[Tensor, "n 2"]:
    """Labels for new digits as silos have them: each in one of the colours that its digit is observed in."""
    colour = torch.empty_like(digits.labels)
    for digit in digits.labels.unique():
        rows, palette = digits.labels == digit, known[known[:, 0] == digit, 1]
        colour[rows] = palette[torch.randint(len(palette), (int(rows.sum()),), generator=generator)]
    return torch.stack([digits.labels, colour], dim=1)
