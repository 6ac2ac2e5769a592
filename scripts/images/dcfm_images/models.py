"""Trained image models as artefacts (:mod:`dcfm.published`)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from dcfm import published
from dcfm.published import ModelError, Published, load_published, resolve_device
from dcfm.silos import LabelHistogram
from dcfm_images.problem import SPACE
from dcfm_images.task import ImageTask


@dataclass(frozen=True)
class LoadedModel(Published):
    """A published image model; :meth:`~dcfm.published.Published.field` gives what to sample from.

    Attributes:
        task: what was trained; its ``size`` and ``shape`` are those of the pictures.
        known: combinations that some silo held, in lexicographic order; all others are novel.
        device: of the networks.
    """

    task: ImageTask
    known: Int[Tensor, "m 2"]
    device: torch.device


def publish(
    folder: Path,
    experts: Sequence[Mapping[str, Tensor]],
    histograms: Sequence[LabelHistogram],
    task: ImageTask,
    *,
    method: str,
    partition: str,
    training: Mapping[str, Any],
    data_hash: str | None = None,
) -> None:
    """Write an image model's artefact; see :func:`dcfm.published.publish`."""
    published.publish(
        folder,
        experts,
        histograms,
        method=method,
        partition=partition,
        task={**asdict(task), "channels": list(task.channels)},
        training=training,
        space=SPACE,
        data_hash=data_hash,
    )


def load(folder: str | Path, device: str = "auto", **changes: Any) -> LoadedModel:
    """Load a published model.

    Args:
        folder: ``out/published/<method>`` of a training.
        device: ``auto``, ``cpu``, ``cuda``.
        changes: settings of the task that leave the weights as they are, e.g. ``precision="float32"``.

    Raises:
        ModelError: no artefact of an image model, or one of another attribute space or architecture.
        dcfm.artefacts.ArtefactError: what is there is missing, truncated or damaged.
    """

    def build(settings: Mapping[str, Any]) -> ImageTask:
        return ImageTask(**{**settings, "channels": tuple(settings["channels"]), **changes})

    where, folder = resolve_device(device), Path(folder)
    found = load_published(folder, build, where, what="an image model")
    if not isinstance(found.task, ImageTask) or "attributes" not in found.config:
        raise ModelError(f"{folder} is an artefact, but not of an image model; choose another folder")
    known = LabelHistogram.merge(found.histograms).combinations
    return LoadedModel(**{**vars(found), "task": found.task}, known=known, device=where)
