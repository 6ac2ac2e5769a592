"""From a domain's data to silos, and from silos to published planners: what ``scripts/train_planner.py`` runs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.errors import InstantiationException
from jaxtyping import Int
from omegaconf import DictConfig, OmegaConf

from dcfm.configuration import typed, writable
from dcfm.jobs import ProgressFactory
from dcfm.runs import RunSettings, check_run, read_recipe, read_task, train_dealt
from dcfm.silos import PARTITIONS, Silo, partition
from dcfm_planner.domain import CollectionProgress, Domain, Segments, is_one_of, labels_of, lacking, split
from dcfm_planner.domains.cube import CUBE, DATA
from dcfm_planner.models import publish
from dcfm_planner.segments import SegmentSet
from dcfm_planner.task import PlannerTask

log = logging.getLogger(__name__)

EACH: int = 1000
"""Made-up samples of each combination that settings of a partition are tried on before there is data."""


OUT = "runs/{partition}"
"""``out`` of configs/train_planner.yaml: the cube's, as :data:`~dcfm_planner.domains.cube.DATA` is."""


@dataclass
class Settings(RunSettings):
    """The keys of configs/train_planner.yaml and their types."""

    data: str
    collect: Any
    border_margin: float
    tensorboard: bool
    ship: bool
    domain: Any


def check_numbers(given: Settings, domain: Domain) -> None:
    """Raise ``ValueError`` unless samples can be dealt as asked for, on made-up ones, since collecting takes long."""
    if given.partition not in PARTITIONS:
        raise ValueError(f"unknown partition {given.partition!r}; the partitions are {', '.join(PARTITIONS)}")
    generator = torch.Generator().manual_seed(given.seed)
    partition(given.partition, split(domain)["known"].repeat(EACH, 1), given.silos, generator, alpha=given.alpha)


def check_places(given: Settings, domain: Domain) -> None:
    """Raise ``ValueError`` if another domain's data or planners would take the names of the cube's."""
    wanted = []
    if given.data == DATA and not Path(DATA).exists():  # data that are there may be of use to a domain of one's own
        wanted.append("data=")
    if given.out == OUT.format(partition=given.partition):
        wanted.append("out=")
    if wanted and domain.name != CUBE.name:
        raise ValueError(
            f"data={given.data} out={given.out}: the defaults are the cube's; give {' and '.join(wanted)} for "
            f"{domain.name}, or a preset that has them, as preset=maze for domain=maze"
        )


def known_rows(labels: Int[torch.Tensor, "m k"], domain: Domain = CUBE) -> Int[torch.Tensor, " known"]:
    """The rows of known combinations: the novel ones are in no silo."""
    return (~is_one_of(labels, labels_of(domain.space, domain.novel))).nonzero()[:, 0]


def without_novel(segments: SegmentSet) -> SegmentSet:
    """The cube's segments of the twelve known pairs: the diagonal moves are in no silo."""
    return segments[known_rows(segments.labels)]


def deal(
    segments: Segments | SegmentSet, kind: str, silos: int, *, alpha: float, seed: int, domain: Domain = CUBE
) -> list[Silo]:
    """Deal the known combinations' segments to silos (``iid``, ``noniid`` or ``disjoint``, see
    :func:`dcfm.silos.partition`).

    Raises:
        ValueError: there are none, or they cannot be dealt like that.
    """
    known, everything = known_rows(segments.labels, domain), len(segments.labels)
    if len(known) < everything:
        novel = ", ".join(map("-".join, domain.novel))
        dropped = everything - len(known)
        said = f"{dropped} of {everything} segments are of novel combinations ({novel}) and in no silo"
        if not len(known):
            raise ValueError(f"{said}: none is left to train on; give data of known combinations")
        log.info(said)
    trajectories, labels = segments.trajectories[known], segments.labels[known]
    generator = torch.Generator().manual_seed(seed)
    rows = partition(kind, labels, silos, generator, alpha=alpha)
    return [Silo(f"robot{i}", trajectories[r], labels[r]) for i, r in enumerate(rows)]


