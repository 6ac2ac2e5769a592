"""How models are evaluated, checked before any work."""

from dataclasses import dataclass, fields
from typing import Any

from dcfm.methods.method import FULL
from dcfm.methods.sampling import candidates, only_candidate
from dcfm.metrics.frechet import SampleSizeError
from dcfm_images.features import DIMENSIONS, check_features
from dcfm_images.sampling import Solver


class EvaluationError(ValueError):
    """An evaluation that cannot be made as asked for."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How models are evaluated.

    Args:
        each: pictures of every combination; as many real ones.
        seed: of the noise, the reference's colours and the bootstrap.
        selection_each, selection_seed: of the pictures that sampling is chosen with; another seed than ``seed``.
        rules: ways of sampling that may be chosen, see :func:`~dcfm.methods.sampling.candidates`.
        solver, evaluations: see :class:`~dcfm_images.sampling.Solver`.
        curve: numbers of evaluations to judge beside; with ``curve_each`` pictures of a combination.
        curve_each: of the pictures of this curve and the next two.
        snapshots: judge every ``snapshots``-th of the weights that the training kept; 0: none.
        guidance: weights of whole labels' guidance to judge beside, whatever was chosen.
        features: name of the feature space.
        draws: of the bootstrap.
        batch: pictures at once.

    Raises:
        ValueError: a value that cannot be, too few pictures for the feature space among them.
    """

    each: int = 100
    seed: int = 0
    selection_each: int = 10
    selection_seed: int = 1
    rules: tuple[str, ...] = (FULL, "composed")
    solver: str = "midpoint"
    evaluations: int = 25
    curve: tuple[int, ...] = ()
    curve_each: int = 20
    snapshots: int = 0
    guidance: tuple[float, ...] = ()
    features: str = "digits"
    draws: int = 200
    batch: int = 256

    def __post_init__(self) -> None:
        least = min(self.each - 1, self.selection_each, self.curve_each - 1, self.draws - 1, self.batch)
        if least < 1 or self.snapshots < 0 or min(self.seed, self.selection_seed) < 0:
            raise EvaluationError(
                f"each={self.each}, curve_each={self.curve_each} and draws={self.draws} must be at least 2, "
                f"selection_each={self.selection_each} and batch={self.batch} at least 1; "
                f"snapshots={self.snapshots}, seed={self.seed} and selection_seed={self.selection_seed} at least 0"
            )
        if self.seed == self.selection_seed:
            raise EvaluationError(
                f"seed={self.seed} and selection_seed={self.selection_seed}: sampling is chosen with other noise than "
                "it is judged with; give two different seeds"
            )
        candidates(self.rules)
        if any(not 0 < weight < 100 for weight in self.guidance):
            raise EvaluationError(f"guidance={list(self.guidance)}: weights are positive, 1: no guidance")
        if len({f"{weight:.3f}" for weight in self.guidance}) != len(self.guidance):
            raise EvaluationError(f"guidance={list(self.guidance)}: give weights that differ by 0.001, each once")
        Solver(self.solver, self.evaluations)
        used = [Solver(self.solver, evaluations).used for evaluations in self.curve]
        if len(set(used)) != len(used):
            raise EvaluationError(f"curve={list(self.curve)}: {self.solver} uses {used} of them; give each point once")
        check_features(self.features, 10**9)  # the name; how many pictures there are depends on the model

    def check_numbers(self, combinations: int) -> None:
        """Raise before any work if so many combinations give too few pictures for the feature space."""
        for key, each in (("each", self.each), *([("curve_each", self.curve_each)] if self.has_points else [])):
            try:
                check_features(self.features, each * combinations)
            except SampleSizeError as error:
                least = DIMENSIONS[self.features] // combinations + 1
                raise SampleSizeError(f"{key}={each}: {error}; {key}={least} gives enough") from error

    @property
    def chooses(self) -> bool:
        """Sampling is chosen: ``rules`` do not name a single candidate."""
        return only_candidate(self.rules) is None

    @property
    def has_points(self) -> bool:
        """Something is judged beside the main result, with ``curve_each`` pictures of a combination."""
        return bool(self.curve or self.snapshots or self.guidance)


@dataclass
class Keys:
    """The keys about evaluating that configs/images/evaluate.yaml and configs/images/table.yaml share, and their
    types."""

    each: int
    seed: int
    rules: list[str]
    selection_each: int
    selection_seed: int
    solver: str
    evaluations: int
    curve: list[int]
    snapshots: int
    guidance: list[float]
    curve_each: int
    features: str
    draws: int
    batch: int


def settings_of(given: Keys) -> EvaluationSettings:
    """What these keys ask for.

    Raises:
        ValueError: a value that cannot be.
    """
    plain: dict[str, Any] = {part.name: getattr(given, part.name) for part in fields(Keys)}
    lists: dict[str, Any] = {name: tuple(value) for name, value in plain.items() if isinstance(value, list)}
    return EvaluationSettings(**(plain | lists))
