"""What comparisons of methods share: entries (a method trained on a partition with a seed), their folders, and doing
what is missing entry by entry, so that one that fails leaves all others alone."""

import json
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from dcfm import artefacts
from dcfm.artefacts import MANIFEST, MODEL, file_hash
from dcfm.methods import registry
from dcfm.records import METHOD
from dcfm.task import EXECUTION

log = logging.getLogger(__name__)


class ComparisonError(ValueError):
    """A comparison that cannot be made as asked for, or results that do not belong together."""


@dataclass(frozen=True)
class Entry:
    """One entry of a table: ``method`` trained on ``partition`` with ``seed``."""

    partition: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.partition}/seed{self.seed}/{self.method}"

    def training(self, runs: Path) -> Path:
        """The folder of all trainings that share its silos."""
        return runs / self.partition / f"seed{self.seed}"

    def published(self, runs: Path) -> Path:
        """The folder of its trained model."""
        return self.training(runs) / "published" / self.method

    def trained(self, runs: Path) -> bool:
        """Whether its model is there."""
        return (self.published(runs) / MANIFEST).is_file()

    def results(self, out: Path) -> Path:
        """The folder of its results."""
        return out / self.partition / f"seed{self.seed}" / self.method


def entries_of(partitions: Iterable[str], seeds: Iterable[int], methods: Iterable[str]) -> list[Entry]:
    """All entries, in the order in which they are run."""
    methods, seeds = tuple(methods), tuple(seeds)
    return [Entry(p, m, s) for p in partitions for s in seeds for m in methods]


def check_list(name: str, given: Sequence[str | int], allowed: Sequence[str] | None = None) -> None:
    """One or more values, each once, of those that are allowed (``None``: seeds, 0 or more).

    Raises:
        ComparisonError: else.
    """
    if not given:
        raise ComparisonError(f"{name}=[]: give at least one" + (f" of {', '.join(allowed)}" if allowed else ""))
    if allowed is not None and (unknown := [value for value in given if value not in allowed]):
        raise ComparisonError(f"unknown {name} {', '.join(map(repr, unknown))}; there are {', '.join(allowed)}")
    if allowed is None and any(int(value) < 0 for value in given):
        raise ComparisonError(f"{name}={list(given)}: give numbers of 0 or more")
    if len(set(given)) != len(given):
        raise ComparisonError(f"{name}={list(given)} names something twice; name each once")


def training_config(
    entry: Entry, runs: Path, module: str, name: str, *, device: str, training: Sequence[str]
) -> DictConfig:
    """The configuration of an entry's training.

    Args:
        entry: what is trained.
        runs: folder of trainings.
        module: package of configurations.
        name: configuration of the training within it.
        device: ``auto``, ``cpu``, ``cuda``.
        training: further overrides.

    Raises:
        ComparisonError: overrides that the configuration does not take, or other values for what the entry decides.
    """
    # What the table decides and results depend on: its key for each, and the entry's value.
    decided = {
        "methods": ("methods", f"[{entry.method}]"),
        "partition": ("partitions", entry.partition),
        "seed": ("seeds", str(entry.seed)),
        "device": ("device", device),
        "out": ("runs", str(entry.training(runs))),
    }
    for word in training:
        key, _, value = word.lstrip("+~").partition("=")
        if key in decided and value != decided[key][1]:
            raise ComparisonError(f"training=[{word}]: the table says that; give {decided[key][0]}= beside training=")
    overrides = [*training, *(f"{key}={value}" for key, (_, value) in decided.items() if key != "out")]
    begun = GlobalHydra.instance().is_initialized()
    try:
        with nullcontext() if begun else initialize_config_module(module, version_base="1.3"):
            config = compose(name, overrides=overrides)
    except HydraException as error:
        where = f"{module.replace('dcfm_configs', 'configs', 1).replace('.', '/')}/{name}.yaml"
        raise ComparisonError(
            f"training={list(training)} does not fit {where}: {str(error).splitlines()[0]}"
        ) from error
    # Not as an override, whose grammar takes commas, brackets and other letters of a path for its own.
    OmegaConf.update(config, "out", str(entry.training(runs)).replace("${", r"\${"), force_add=True)
    return config


