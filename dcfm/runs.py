"""A training run of any task: its settings checked before any work, every method trained, its models published."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args, get_type_hints, runtime_checkable

import hydra
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from dcfm.artefacts import write_text_atomically
from dcfm.decentralized import Federation
from dcfm.jobs import ProgressFactory, only_here, spent_in_all
from dcfm.methods import registry
from dcfm.methods.method import Method, Recipe, check_recipe, private_parts
from dcfm.privacy.accounting import check_sizes
from dcfm.published import Published, resolve_device, same_histograms
from dcfm.records import read_json
from dcfm.silos import Silo, silos_hash
from dcfm.task import Task
from dcfm.trainers import parallel
from dcfm.trainers.local import LocalConfig
from dcfm.weights import Weights

log = logging.getLogger(__name__)

TaskType = TypeVar("TaskType")


@dataclass
class RunSettings:
    """The keys of every training's configuration, and their types; from ``task`` on sections of a preset."""

    partition: str
    alpha: float
    silos: int
    seed: int
    methods: list[str]
    device: str
    workers: int
    snapshots: bool
    out: str
    task: Any
    stage_one: Any
    further: Any
    peers: Any
    student: Any
    fedavg: Any
    pooled: Any


@runtime_checkable
class Publisher(Protocol):
    """Writes one trained method's artefact; see :func:`dcfm.published.publish`."""

    def __call__(
        self,
        folder: Path,
        experts: Sequence[Weights],
        *,
        method: str,
        data_hash: str | None,
        metrics: Mapping[str, Any] | None,
    ) -> None: ...


def check_methods(names: Sequence[str]) -> None:
    """Raise ``ValueError`` unless there is at least one, and each is registered."""
    if not names:
        raise ValueError("methods is empty; give one or more of " + ", ".join(registry.names()))
    for name in names:
        registry.make(name)


def check_run(given: RunSettings) -> None:
    """Raise ``ValueError`` unless methods, seed, workers and device can be."""
    check_methods(given.methods)
    if given.workers < 0 or given.seed < 0:
        raise ValueError(f"workers={given.workers} and seed={given.seed} must be at least 0")
    resolve_device(given.device)


def read_task(cfg: DictConfig, kind: type[TaskType]) -> TaskType:
    """The task of ``cfg.task``.

    Raises:
        ValueError: settings that cannot be, another kind of task, or a network whose sizes do not fit.
    """
    try:
        task = hydra.utils.instantiate(cfg.task, _convert_="all")
    except InstantiationException as error:
        raise ValueError(str(error.__cause__ or error)) from error
    if type(task) is not kind:  # a subclass neither: models say which settings they have, not which class
        own = f"{kind.__module__}.{kind.__name__}"
        raise ValueError(
            f"the task is a {type(task).__name__}; what this script trains is loaded again as {own}. Give "
            f"task._target_={own}, whose network() may be changed, or train a task of your own (docs/own-data.md)"
        )
    task.network()  # type: ignore[attr-defined] # sizes that do not fit are an error now
    return task


def read_recipe(cfg: DictConfig, methods: Sequence[str] = ()) -> Recipe:
    """What the methods train with, from the sections of a preset.

    Raises:
        ValueError: settings that cannot be, or with which one of ``methods`` cannot train.
    """
    try:
        recipe = Recipe(**{part.name: hydra.utils.instantiate(cfg[part.name]) for part in fields(Recipe)})
    except InstantiationException as error:
        raise ValueError(str(error.__cause__ or error)) from error
    for part in fields(Recipe):
        check_whole_numbers(part.name, getattr(recipe, part.name))
    if methods:
        check_recipe([registry.make(name) for name in methods], recipe)
    return recipe


def check_whole_numbers(key: str, part: Any) -> None:
    """Raise ``ValueError`` where a dataclass that should have a whole number has another one: 2e4 is none in YAML, and
    a training would find out when it begins."""
    kinds = get_type_hints(type(part))
    for field in fields(part):
        name, value = f"{key}.{field.name}", getattr(part, field.name)
        if is_dataclass(value):
            check_whole_numbers(name, value)
        elif int in (kinds[field.name], *get_args(kinds[field.name])) and type(value) not in (int, type(None)):
            raise ValueError(f"{name}={value}; give a whole number, all digits written out")


def trained_on(model: Published, silos: Sequence[Silo]) -> bool:
    """Whether a model was trained on these silos: by the hash of their data, or, where a private training does not tell
    it, by their label histograms."""
    metadata = model.metadata
    if "privacy" in (metadata["metrics"] or {}):
        return same_histograms(model, [silo.histogram(model.task.space) for silo in silos])
    return metadata["data_hash"] == silos_hash(silos)


