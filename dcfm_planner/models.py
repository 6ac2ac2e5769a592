"""Trained planners as artefacts: publishing what a training gave, and loading it by name or path.

An artefact is what a method's training returned, one network or one expert a silo, and the silos' label histograms,
which route. Which field they make is the method's affair (:mod:`dcfm.methods`).
"""

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dcfm import artefacts
from dcfm.methods import registry
from dcfm.methods.method import RULES
from dcfm.silos import LabelHistogram
from dcfm.task import Task
from dcfm_planner.layout import COLUMNS
from dcfm_planner.planner import Planner
from dcfm_planner.quadrants import SPACE
from dcfm_planner.task import PlannerTask

METHODS = ("dcfm_a", "dcfm_b")
"""Those whose weights are shipped; :func:`dcfm.methods.registry.names` lists all that can be trained."""

PARTITIONS = ("iid", "noniid")

SCENE = "cube-single"


class ModelError(ValueError):
    """There is no such trained planner, or what is there is not one."""


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
            other values of the attribute would give, that is, away from the quadrants' borders. The default was
            chosen on known pairs.
    """

    steps: int = 5
    method: str = "midpoint"
    rule: str = "composed"
    guidance: tuple[float, ...] = (1.5, 1.5)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"unknown rule {self.rule!r}; the rules are {' and '.join(RULES)}")


@dataclass(frozen=True)
class LoadedPlanner:
    """A planner ready to sample, and where it comes from."""

    planner: Planner
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


def shipped_name(partition: str, method: str) -> str:
    """The name of a shipped planner.

    Raises:
        ModelError: unknown partition or method.
    """
    if partition not in PARTITIONS:
        raise ModelError(f"unknown partition {partition!r}; the shipped partitions are {', '.join(PARTITIONS)}")
    if method not in METHODS:
        raise ModelError(f"unknown method {method!r}; the shipped methods are {', '.join(METHODS)}")
    return f"{SCENE}/{partition}/{method}"


def resolve_device(device: str) -> torch.device:
    """``auto`` is a GPU where torch sees one, else the CPU.

    Raises:
        ModelError: torch knows no such device, or does not see it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r} cannot be used ({str(error).splitlines()[0]}); use auto or cpu") from error


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
) -> None:
    """Write a planner's artefact: float16 weights, and everything needed to build and sample it.

    Args:
        experts: what the method's training returned: one set of weights, or one a silo.
        histograms: one a silo.
        training: the resolved configuration of the training, kept for the record.
    """
    weights = {f"expert{i}.{name}": value for i, expert in enumerate(experts) for name, value in expert.items()}
    config = {
        "method": method,
        "partition": partition,
        "task": {
            "horizon": task.horizon,
            "fold": task.fold,
            "channels": list(task.channels),
            "condition": task.condition,
        },
        "silos": [{"combinations": h.combinations.tolist(), "counts": h.counts.tolist()} for h in histograms],
        "training": dict(training),
    }
    constants = {c.name: {"offset": list(c.offset), "scale": list(c.scale), "unit": c.unit} for c in COLUMNS.values()}
    artefacts.save(folder, weights, config, normalizer=constants, data_hash=data_hash, half=True)


def load_planner(name_or_path: str | Path, *, device: str = "auto", sampling: Sampling | None = None) -> LoadedPlanner:
    """Load a shipped planner by name, or any by the path of its folder.

    Raises:
        ModelError: no such name or folder; the text lists what there is.
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
    found = artefacts.load(folder)
    sampling = sampling or Sampling()
    if len(sampling.guidance) != SPACE.size:
        raise ModelError(
            f"guidance={list(sampling.guidance)} has {len(sampling.guidance)} weights; give one an attribute: "
            f"{', '.join(SPACE.names)}"
        )
    try:
        config = found.config
        task = PlannerTask(**{**config["task"], "channels": tuple(config["task"]["channels"])})
        histograms = [
            LabelHistogram(torch.tensor(s["combinations"]), torch.tensor(s["counts"]), task.space.cardinalities)
            for s in config["silos"]
        ]
        method, partition = registry.make(config["method"]), config["partition"]
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder} is an artefact, but not of a planner ({error!r}); choose another folder") from error
    scene = {c.name: {"offset": list(c.offset), "scale": list(c.scale), "unit": c.unit} for c in COLUMNS.values()}
    if found.metadata["normalizer"] != scene:
        raise ModelError(f"{folder} was trained in other coordinates than this version's; train it again")
    networks = _networks(found.weights, method.task(task), folder, where)
    field = method.field(networks, histograms, task.space.null, sampling.rule, sampling.guidance)
    planner = Planner(field, task.horizon, steps=sampling.steps, method=sampling.method, device=where)
    return LoadedPlanner(planner, config["method"], partition, config, found.metadata)


def _networks(weights: Mapping[str, Tensor], task: Task, folder: Path, device: torch.device) -> list[nn.Module]:
    number = 1 + max((int(name[6:].split(".")[0]) for name in weights if name.startswith("expert")), default=-1)
    networks = []
    for i in range(number):
        prefix = f"expert{i}."
        network = task.network()
        try:
            network.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        except RuntimeError as error:
            raise ModelError(
                f"{folder} holds weights of another architecture than its configuration says "
                f"({str(error).splitlines()[-1].strip()}); copy or train it again"
            ) from error
        networks.append(network.to(device).eval().requires_grad_(False))
    if not networks:
        raise ModelError(f"{folder} holds no expert's weights; choose another folder")
    return networks
