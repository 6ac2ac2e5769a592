"""Stage I: each silo alone matches its own flow and makes its marginals add up (Eqs. 8-11)."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from dcfm.artefacts import plain_settings
from dcfm.fields import Field
from dcfm.losses import matching_loss
from dcfm.privacy.gradients import private_loss
from dcfm.privacy.settings import PrivacyConfig
from dcfm.silos import LabelHistogram
from dcfm.task import Task, release
from dcfm.trainers.loop import LoopConfig, Loss, Progress, fit
from dcfm.trainers.objective import (
    ObjectiveConfig,
    Points,
    check_pairs,
    draw_batch,
    independence_term,
    own_labels,
)

ExtraTerm = Callable[[Field, Points, torch.Generator], Float[Tensor, ""]]
"""A term added to flow matching: CI here, cross-peer CI in DCFM-A."""


@dataclass(frozen=True)
class LocalConfig:
    """Stage I: the loop and the objective; ``independence.weight = 0`` gives the baselines without "+L".

    Args:
        privacy: make the training differentially private; not if ``None``.
    """

    loop: LoopConfig = field(default_factory=LoopConfig)
    objective: ObjectiveConfig = field(default_factory=own_labels)
    privacy: PrivacyConfig | None = None


def matching_with(
    extra: ExtraTerm | None,
    task: Task,
    data: Shaped[Tensor, "n ..."],
    labels: Int[Tensor, "n k"],
    batch: int,
    objective: ObjectiveConfig,
) -> Loss:
    """The loss ``L_FM + lambda * extra`` on random batches of a silo's data (Eqs. 9, 11, 14)."""
    check_pairs(objective, task.space)
    weight = objective.independence.weight

    def loss(network: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(data), (batch,), generator=generator, device=data.device)
        points, velocity, given = draw_batch(task, data[rows], labels[rows], objective, generator)
        terms = {"matching": matching_loss(network, velocity, points.x, points.t, given, points.held, objective.weight)}
        terms["loss"] = terms["matching"]
        if extra is not None and weight > 0:
            terms["independence"] = extra(network, points, generator)
            terms["loss"] = terms["matching"] + weight * terms["independence"]
        return terms

    return loss


def local_loss(
    task: Task,
    data: Shaped[Tensor, "n ..."],
    labels: Int[Tensor, "n k"],
    batch: int,
    objective: ObjectiveConfig,
    privacy: PrivacyConfig | None = None,
) -> Loss:
    """``L_FM + lambda L_CI``, Eq. 11, on random batches of a silo's data; private if asked for."""
    if privacy is not None:
        return private_loss(task, data, labels, batch, objective, privacy)

    histogram = LabelHistogram.from_labels(labels, task.space.cardinalities)

    def extra(field: Field, points: Points, generator: torch.Generator) -> Float[Tensor, ""]:
        return independence_term(field, points, task.space, objective, generator, histogram)

    return matching_with(extra, task, data, labels, batch, objective)


def train_local(
    task: Task,
    data: Shaped[Tensor, "n ..."],
    labels: Int[Tensor, "n k"],
    config: LocalConfig,
    *,
    seed: int,
    start: nn.Module | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    snapshot: Callable[[int, nn.Module], None] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Train a silo's network on its own data, from nothing or from ``start``, which stays as it is; returns the EMA
    network on the data's device.

    Args:
        start: see above.
        origin: what the training comes from, see :func:`~dcfm.trainers.loop.fit`.

    Raises:
        ValueError: no data, or labels outside the attribute space.
    """
    check_data(task, data, labels)
    torch.manual_seed(seed)
    network = task.network().to(data.device) if start is None else release(deepcopy(start), task)
    return fit(
        network,
        local_loss(task, data, labels, config.loop.batch, config.objective, config.privacy),
        config.loop,
        seed=seed,
        settings={"config": plain_settings(config)},
        origin=origin,
        checkpoint=checkpoint,
        progress=progress,
        snapshot=snapshot,
    )


def check_data(task: Task, data: Tensor, labels: Tensor) -> None:
    """Raise ``ValueError`` unless there are samples that the task prepares to its shape, with labels of its space."""
    if len(data) == 0 or len(data) != len(labels):
        raise ValueError(f"a silo gave {len(data)} samples and {len(labels)} labels; it needs at least one, of each")
    task.space.check_labels(labels)
    if data.is_floating_point() and not torch.isfinite(data).all():
        raise ValueError("the samples hold NaN or infinite values; clean the data before training")
    prepared = task.prepare(data[:1], labels[:1])
    if tuple(prepared.shape[1:]) != task.shape:
        raise ValueError(f"samples have shape {tuple(prepared.shape[1:])}; this task's have {task.shape}")
    if prepared.dtype != torch.get_default_dtype():
        raise ValueError(f"samples are {prepared.dtype}; networks compute in {torch.get_default_dtype()}: convert them")
