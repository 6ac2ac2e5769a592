"""DP-SGD for Eqs. 9 and 11: one sample's whole loss, clipped; noise; Poisson samples (Abadi et al. 2016).

A step takes every sample of the silo with probability ``q = B / n``, independently. The gradient ``g_j`` of each taken
sample's own loss, flow matching plus ``lambda`` times its CI term, is shortened to length ``C``; the step's gradient

    ( sum_j min(1, C / |g_j|) g_j  +  sigma C z ) / B,    z ~ N(0, I)

goes to the optimizer as any other would: momentum, weight decay, clipping, the moving average of the weights and all
that is later distilled from them are made of what is private already. Times, noise, masks and labels of the CI term are
drawn for each sample alone, so that one sample more or less changes one summand.

What is private is one *sample*: a trajectory segment, an image. Where several belong to one person or one recording,
the epsilon of the person is larger, for ``m`` of them up to ``m`` times (and delta grows too).
"""

from typing import Final

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from dcfm.losses import independence_loss, matching_loss
from dcfm.privacy.accounting import sampling_rate
from dcfm.privacy.entropy import secret_generator
from dcfm.privacy.settings import PrivacyConfig
from dcfm.task import Task
from dcfm.trainers.loop import Loss
from dcfm.trainers.objective import ObjectiveConfig, draw_batch, independence_points
from dcfm.trainers.parallel import ranks, started_by_torchrun

TOGETHER: Final = 128
"""Samples whose gradients are in memory at once."""

Gradients = dict[str, Tensor]


def private_loss(
    task: Task,
    data: Shaped[Tensor, "n ..."],
    labels: Int[Tensor, "n k"],
    batch: int,
    objective: ObjectiveConfig,
    privacy: PrivacyConfig,
) -> Loss:
    """A loss whose gradient is the private one, see the module; its value, the mean over the samples taken, is not
    private and stays in the silo.

    Raises:
        ValueError: a batch larger than the data, a CI term that is not one of single samples, or several processes.
    """
    rate = sampling_rate(batch, len(data))
    check_objective(objective)
    if started_by_torchrun() or ranks() > 1:
        raise ValueError("a private training runs in one process; start it without torchrun")
    secret = secret_generator(data.device)

    def loss(network: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        chance = secret if privacy.secret else generator
        taken = torch.rand(len(data), generator=chance, device=data.device) < rate
        rows = taken.nonzero()[:, 0]
        total = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
        values = data.new_zeros(0, dtype=torch.float32)
        for part in rows.split(TOGETHER) if len(rows) else ():
            gradients, losses = sample_gradients(task, network, data[part], labels[part], objective, chance)
            values = torch.cat([values, losses])
            for name, value in clipped_sum(gradients, privacy.max_grad_norm).items():
                total[name] += value
        scale = privacy.noise_multiplier * privacy.max_grad_norm
        for value in total.values():
            noise = torch.randn(value.shape, generator=chance, device=value.device, dtype=value.dtype)
            value.add_(noise, alpha=scale).div_(batch)
        mean = values.mean() if len(values) else values.sum()
        return {"loss": with_gradient(mean, network, total)}

    return loss


def check_objective(objective: ObjectiveConfig) -> None:
    """Raise ``ValueError`` unless the CI term, if there is one, belongs to every sample of the batch and takes nothing
    else from the data."""
    term = objective.independence
    if term.weight > 0 and (term.share != 1 or term.pairwise or term.labels == "held"):
        raise ValueError(
            f"with privacy the CI term is part of every sample's loss: share={term.share} must be 1 and "
            f"pairwise={term.pairwise} be false, and labels={term.labels} be own or global, since those that are held "
            "are counts of the data; or leave the term out (weight: 0)"
        )


def sample_gradients(
    task: Task,
    network: nn.Module,
    stored: Shaped[Tensor, "batch ..."],
    labels: Int[Tensor, "batch k"],
    objective: ObjectiveConfig,
    generator: torch.Generator,
) -> tuple[Gradients, Float[Tensor, " batch"]]:
    """Each sample's gradient, with the sample as first axis, and its loss (Eq. 9 or 11)."""
    points, velocity, given = draw_batch(task, stored, labels, objective, generator)
    batch: dict[str, Tensor | None] = {"x": points.x, "t": points.t, "u": velocity, "y": given, "held": points.held}
    weight = objective.independence.weight
    if weight > 0:
        at = independence_points(points, network, task.space, objective.independence, generator)
        batch |= {"ci_x": at.x, "ci_y": at.y}
    null = task.space.null.to(labels.device)

    def loss(parameters: Gradients, one: dict[str, Tensor]) -> Float[Tensor, ""]:
        def field(
            x: Float[Tensor, " batch *shape"],
            t: Float[Tensor, " batch"],
            y: Int[Tensor, "batch k"],
            held: Bool[Tensor, " batch *shape"] | None = None,
        ) -> Float[Tensor, " batch *shape"]:
            return functional_call(network, parameters, (x, t, y, held))

        row = {name: value[None] for name, value in one.items()}
        t, held = row["t"], row.get("held")
        total = matching_loss(field, row["u"], row["x"], t, row["y"], held, objective.weight)
        if weight > 0:
            total = total + weight * independence_loss(field, row["ci_x"], t, row["ci_y"], null, held, objective.weight)
        return total

    parameters = {name: value.detach() for name, value in network.named_parameters()}
    present = {name: value for name, value in batch.items() if value is not None}
    try:
        with sdpa_kernel(SDPBackend.MATH):  # the faster kernels of attention know no vmap
            return vmap(grad_and_value(loss), in_dims=(None, 0))(parameters, present)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ValueError(
            f"this network's gradients cannot be taken sample by sample: {error}; a private training needs one that "
            "computes in float32, uncompiled (task.precision=float32 task.compile=never where the task has these)"
        ) from error


def clipped_sum(gradients: Gradients, longest: float) -> Gradients:
    """``sum_j min(1, C / |g_j|) g_j``, the norm over all parameters together."""
    squares = [g[:, None].flatten(1).square().sum(1) for g in gradients.values()]  # the axis is for scalar parameters
    norm = torch.stack(squares).sum(0).sqrt()
    factor = (longest / norm.clamp(min=1e-12)).clamp(max=1.0)
    return {name: torch.tensordot(factor, g, dims=1) for name, g in gradients.items()}


def with_gradient(value: Float[Tensor, ""], network: nn.Module, gradients: Gradients) -> Float[Tensor, ""]:
    """A number that is ``value`` and has these gradients."""
    parameters = dict(network.named_parameters())
    return value.detach() + sum(((p - p.detach()) * gradients[name]).sum() for name, p in parameters.items())
