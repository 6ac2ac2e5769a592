"""Trained X-ray models as artefacts (:mod:`dcfm.published`)."""

from dataclasses import dataclass
from pathlib import Path

from dcfm.published import ModelError, Published, load_task, publish_task
from dcfm_xray.task import XrayTask

__all__ = ["LoadedModel", "ModelError", "load", "publish"]

publish = publish_task


@dataclass(frozen=True)
class LoadedModel(Published):
    """A published X-ray model; latents are what is sampled."""

    task: XrayTask


def load(folder: str | Path, device: str = "auto") -> LoadedModel:
    """Load a published model.

    Args:
        folder: ``out/published/<method>`` of a training.
        device: ``auto``, ``cpu``, ``cuda``.

    Raises:
        ModelError: no artefact of an X-ray model, or one of another attribute space or architecture.
        dcfm.artefacts.ArtefactError: what is there is missing, truncated or damaged.
    """
    return LoadedModel(**vars(load_task(Path(folder), XrayTask, device, what="an X-ray model")))
