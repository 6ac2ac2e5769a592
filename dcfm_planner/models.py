"""Trained planners as artefacts (:mod:`dcfm.published`): publish what a training gave, load it by name or path."""

import importlib.resources
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dcfm import artefacts, published
from dcfm.artefacts import Artefact
from dcfm.methods.method import RULES
from dcfm.published import ModelError, check_space, load_published, resolve_device
from dcfm.silos import LabelHistogram
from dcfm.solvers import TABLEAUS
from dcfm_planner.domain import Domain
from dcfm_planner.domains.cube import CUBE
from dcfm_planner.planner import Planner
from dcfm_planner.task import PlannerTask

METHODS = ("dcfm_a", "dcfm_b")
"""Those whose weights are shipped; :func:`dcfm.methods.registry.names` lists all that can be trained."""

PARTITIONS = ("iid", "noniid")
"""Those whose weights are shipped; :data:`dcfm.silos.PARTITIONS` lists all that can be trained."""


@dataclass(frozen=True)
class Sampling:
    """How a trained planner is sampled.

    Args:
        steps, method: of the solver, for a plan from scratch.
        rule: ``composed`` samples every combination by Eq. 5 with the guidance weights; ``joint`` samples by the
            velocity that the method gives whole labels: DCFM-B's student and the other single networks their own, one
            evaluation a step, DDM and DFD their mixture's, DCFM-A the holders' where some silo held the combination
            (others are composed).
        guidance: weights ``w`` of Eq. 5, one an attribute; the paper has 1. Above 1 a plan is pushed away from what
            other values of the attribute would give, that is, away from the quadrants' borders. ``None`` for the
            domain's own, chosen on known combinations. Without effect where nothing is composed: a method that answers
            novel combinations jointly too takes none but 1.

    Raises:
        ValueError: an unknown rule or solver, fewer than one step, or a weight that is not finite.
    """

    steps: int = 5
    method: str = "midpoint"
    rule: str = "composed"
    guidance: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"unknown rule {self.rule!r}; the rules are {' and '.join(RULES)}")
        if self.method not in TABLEAUS:
            raise ValueError(f"unknown solver {self.method!r}; a planner's solvers are {', '.join(TABLEAUS)}")
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: a plan takes at least 1 solver step")
        if self.guidance is not None and not all(map(math.isfinite, self.guidance)):
            raise ValueError(f"guidance={list(self.guidance)}: give finite weights, one an attribute; the paper has 1")


def sampling_of(
    *,
    steps: int | None = None,
    solver: str | None = None,
    rule: str | None = None,
    guidance: Sequence[float] | None = None,
) -> Sampling | None:
    """What scripts' keys of these names ask for, each the default where it is ``None``; ``None`` where all are.

    Raises:
        ValueError: as :class:`Sampling`.
    """
    weights = None if guidance is None else tuple(guidance)
    given = {"steps": steps, "method": solver, "rule": rule, "guidance": weights}
    asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return Sampling(**asked) if asked else None


@dataclass(frozen=True)
class LoadedPlanner:
    """A planner ready to sample, how it is sampled (its guidance resolved), and where it comes from."""

    planner: Planner
    sampling: Sampling
    method: str
    partition: str
    config: dict[str, Any]
    metadata: dict[str, Any]


def weights_folder() -> Path:
    """Where shipped weights lie."""
    return Path(str(importlib.resources.files("dcfm_planner"))) / "weights"


def available() -> list[str]:
    """Names of the shipped planners, e.g. ``cube-single/noniid/dcfm_b``."""
    root = weights_folder()
    return sorted(path.parent.relative_to(root).as_posix() for path in root.rglob(artefacts.MANIFEST))


def shipped_name(partition: str, method: str, domain: Domain = CUBE) -> str:
    """The name of a shipped planner.

    Raises:
        ModelError: unknown partition or method.
    """
    if partition not in PARTITIONS:
        raise ModelError(f"unknown partition {partition!r}; the shipped partitions are {', '.join(PARTITIONS)}")
    if method not in METHODS:
        raise ModelError(f"unknown method {method!r}; the shipped methods are {', '.join(METHODS)}")
    return f"{domain.name}/{partition}/{method}"


