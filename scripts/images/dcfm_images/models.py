"""Trained image models as artefacts (:mod:`dcfm.published`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcfm.published import ModelError, Published, load_task, publish_task
from dcfm_images.task import ImageTask

__all__ = ["LoadedModel", "ModelError", "load", "publish"]

publish = publish_task


@dataclass(frozen=True)
class LoadedModel(Published):
    """A published image model; ``size`` and ``shape`` of its task are those of the pictures."""

    task: ImageTask


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
    return LoadedModel(**vars(load_task(Path(folder), ImageTask, device, what="an image model", **changes)))
