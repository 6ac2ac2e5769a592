"""The toy in a federation (:mod:`dcfm.federated`)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from omegaconf import DictConfig, OmegaConf

from dcfm.configuration import typed
from dcfm.methods.method import Recipe
from dcfm.published import publish_task
from dcfm.silos import Silo
from dcfm.toy.problem import ProblemSettings, make_problem, read_problem
from dcfm.toy.task import ToyTask
from dcfm.toy.training import Training, read_training


@dataclass
class _Problem:
    """The keys under ``problem`` and their types."""

    attributes: int
    distance: float
    std: float
    missing: int | None
    samples: int


@dataclass(frozen=True)
class FederatedToy:
    """A :class:`dcfm.federated.tasks.FederatedTask`."""

    problem: ProblemSettings
    training: Training

    @property
    def task(self) -> ToyTask:
        """What is trained."""
        return ToyTask(self.problem.attributes, self.training.width, self.training.depth)

    @property
    def recipe(self) -> Recipe:
        """How each phase trains."""
        return self.training.recipe()

    def deal(self) -> Sequence[Silo]:
        """The problem's silos."""
        return make_problem(self.problem).silos

    publish = staticmethod(publish_task)
    """As :func:`dcfm.published.load_task` loads it."""


def read(config: DictConfig) -> FederatedToy:
    """The toy that a configuration of configs/federated/task/toy.yaml describes.

    Raises:
        ValueError: a setting that cannot be.
    """
    given = asdict(typed(config.problem, _Problem, "federated/task/toy"))
    common = {key: config[key] for key in ("partition", "silos", "seed")}
    return FederatedToy(
        read_problem(given | common | {"alpha": float(config.alpha)}),
        read_training(OmegaConf.to_container(config.training, resolve=True)),  # type: ignore[arg-type]
    )