def read_domain(config: Any) -> Domain:
    """The domain that a configuration (``configs/domain``) describes, of any module that can be imported.

    Raises:
        ValueError: there is none, or something else is there.
    """
    try:
        domain = hydra.utils.instantiate(config, _convert_="all")
    except InstantiationException as error:
        raise ValueError(str(error.__cause__ or error)) from error
    if missing := lacking(domain, Domain):
        raise ValueError(
            f"domain._target_ makes a {type(domain).__name__}, not a dcfm_planner.domain.Domain: it has no "
            f"{', '.join(missing)}"
        )
    labels_of(domain.space, domain.novel)
    if len(set(map(tuple, domain.novel))) < len(domain.novel):
        raise ValueError(f"{domain.name}: novel names a combination twice: {list(map(tuple, domain.novel))}")
    if domain.guidance is not None and len(domain.guidance) != domain.space.size:
        raise ValueError(
            f"{domain.name}: guidance {tuple(domain.guidance)} has {len(domain.guidance)} weights; give one an "
            f"attribute, {domain.space.size}"
        )
    try:
        domain.space.check_coverage(split(domain)["known"])
    except ValueError as error:
        raise ValueError(f"{domain.name}: what its novel combinations leave does not suffice: {error}") from error
    return domain


def check_segments(segments: Segments | SegmentSet, domain: Domain, horizon: int) -> None:
    """Raise ``ValueError`` unless there are finite trajectories of the layout, and one label of the space for each:
    what is trained on labels of other trajectories learns nonsense without a word."""
    trajectories, labels = segments.trajectories, segments.labels
    if not (isinstance(trajectories, torch.Tensor) and isinstance(labels, torch.Tensor)):
        kinds = f"{type(trajectories).__name__} and {type(labels).__name__}"
        raise ValueError(f"{domain.name}: its segments are {kinds}; give tensors of trajectories and labels")
    wanted = (len(trajectories), horizon, domain.layout.width), (len(trajectories), domain.space.size)
    if (found := (tuple(trajectories.shape), tuple(labels.shape))) != wanted:
        raise ValueError(
            f"{domain.name}: trajectories and labels of its segments have shapes {found[0]} and {found[1]}; "
            f"{wanted[0]} and {wanted[1]} belong together"
        )
    try:
        domain.space.check_labels(labels)
    except ValueError as error:
        raise ValueError(f"{domain.name}: {error}") from error
    if bad := int((~trajectories.isfinite()).flatten(1).any(1).sum()):
        raise ValueError(
            f"{domain.name}: {bad} of {len(trajectories)} trajectories hold NaN or infinity; leave them out"
        )


def read_planner_task(cfg: DictConfig) -> PlannerTask:
    """The task of ``cfg.task`` in the domain of ``cfg.domain``, both of which may refer to any other key."""
    resolved = OmegaConf.to_container(cfg, resolve=True)  # in another place what refers to other keys would find none
    assert isinstance(resolved, dict)
    return read_task(OmegaConf.create({"task": {**resolved["task"], "domain": resolved["domain"]}}), PlannerTask)


def describe_silos(silos: Sequence[Silo], space: Any) -> str:
    """One line a silo: how many segments of which combination."""
    lines = []
    for silo in silos:
        histogram = silo.histogram(space)
        pairs = [
            f"{'-'.join(space.values[i][v] for i, v in enumerate(c))} {n}"
            for c, n in zip(histogram.combinations.tolist(), histogram.counts.tolist(), strict=True)
        ]
        lines.append(f"{silo.name}: {histogram.total} segments: {', '.join(pairs)}")
    return "\n".join(lines)


def train(
    cfg: DictConfig, *, progress: ProgressFactory | None = None, collecting: CollectionProgress | None = None
) -> dict[str, Path]:
    """What ``scripts/train_planner.py`` does with its configuration: collect if need be, cut, deal, train, publish.

    Args:
        cfg: the configuration ``train_planner``, composed.
        progress: see :data:`~dcfm.jobs.ProgressFactory`.
        collecting: makes, given the number of episodes, what to call with the number done after each.

    Returns:
        The published folders by method.

    Raises:
        ValueError: settings that cannot be, before any work.
    """
    given = typed(cfg, Settings, "train_planner")
    check_run(given)
    domain, recipe = read_domain(cfg.domain), read_recipe(cfg, given.methods)
    check_numbers(given, domain)
    check_places(given, domain)
    task = read_planner_task(cfg)
    writable(given.out)
    segments = domain.segments(given.data, task.horizon, given.workers, collecting)
    check_segments(segments, domain, task.horizon)
    log.info("segments: %s", segments.counts)
    silos = deal(segments, given.partition, given.silos, alpha=given.alpha, seed=given.seed, domain=domain)
    log.info("silos:\n%s", describe_silos(silos, domain.space))
    return train_dealt(given, task, silos, recipe, cfg, publish, progress)
