"""Pictures from a trained model, equally many of every set of findings, and how a model is sampled.

Every set has noise of its own, drawn from a seed and its findings: equal for all methods and ways of sampling. How a
model is sampled is chosen by *known* sets only (:mod:`dcfm.selection`), among the same candidates for all methods.
What scores them was trained on real pictures of all hospitals, withheld sets among them (:mod:`dcfm_xray.real`).
"""

from collections.abc import Callable

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from dcfm.fields import Field
from dcfm.methods import sampling
from dcfm.methods.sampling import Sampling, candidates
from dcfm.metrics.manifold import membership
from dcfm.seeds import hashed
from dcfm.selection import KnownOnly, Selection
from dcfm.solvers import integrate
from dcfm_xray.cache import at_once
from dcfm_xray.classifier import Trained, features
from dcfm_xray.encoders import Codec, on_device
from dcfm_xray.evaluation_settings import EvaluationSettings
from dcfm_xray.findings import FINDINGS, SPACE
from dcfm_xray.models import LoadedModel
from dcfm_xray.problem import Pictures

Done = Callable[[int, int], None]
"""Called with pictures done and pictures."""


@torch.no_grad()
def synthesise(
    field: Field,
    codec: Codec,
    sets: Int[Tensor, "m 14"],
    each: int,
    settings: EvaluationSettings,
    *,
    seed: int,
    device: torch.device,
    grain: float = 0.0,
    on_progress: Done | None = None,
) -> Pictures:
    """Sample latents and decode them on ``device``; the pictures of a set lie beside each other, in the sets' order.

    ``grain`` is the standard deviation, in grey levels, of white noise on them (:func:`add_grain`).

    Raises:
        ValueError: latents that are not finite: the training diverged.
    """
    noise = [
        torch.randn(each, *codec.shape, generator=torch.Generator().manual_seed(hashed(seed, *label)))
        for label in sets.tolist()
    ]
    labels = sets.repeat_interleave(each, dim=0)
    decoder, part = on_device(codec, device), at_once(settings.batch, codec.size)
    images: list[Tensor] = []
    for x0, y in zip(torch.cat(noise).split(settings.batch), labels.split(settings.batch), strict=True):
        latents = integrate(field, x0.to(device), y.to(device), steps=settings.steps, method=settings.solver)
        if not latents.isfinite().all():
            raise ValueError("the model makes latents that are not finite: its training diverged; train it again")
        images += [decoder.decode(some).cpu() for some in latents.float().split(part)]
        if on_progress is not None:
            on_progress(sum(map(len, images)), len(labels))
    found = add_grain(torch.cat(images), grain, hashed(seed, len(FINDINGS)))
    return Pictures(found, labels, torch.arange(len(labels)))


def add_grain(images: UInt8[Tensor, "n height width"], grain: float, seed: int) -> UInt8[Tensor, "n height width"]:
    """Put back what an autoencoder takes away: white Gaussian noise of standard deviation ``grain``, in grey levels.

    A decoder gives the mean of the pictures that have a latent; with its residual as noise it gives one of them. Else
    a classifier meets noise first in the real pictures, and its thresholds mean nothing there.
    """
    if grain == 0:
        return images
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return (images.float() + grain * noise).round().clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def residual_grain(codec: Codec, images: UInt8[Tensor, "n height width"], device: torch.device | str = "cpu") -> float:
    """Standard deviation, in grey levels, of what the autoencoder changes in pictures; computed on ``device``."""
    device = torch.device(device)
    codec = on_device(codec, device)
    squares = [
        (codec.decode(codec.encode(part)).float() - part.float()).square().flatten(1).mean(1).cpu()
        for part in (some.to(device) for some in images.split(at_once(256, codec.size)))
    ]
    return float(torch.cat(squares).mean().sqrt())


def choose(
    model: LoadedModel,
    codec: Codec,
    judge: Trained,
    reference: Pictures,
    sets: Int[Tensor, "m 14"],
    settings: EvaluationSettings,
    grain: float = 0.0,
    on_progress: Done | None = None,
) -> Selection:
    """Choose among :data:`dcfm.methods.sampling.CANDIDATES` for one model.

    A success is a generated picture of which the judge predicts every finding that was asked for and that lies in the
    real manifold (k = 3), or a real picture that lies in the generated manifold.

    Args:
        model: trained.
        codec: decodes.
        judge: predicts findings and gives features.
        reference: real pictures of known sets, from the silos.
        sets: known feasible sets.
        settings: how many, and how.
        grain: of the generated pictures, see :func:`synthesise`.
        on_progress: called with (candidates scored, candidates).
    """
    real = features(judge.network, reference.images)

    def successes(way: Sampling, known: Int[Tensor, "m 14"]) -> tuple[int, int]:
        made = synthesise(
            KnownOnly(model.sampled(way), known, SPACE.null),
            codec,
            known,
            settings.selection_each,
            settings,
            seed=settings.selection_seed,
            device=model.device,
            grain=grain,
        )
        inside = membership(features(judge.network, made.images), real)
        right = (judge.predict(made.images) | ~made.labels.bool()).all(1)
        return int((right & inside.generated).sum()) + int(inside.real.sum()), len(made) + len(reference)

    return sampling.choose(
        candidates(settings.rules),
        model.method,
        successes,
        sets,
        criterion="generated pictures of which the judge predicts every finding asked for and that lie in the real "
        "manifold, and real pictures in the generated manifold (k = 3, the judge's features), of all of both; "
        f"{settings.selection_each} of each known feasible set, noise seed {settings.selection_seed}",
        on_candidate=on_progress,
    )