def planner_label(weights: str | None, partition: str, method: str, domain: Domain = CUBE) -> str:
    """A planner's name for folders of results: other weights, and other domains, have others.

    >>> planner_label(None, "noniid", "dcfm_b"), planner_label("runs/mine/published/dcfm_b", "noniid", "dcfm_b")
    ('noniid-dcfm_b', 'runs-mine-published-dcfm_b')
    """
    if weights is None:
        return f"{partition}-{method}" if domain.name == CUBE.name else f"{domain.name}-{partition}-{method}"
    return "-".join(part for part in Path(weights).parts if part not in ("/", "..", "."))


def publish(
    folder: Path,
    experts: Sequence[Mapping[str, Tensor]],
    histograms: Sequence[LabelHistogram],
    task: PlannerTask,
    *,
    method: str,
    partition: str,
    training: Mapping[str, Any],
    data_hash: str | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Write a planner's artefact: float16 weights, and everything needed to build and sample it.

    Args:
        experts: what the method's training returned: one set of weights, or one a silo.
        histograms: one a silo.
        training: the resolved configuration of the training, kept for the record.
    """
    published.publish(
        folder,
        experts,
        histograms,
        method=method,
        partition=partition,
        task={
            "horizon": task.horizon,
            "fold": task.fold,
            "channels": list(task.channels),
            "condition": task.condition,
        },
        training=training,
        space=task.space,
        normalizer=task.domain.layout.coordinates(),
        data_hash=data_hash,
        metrics=metrics,
    )


def load_planner(
    name_or_path: str | Path, *, device: str = "auto", sampling: Sampling | None = None, domain: Domain = CUBE
) -> LoadedPlanner:
    """Load a shipped planner by name, or any by the path of its folder.

    An artefact names no code: whose domain it is, the caller says, and attributes and coordinates must agree.

    Raises:
        ModelError: no such name or folder; the text lists what there is. Or guidance that has no effect.
        dcfm.artefacts.ArtefactError: what is there is truncated, damaged, or of another architecture.
    """
    where = resolve_device(device)
    folder = Path(name_or_path)
    if not folder.is_dir():
        folder = weights_folder() / str(name_or_path)
    if not folder.is_dir():
        raise ModelError(
            f"{str(name_or_path)!r} is neither a folder nor a shipped planner; shipped are "
            f"{', '.join(available()) or 'none'}. Train one with scripts/train_planner.py."
        )
    below = sorted(path.parent.as_posix() for path in folder.glob(f"published/*/{artefacts.MANIFEST}"))
    if below and not (folder / artefacts.MANIFEST).exists():
        raise ModelError(f"{folder} holds planners and is none; give one of {', '.join(below)}")

    def task(settings: Mapping[str, Any]) -> PlannerTask:
        return PlannerTask(**{**settings, "channels": tuple(settings["channels"])}, domain=domain)

    def check(found: Artefact) -> None:
        check_space(found.config.get("attributes"), domain.space, folder)
        # In order too, which is that of the columns.
        if list((found.metadata["normalizer"] or {}).items()) != list(domain.layout.coordinates().items()):
            raise ModelError(
                f"{folder} was trained in other coordinates than those of {domain.name} in this version; give domain= "
                "of the planner, or train it again"
            )

    found = load_published(folder, task, where, what="a planner", check=check)
    sampling = sampling or Sampling()
    composes = found.method.novel_rule(sampling.rule) == "composed"
    if any(weight != 1 for weight in sampling.guidance or ()) and not composes:
        raise ModelError(
            f"guidance={list(sampling.guidance or ())} has no effect with rule={sampling.rule} of {found.name}; leave "
            "it out, or give rule=composed"
        )
    if sampling.guidance is None:
        sampling = replace(sampling, guidance=tuple(domain.guidance) if composes else (1.0,) * domain.space.size)
    field = found.field(sampling.rule, sampling.guidance)
    assert isinstance(found.task, PlannerTask)
    planner = Planner(field, found.task.horizon, sampling.steps, sampling.method, where, domain.layout, domain.space)
    return LoadedPlanner(planner, sampling, found.name, found.partition, found.config, found.metadata)