def privacy_of(method: Method, recipe: Recipe, silos: Sequence[Silo]) -> dict[str, Any] | None:
    """What a method's private trainings cost each silo, all together, as its published model tells; ``None`` without.

    Raises:
        ValueError: a silo has too few samples for their batches.
    """
    parts = private_parts(method, recipe)
    if not parts:
        return None
    samples = {silo.name: len(silo) for silo in silos} if method.decentralised else {"pooled": sum(map(len, silos))}
    numbers = [
        (part.loop.batch, part.loop.steps) if isinstance(part, LocalConfig) else (part.batch, part.rounds * part.steps)
        for part in parts
    ]
    for part, (batch, _) in zip(parts, numbers, strict=True):
        check_sizes(part.privacy, batch, samples)
    *earlier, last = parts
    assert last.privacy is not None
    before = [part for part in earlier if isinstance(part, LocalConfig)]  # averaging comes last, where it does
    return {silo: spent_in_all(last.privacy, n, *numbers[-1], before) for silo, n in samples.items()}


def train_and_publish(
    federation: Federation, methods: Sequence[str], recipe: Recipe, publish: Publisher
) -> dict[str, Path]:
    """Train the methods, sharing what they have in common; returns the folder of each published model.

    Everything that a method passed between silos is listed in ``out/<method>.ledger.jsonl``.

    Raises:
        ValueError: before any training, a recipe that one of the methods cannot train with, or silos too small for it.
    """
    made = {name: registry.make(name) for name in methods}
    check_recipe(list(made.values()), recipe)
    costs = {name: privacy_of(method, recipe, federation.silos) for name, method in made.items()}
    data_hash = silos_hash(federation.silos)
    folders = {}
    for name, method in made.items():
        exchange, cost = method.exchange(federation), costs[name]
        experts = method.train(federation, recipe, exchange)
        folders[name] = federation.out / "published" / name
        exchange.ledger.to_jsonl(federation.out / f"{name}.ledger.jsonl")  # first: what is published counts as finished
        if parallel.is_first():
            # Of a private training no hash: it tells whether a guessed sample was there, whatever the noise.
            mark, metrics = (None, {"privacy": cost}) if cost else (data_hash, None)
            with only_here(folders[name].parent, name):  # the same training may have been started twice
                publish(folders[name], experts, method=name, data_hash=mark, metrics=metrics)
        log.info("%s: %s", name, folders[name])
    return folders


def train_dealt(
    given: RunSettings,
    task: Task,
    silos: Sequence[Silo],
    recipe: Recipe,
    cfg: DictConfig,
    publish: Callable[..., None],
    progress: ProgressFactory | None = None,
) -> dict[str, Path]:
    """What a training is once its silos are dealt, whatever its problem: :func:`train_and_publish` in ``given.out``.

    Args:
        given: typed settings.
        task, silos, recipe: what is trained, on what and how.
        cfg: the whole configuration, which each published model keeps.
        publish: the problem's, as :func:`dcfm.published.publish_task`.
        progress: see :data:`~dcfm.jobs.ProgressFactory`.
    """
    torch.set_num_threads(1)
    device = str(resolve_device(given.device))
    federation = Federation(task, silos, Path(given.out), given.seed, device, given.workers, progress, given.snapshots)
    publisher = partial(
        publish,
        histograms=federation.histograms,
        task=task,
        partition=given.partition,
        training=OmegaConf.to_container(cfg, resolve=True),
    )
    return train_and_publish(federation, given.methods, recipe, publisher)


def claim(path: Path, content: Mapping[str, Any], told: Mapping[str, Any] | None = None) -> None:
    """Write what a folder's trainings are about, or check that it is what is there already.

    Args:
        path: of a JSON file.
        content: plain values.
        told: further plain values, which are written for people to read and not compared, e.g. where the data lay.

    Raises:
        ValueError: there is one of something else, or a damaged one.
    """
    if not path.is_file():
        write_text_atomically(path, json.dumps(dict(content) | dict(told or {})) + "\n")
        return
    stored = read_json(path, "choose another out=, or delete it")
    if differs := [key for key in content if stored.get(key) != content[key]]:
        raise ValueError(
            f"{path} is of another training: {', '.join(differs)} differ from what is asked for now; choose another "
            "out=, or give the old settings back to go on there"
        )
