"""Trained X-ray models as artefacts (:mod:`dcfm.published`)."""

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
from dcfm_xray.findings import SPACE
from dcfm_xray.task import XrayTask


@dataclass(frozen=True)
class LoadedModel(Published):
    """A published X-ray model; :meth:`~dcfm.published.Published.field` gives what to sample latents from.

    Attributes:
        task: what was trained.
        known: label sets that some silo held; all others are novel.
        device: of the networks.
    """

    task: XrayTask
    known: Int[Tensor, "m 14"]
    device: torch.device


def publish(
    folder: Path,
    experts: Sequence[Mapping[str, Tensor]],
    histograms: Sequence[LabelHistogram],
    task: XrayTask,
    *,
    method: str,
    partition: str,
    training: Mapping[str, Any],
    data_hash: str | None = None,
) -> None:
    """Write an X-ray model's artefact; see :func:`dcfm.published.publish`."""
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


def load(folder: str | Path, device: str = "auto") -> LoadedModel:
    """Load a published model.

    Raises:
        ModelError: no artefact of an X-ray model.
        dcfm.artefacts.ArtefactError: what is there is missing, truncated or damaged.
    """

    def build(settings: Mapping[str, Any]) -> XrayTask:
        return XrayTask(**{**settings, "channels": tuple(settings["channels"])})

    where, folder = resolve_device(device), Path(folder)
    found = load_published(folder, build, where, what="an X-ray model")
    if not isinstance(found.task, XrayTask) or "attributes" not in found.config:
        raise ModelError(f"{folder} is an artefact, but not of an X-ray model; choose another folder")
    known = LabelHistogram.merge(found.histograms).combinations
    return LoadedModel(**{**vars(found), "task": found.task}, known=known, device=where)
