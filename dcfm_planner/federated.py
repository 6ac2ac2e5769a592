"""The planner in a federation (:mod:`dcfm.federated`). Trajectories are in coordinates fixed by the scene, so silos
need no common normaliser."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from dcfm.methods.method import Recipe
from dcfm.runs import read_recipe, read_task
from dcfm.silos import PARTITIONS, Silo
from dcfm_envs.play_data import load_play
from dcfm_planner.models import publish
from dcfm_planner.segments import cut
from dcfm_planner.task import PlannerTask
from dcfm_planner.training import deal


@dataclass(frozen=True)
class FederatedPlanner:
    """A :class:`dcfm.federated.tasks.FederatedTask`.

    Args:
        task: what is trained.
        recipe: how each phase trains.
        data: play data that :meth:`deal` deals.
        border_margin: see :func:`dcfm_planner.segments.cut`.
        partition, silos, alpha, seed: see :func:`dcfm_planner.training.deal`.
    """

    task: PlannerTask
    recipe: Recipe
    data: Path
    border_margin: float
    partition: str
    silos: int
    alpha: float
    seed: int

    def deal(self) -> Sequence[Silo]:
        """The silos that ``scripts/train_planner.py`` would deal."""
        if not self.data.exists():
            raise ValueError(f"there is no play data {self.data}; make it with scripts/collect.py, or give data=")
        segments = cut(load_play(self.data), self.task.horizon, self.border_margin)
        return deal(segments, self.partition, self.silos, alpha=self.alpha, seed=self.seed)

    publish = staticmethod(publish)
    """As :func:`dcfm_planner.models.load_planner` loads it."""


def read(config: DictConfig) -> FederatedPlanner:
    """The planner that a configuration of configs/federated/task/planner.yaml describes.

    Raises:
        ValueError: a setting that cannot be.
    """
    if config.partition not in PARTITIONS:
        raise ValueError(f"unknown partition {config.partition!r}; the planner's are {', '.join(PARTITIONS)}")
    return FederatedPlanner(
        read_task(config, PlannerTask),
        read_recipe(config),
        Path(config.data),
        config.border_margin,
        config.partition,
        config.silos,
        config.alpha,
        config.seed,
    )
