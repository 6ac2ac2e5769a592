"""Sampling pictures from a trained model, and choosing how, by known combinations only.

Every combination has noise of its own, drawn from a seed and its digit and colour: equal for all methods and all ways
of sampling, and independent of batches. How a method is sampled is chosen among the same candidates for all
(:func:`dcfm.methods.sampling.choose`): the one that makes most pictures of *known* combinations that are read as asked
for and look real, without leaving out what is real (:meth:`dcfm_images.judging.Judge.successes`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from dcfm.fields import Field
from dcfm.methods import sampling
from dcfm.methods.method import FULL, RULES
from dcfm.methods.sampling import Sampling, candidates
from dcfm.seeds import hashed
from dcfm.selection import KnownOnly, Selection
from dcfm.solvers import TABLEAUS, evaluations, integrate, steps_within
from dcfm_images.features import as_bytes
from dcfm_images.judging import Judge
from dcfm_images.models import LoadedModel
from dcfm_images.pictures import Pictures
from dcfm_images.problem import SPACE

Progress = Callable[[int, int], None]
"""Called with pictures done and pictures."""


@dataclass(frozen=True)
class Solver:
    """A fixed-step solver and how often it may evaluate the field.

    Args:
        name: ``euler``, ``midpoint``, ``heun`` or ``rk4``.
        evaluations: at most so many for a picture; the number of steps follows.

    Raises:
        ValueError: an unknown solver, or too few evaluations for one step.
    """

    name: str = "midpoint"
    evaluations: int = 25

    def __post_init__(self) -> None:
        if self.name not in TABLEAUS:
            raise ValueError(f"unknown solver {self.name!r}; the fixed-step solvers are {', '.join(TABLEAUS)}")
        if self.steps < 1:
            raise ValueError(
                f"evaluations={self.evaluations}: one step of {self.name} takes {evaluations(self.name, 1)}; give "
                "at least as many"
            )

    @property
    def steps(self) -> int:
        """Steps of the solver."""
        return steps_within(self.name, self.evaluations)

    @property
    def used(self) -> int:
        """Evaluations that these steps take: at most :attr:`evaluations`."""
        return evaluations(self.name, self.steps)


@torch.no_grad()
def sample(
    field: Field,
    shape: tuple[int, ...],
    combinations: Int[Tensor, "m 2"],
    each: int,
    *,
    seed: int,
    solver: Solver,
    device: torch.device,
    batch: int = 256,
    on_progress: Progress | None = None,
) -> Pictures:
    """Pictures of some combinations, ``each`` of every one.

    Args:
        field: the velocity.
        shape: of a picture, ``(3, size, size)``.
        combinations: digit and colour.
        each: pictures of a combination.
        seed: of the noise.
        solver: from noise to picture.
        device: of the field.
        batch: pictures at once; of no consequence for the result but for rounding.
        on_progress: see :data:`Progress`.

    Raises:
        ValueError: no pictures asked for, or pictures that are not finite: the training diverged.
    """
    if each < 1 or batch < 1 or not len(combinations):
        raise ValueError(f"each={each}, batch={batch}, {len(combinations)} combinations: give at least one of each")
    noise, labels = [], combinations.repeat_interleave(each, dim=0)
    for combination in combinations.tolist():
        generator = torch.Generator().manual_seed(hashed(seed, *combination))
        noise.append(torch.randn(each, *shape, generator=generator))
    images: list[Tensor] = []
    for x0, y in zip(torch.cat(noise).split(batch), labels.split(batch), strict=True):
        x1 = integrate(field, x0.to(device), y.to(device), steps=solver.steps, method=solver.name)
        if not x1.isfinite().all():
            raise ValueError("the model makes pictures that are not finite: its training diverged; train it again")
        images.append(as_bytes(x1.float().cpu()))
        if on_progress is not None:
            on_progress(sum(map(len, images)), len(labels))
    return Pictures(torch.cat(images), labels, torch.arange(len(labels)))


def choose(
    model: LoadedModel,
    judge: Judge,
    *,
    each: int,
    seed: int,
    solver: Solver,
    rules: Sequence[str] = (FULL, *RULES),
    batch: int = 256,
    on_candidate: Callable[[int, int], None] | None = None,
) -> Selection:
    """Choose among :data:`dcfm.methods.sampling.CANDIDATES` for one model.

    Args:
        model: trained.
        judge: with a reference of known combinations.
        each: pictures of a known combination.
        seed: of the noise.
        solver: from noise to picture.
        rules: candidates of these rules only.
        batch: pictures at once.
        on_candidate: called with (candidates scored, candidates).
    """

    def successes(way: Sampling, known: Int[Tensor, "m 2"]) -> tuple[int, int]:
        field = KnownOnly(model.sampled(way), known, SPACE.null)
        made = sample(field, model.task.shape, known, each, seed=seed, solver=solver, device=model.device, batch=batch)
        return judge.successes(made, "known")

    return sampling.choose(
        candidates(rules),
        model.method,
        successes,
        model.known,
        criterion=f"generated pictures read as asked for and in the real manifold, and real pictures in the generated "
        f"manifold (k = 3, features {judge.space.name}), of all of both; {each} for each known combination, noise "
        f"seed {seed}",
        on_candidate=on_candidate,
    )
