"""What the planner's machinery asks of a domain, by protocols; everything else is the domain's own affair.

Attributes, layout, withheld combinations and network make a trainable problem; :meth:`Domain.segments` makes data; an
:class:`Evaluation` makes trials. Most domains need of the last only what :class:`Executable` asks, and take
:class:`dcfm_planner.evaluation.plain.PlainEvaluation`. docs/own-domain.md has a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace
from dcfm_planner.columns import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dcfm_planner.evaluation.problems import Problems
    from dcfm_planner.evaluation.run import EvaluationSettings
    from dcfm_planner.evaluation.trials import Timing
    from dcfm_planner.planner import Planner

CollectionProgress = Callable[[int], Callable[[int, int], None]]
"""Given the number of episodes, what to call with (episodes done, episodes in all) after each."""


@dataclass(frozen=True)
class Segments:
    """Training data of a domain.

    Args:
        trajectories: normalised by the domain's layout.
        labels: the combination of each.
        counts: for the log: how many were found, kept, dropped for which reason.
    """

    trajectories: Float[Tensor, "m horizon columns"]
    labels: Int[Tensor, "m k"]
    counts: Mapping[str, int]


@runtime_checkable
class Domain(Protocol):
    """A planner's domain. Make it a frozen dataclass in a module: it travels to worker processes.

    Attributes:
        name: of the folder of its shipped weights.
        space: the attributes.
        layout: of a transition.
        novel: combinations, by value names, that no silo gets.
        guidance: weights ``w`` of Eq. 5, one an attribute, that plans are sampled with by default.
    """

    @property
    def name(self) -> str: ...

    @property
    def space(self) -> AttributeSpace: ...

    @property
    def layout(self) -> Layout: ...

    @property
    def novel(self) -> Sequence[tuple[str, ...]]: ...

    @property
    def guidance(self) -> tuple[float, ...]: ...

    def network(self, horizon: int, fold: int, channels: Sequence[int], condition: int) -> nn.Module:
        """A fresh :class:`dcfm.fields.Field` over ``(batch, horizon, layout.width)``, such as
        :class:`~dcfm_planner.trajectory_network.TrajectoryNetwork`."""
        ...

    def segments(
        self, source: str, horizon: int, workers: int = 1, collecting: CollectionProgress | None = None
    ) -> Segments:
        """Trajectories of ``horizon`` rows from ``source``, usually a file, which is made first where there is none.
        Those of ``novel`` combinations are left out later."""
        ...

    def evaluation(self) -> Evaluation:
        """How its plans are tried."""
        ...


@runtime_checkable
class Bench(Protocol):
    """A process's own means for trials, made once."""

    def run(self, problems: Problems, arms: Sequence[str]) -> tuple[list[Any], Timing]:
        """All arms on the same problems; see :class:`dcfm_planner.evaluation.trials.Workbench`."""
        ...


@runtime_checkable
class Evaluation(Protocol):
    """How a domain's plans are tried.

    Attributes:
        controls: arms besides the planner's that can be asked for.
        max_steps: most control steps of a trial.
        kinds: kinds of combinations that are counted apart.
        gaps: numbers of a trial whose medians are reported.
        reasons: parts of reasons of infeasible plans, and what they are counted as; the reason itself where none fits.
    """

    @property
    def controls(self) -> tuple[str, ...]: ...

    @property
    def max_steps(self) -> int: ...

    @property
    def kinds(self) -> tuple[str, ...]: ...

    @property
    def gaps(self) -> tuple[str, ...]: ...

    @property
    def reasons(self) -> Mapping[str, str]: ...

    def problems(self, settings: EvaluationSettings) -> dict[str, Problems]:
        """The problems of the cells ``known`` and ``novel``.

        Raises:
            ValueError: settings that cannot be.
        """
        ...

    def bench(self, planner: Planner, settings: EvaluationSettings, batch: int) -> Bench:
        """Means for trials of at most ``batch`` problems at once."""
        ...

    def describe(self, settings: EvaluationSettings) -> dict[str, Any]:
        """How plans are executed, as plain values for the record."""
        ...

    def draw(self, trials: Sequence[Any], path: Path) -> None:
        """A picture of trials (PNG)."""
        ...


@dataclass(frozen=True)
class Executed:
    """What came of executing a plan.

    Args:
        states: before the first step and after each, SI units.
        reached: the domain's rule of success, by the same rows; the last one counts.
        strict: its stricter rule, after the last step.
    """

    states: Float[np.ndarray, "times state"]
    reached: Bool[np.ndarray, " times"]
    strict: bool


@runtime_checkable
class Executable(Domain, Protocol):
    """What :class:`~dcfm_planner.evaluation.plain.PlainEvaluation` asks of a domain. Plans come as SI arrays by the
    layout's names, ``horizon x width``."""

    @property
    def max_steps(self) -> int: ...

    def draw_ends(self, labels: Sequence[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A start state and a goal of a combination, for ``protocol=given``."""
        ...

    def check(self, plan: Mapping[str, np.ndarray], labels: Sequence[int]) -> tuple[str, ...]:
        """A sentence for each reason why the plan is not one of the combination asked for; none if it is."""
        ...

    def execute(self, plan: Mapping[str, np.ndarray], labels: Sequence[int], max_steps: int) -> Executed:
        """Execute a feasible plan: from its first state, for its last one."""
        ...

    def scene(self, axes: Axes) -> None:
        """What is drawn behind the paths: the first two numbers of the goal's column, x and y."""
        ...


def lacking(thing: object, asked: type) -> list[str]:
    """The members of a protocol, :class:`Domain` or :class:`Executable`, that something does not have; sorted."""
    members = {name for kind in asked.__mro__ if kind not in (object, Protocol, Generic) for name in vars(kind)}
    return sorted(name for name in members if not name.startswith("_") and not hasattr(thing, name))


def labels_of(space: AttributeSpace, combinations: Sequence[tuple[str, ...]]) -> Int[Tensor, "n k"]:
    """Labels of combinations by value names.

    Raises:
        ValueError: an unknown name, or not one an attribute.
    """
    for names in combinations:
        if len(names) != space.size or any(n not in values for n, values in zip(names, space.values, strict=True)):
            allowed = dict(zip(space.names, space.values, strict=True))
            raise ValueError(f"combination {tuple(names)}: give one value of each of {allowed}")
    rows = [[values.index(n) for n, values in zip(names, space.values, strict=True)] for names in combinations]
    return torch.tensor(rows, dtype=torch.long).reshape(-1, space.size)


def split(domain: Domain) -> dict[str, Int[Tensor, "n k"]]:
    """The combinations of the cells ``known`` and ``novel``."""
    novel = labels_of(domain.space, domain.novel)
    everything = domain.space.combinations()
    return {"known": everything[~is_one_of(everything, novel)], "novel": novel}


def is_one_of(labels: Int[Tensor, "m k"], combinations: Int[Tensor, "n k"]) -> Bool[Tensor, " m"]:
    """Which labels are among the combinations."""
    return (labels[:, None] == combinations).all(-1).any(1)
