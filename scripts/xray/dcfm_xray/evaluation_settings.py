"""How models are evaluated, checked before any work."""

from dataclasses import dataclass, field, replace
from typing import Any

from dcfm.methods.method import FULL
from dcfm.methods.sampling import candidates
from dcfm.solvers import TABLEAUS, steps_within
from dcfm_xray.classifier import ClassifierConfig


class EvaluationError(ValueError):
    """An evaluation that cannot be made as asked for."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How models are evaluated.

    Args:
        each: pictures of every feasible set of findings.
        held_out: share of them that thresholds are fixed on; the classifier is trained on the others.
        specificity: that thresholds are fixed at.
        seed: of noise, classifier and bootstrap.
        rules: ways of sampling that may be chosen, see :func:`~dcfm.methods.sampling.candidates`.
        selection_each, selection_seed: of the pictures that sampling is chosen with.
        solver: a fixed-step one.
        evaluations: of the field for a picture, at most.
        draws: of the bootstrap.
        batch: pictures sampled at once.
        grain: put back into synthetic pictures, as white noise, what the autoencoder takes away from real ones.
        classifier: how the classifiers are made and trained.

    Raises:
        ValueError: a value that cannot be.
    """

    each: int = 40
    held_out: float = 0.2
    specificity: float = 0.9
    seed: int = 0
    rules: tuple[str, ...] = (FULL, "composed")
    selection_each: int = 8
    selection_seed: int = 1
    solver: str = "midpoint"
    evaluations: int = 8
    draws: int = 200
    batch: int = 128
    grain: bool = True
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)

    def __post_init__(self) -> None:
        least = min(self.each - 1, self.selection_each, self.draws - 1, self.batch)
        if least < 1 or min(self.seed, self.selection_seed) < 0 or self.seed == self.selection_seed:
            raise EvaluationError(
                f"each={self.each} must be at least 2, draws={self.draws} too, selection_each={self.selection_each} "
                f"and batch={self.batch} at least 1, seed={self.seed} and selection_seed={self.selection_seed} at "
                "least 0 and different"
            )
        if not 0 < self.specificity < 1 or not 1 <= self.held_out_each < self.each:
            raise EvaluationError(
                f"specificity={self.specificity} lies between 0 and 1, held_out={self.held_out} of each={self.each} "
                "pictures leaves some on both sides"
            )
        candidates(self.rules)
        if self.solver not in TABLEAUS or self.steps < 1:
            raise EvaluationError(
                f"solver={self.solver!r} with evaluations={self.evaluations}: give one of {', '.join(TABLEAUS)}, and "
                "evaluations for a step of it"
            )

    @property
    def held_out_each(self) -> int:
        """Pictures of every set that thresholds are fixed on."""
        return round(self.held_out * self.each)

    @property
    def steps(self) -> int:
        """Steps of the solver."""
        return steps_within(self.solver, self.evaluations)


@dataclass
class Keys:
    """The keys about evaluating that configs/xray/evaluate.yaml and configs/xray/table.yaml share, and their types."""

    each: int
    held_out: float
    specificity: float
    seed: int
    rules: list[str]
    selection_each: int
    selection_seed: int
    solver: str
    evaluations: int
    draws: int
    batch: int
    grain: bool
    width: int
    stem: str
    norm: str
    steps: int
    classifier_batch: int
    learning_rate: float


def settings_of(given: Keys) -> EvaluationSettings:
    """What these keys ask for.

    Raises:
        ValueError: a value that cannot be.
    """
    if given.steps < 1 or given.classifier_batch < 1:
        raise ValueError(f"steps={given.steps}, classifier_batch={given.classifier_batch}: give at least 1 of each")
    usual = ClassifierConfig().loop
    loop = replace(
        usual,
        steps=given.steps,
        batch=given.classifier_batch,
        learning_rate=given.learning_rate,
        warmup=min(usual.warmup, given.steps // 4),
    )
    names = ("each", "held_out", "specificity", "seed", "selection_each", "selection_seed", "solver", "evaluations")
    plain: dict[str, Any] = {name: getattr(given, name) for name in (*names, "draws", "batch", "grain")}
    classifier = ClassifierConfig(width=given.width, stem=given.stem, norm=given.norm, loop=loop)
    return EvaluationSettings(rules=tuple(given.rules), classifier=classifier, **plain)
