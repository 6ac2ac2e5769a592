"""What entries were trained with, held against what a training with this comparison's settings would take now.

An entry that is trained already is taken as it is, whatever overrides are given later; so the table must say where the
two differ. Settings that either side lacks are left out: configurations grow, and an older artefact says nothing of
keys that are younger than it.
"""

import json
from collections.abc import Sequence
from itertools import product

from omegaconf import DictConfig, OmegaConf

from dcfm.comparison import ComparisonError, Entry, recipe_differences, recipe_of, training_config
from dcfm.methods import registry
from dcfm.records import METHOD
from dcfm_planner.comparison.settings import ComparisonSettings
from dcfm_planner.comparison.state import State
from dcfm_planner.domains.cube import CUBE
from dcfm_planner.training import read_domain


def config_of(settings: ComparisonSettings, entry: Entry) -> DictConfig:
    """The configuration that a training of an entry takes: ``configs/train_planner.yaml`` and the given overrides.

    Raises:
        ComparisonError: overrides that the configuration does not take, or another domain.
    """
    config = training_config(
        entry, settings.runs, "dcfm_configs", "train_planner", device=settings.device, training=settings.training
    )
    if (name := read_domain(config.domain).name) != CUBE.name:
        raise ComparisonError(f"training={list(settings.training)} is of {name}; this table is of {CUBE.name}")
    return config


def recipe_warnings(settings: ComparisonSettings, states: Sequence[State]) -> list[str]:
    """A sentence for the entries of a partition and a training seed that were trained otherwise than they would be now,
    and what differs. Only those are compared whose recipe is known.

    Args:
        settings: of the comparison.
        states: of its entries.

    Raises:
        ComparisonError: overrides that the configuration does not take.
    """
    found = []
    for partition, seed in product(settings.partitions, settings.seeds):
        here = [s for s in states if (s.entry.partition, s.entry.seed) == (partition, seed) and s.recipe is not None]
        if not here:
            continue
        # Of an entry, only partition and seed are part of the configuration: one does for all methods.
        asked = json.loads(
            json.dumps(recipe_of(OmegaConf.to_container(config_of(settings, here[0].entry), resolve=True)))
        )
        groups: dict[str, list[str]] = {}
        for state in here:
            own = {METHOD: registry.own_settings(state.entry.method)}
            if wrong := recipe_differences(asked | own, state.recipe or {}):
                groups.setdefault("; ".join(wrong), []).append(state.entry.method)
        for wrong, methods in groups.items():
            found.append(
                f"{partition}, training seed {seed}: trained with other settings than training="
                f"{list(settings.training)} gives now: {', '.join(methods)} ({wrong})"
            )
    return found