NOT_OF_THE_RECIPE: Final = (
    "methods",
    "out",
    "device",
    "workers",
    "shard",
    "snapshots",
    "tensorboard",
    "ship",
    "digits",
    "folder",
    "path",
    "autoencoder",
    "pretrained",
    "data",
    "collect",
    "domain",
)
"""Keys of trainings' configurations that say where and how something is trained, not what. Data and autoencoders
can be moved; whether they are the same is known by their content."""


PRIVACY: Final = "privacy"
"""The section of a training that makes it private, see :class:`dcfm.privacy.settings.PrivacyConfig`."""


def recipe_of(training: Any) -> dict[str, Any]:
    """The settings of a training, a mapping, that make what is trained."""
    return {key: value for key, value in training.items() if key not in NOT_OF_THE_RECIPE}


def trained_with(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that made a published model, by its own configuration: its training's and, under
    :data:`~dcfm.records.METHOD`, its method's, where it is not of before they were kept."""
    return recipe_of(config.get("training", {})) | {key: config[key] for key in (METHOD,) if key in config}


def recipe_differences(asked: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Where two recipes differ, a text a key.

    Configurations grow, and an older artefact says nothing of keys that are younger than it; nor does a preset say all.
    A setting that a section lacks has the default of the section's class, as ``asked`` names it; without a default, or
    where one lacks the whole section, it is left out. What says nothing of privacy has none. A section that one gives
    and the other switches off (``null``) is a difference.
    """
    one, other = dict(_leaves(asked)), dict(_leaves(there))
    private = {key: None for key in {**one, **other} if key.endswith(f".{PRIVACY}")}
    usual = dict(_defaults(asked))
    for recipe in (one, other):
        sections = {_section(key) for key in recipe}
        known = {key: value for key, value in usual.items() if _section(key) in sections}
        recipe.update({key: value for key, value in (known | private).items() if key not in recipe})
    for off, given in ((one, other), (other, one)):
        for section in [key for key, value in off.items() if value is None and key not in given]:
            if within := {key: value for key, value in given.items() if key.startswith(f"{section}.")}:
                given[section] = within
    return [f"{key}: {other[key]!r} there, {one[key]!r} now" for key in one if key in other and one[key] != other[key]]


def _section(key: str) -> str:
    return key.rpartition(".")[0]


def _defaults(recipe: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Plain defaults of the dataclasses that a recipe's sections name."""
    for key, value in recipe.items():
        if isinstance(value, Mapping) and key != PRIVACY:
            yield from _defaults(value, f"{before}{key}.")
    if "_target_" in recipe and is_dataclass(kind := get_class(recipe["_target_"])):
        for field in fields(kind):
            if field.name not in EXECUTION and (field.default is None or isinstance(field.default, str | float | int)):
                yield before + field.name, field.default


def _leaves(recipe: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in recipe.items():
        if isinstance(value, Mapping) and key != PRIVACY:
            yield from _leaves(value, f"{before}{key}.")
        elif key not in EXECUTION:
            yield before + key, value


def check_recipes(entries: Iterable[Entry], runs: Path, config_of: Callable[[Entry], DictConfig]) -> None:
    """Raise :class:`ComparisonError` if an entry is trained already, but otherwise than it would be now.

    Args:
        entries: of the comparison.
        runs: folder of trainings.
        config_of: the configuration of an entry's training.
    """
    for entry in entries:
        if not entry.trained(runs):
            continue
        asked = recipe_of(OmegaConf.to_container(config_of(entry), resolve=True))
        asked[METHOD] = registry.own_settings(entry.method)
        there = trained_with(artefacts.load(entry.published(runs)).config)
        if wrong := recipe_differences(json.loads(json.dumps(asked)), there):
            raise ComparisonError(
                f"{entry} was trained with other settings ({'; '.join(wrong[:5])}{'; ...' if wrong[5:] else ''}); give "
                f"training= as then, another runs= than {runs} to train anew, or train=false to take what is there"
            )


def check_there(entries: Iterable[Entry], runs: Path, out: Path) -> None:
    """Raise :class:`ComparisonError` if there is neither a training nor a result of any entry: a table of what is there
    would be of nothing, and most likely a folder is misspelt."""
    entries = list(entries)
    if not any(entry.trained(runs) or entry.results(out).is_dir() for entry in entries):
        raise ComparisonError(
            f"runs={runs} holds no training and out={out} no result of {', '.join(map(str, entries[:3]))}"
            f"{', ...' if entries[3:] else ''}; check the two folders, or give train=true"
        )


def check_weights(entry: Entry, metrics: Mapping[str, Any], runs: Path) -> None:
    """Raise :class:`ComparisonError` if metrics are of other weights than the entry's model, where that is at hand."""
    judged, model = metrics.get("weights_sha256"), entry.published(runs) / MODEL
    if judged is not None and model.is_file() and file_hash(model) != judged:
        raise ComparisonError(
            f"its metrics are of other weights than {model}; give evaluate=true redo=true to evaluate these, or the "
            "runs= of the training that was evaluated"
        )


def other_trainings(found: Mapping[str, Mapping[int, Any]]) -> list[str]:
    """A warning if rows of a table, evaluations by training seed, are not of the same seeds."""
    seeds = {method: ", ".join(map(str, by_seed)) for method, by_seed in found.items() if by_seed}
    if len(set(seeds.values())) < 2:
        return []
    each = "; ".join(f"{method}: {numbers}" for method, numbers in seeds.items())
    return [f"the rows are means over different training seeds ({each}); only equal ones compare"]


def other_within_seeds(found: Mapping[str, Mapping[int, Mapping[str, Any]]], names: Mapping[str, str]) -> list[str]:
    """Warnings if rows of one training seed differ in what they must have in common to be compared.

    Args:
        found: evaluations by row and training seed.
        names: keys of evaluations, and what each is called. One that does not tell a key is taken at its word.
    """
    warnings = []
    for name, what in names.items():
        values: dict[int, dict[str, list[str]]] = {}
        for method, by_seed in found.items():
            for seed, metrics in by_seed.items():
                if metrics.get(name) is not None:
                    values.setdefault(seed, {}).setdefault(metrics[name], []).append(method)
        for seed, held in values.items():
            if len(held) > 1:
                rows = "; ".join(", ".join(methods) for methods in held.values())
                warnings.append(f"seed {seed}: {what} differ between rows ({rows}); they cannot be compared")
    return warnings


Key = TypeVar("Key", bound=Hashable)


def attempt(key: Key, work: Callable[[], object], failed: dict[Key, str]) -> None:
    """Do ``work``; if it fails, note under ``key`` what went wrong, since a night's work is not lost for one entry."""
    try:
        work()
    except (ValueError, OSError) as error:
        failed[key] = str(error)
    except Exception as error:
        log.exception("%s failed", key)
        failed[key] = f"{type(error).__name__}: {error}"


def check_any(summary: Mapping[str, Any], failed: Mapping[str, str] | Mapping[Entry, str]) -> None:
    """Raise :class:`ComparisonError` if something failed and no row of any table is there: such a table would take the
    place of a good one. Called before the table is written."""
    if not any(row["run"] for table in summary["tables"] for row in table["rows"]):
        check_failed(failed, "and there is nothing else: no table was written")


def check_failed(failed: Mapping[str, str] | Mapping[Entry, str], rest: str = "all others are in the table") -> None:
    """Raise :class:`ComparisonError` if something failed, naming all that did and why; called after the table is
    written, or instead, ``rest`` saying so."""
    if failed:
        reasons = "\n".join(f"  {entry}: {reason}" for entry, reason in failed.items())
        raise ComparisonError(f"{len(failed)} entries failed, {rest}:\n{reasons}")
