"""The settings of a federation, composed from one string of hydra overrides, which is a Flower run's configuration."""

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Final

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from dcfm.configuration import typed
from dcfm.exchange import SERVER
from dcfm.federated.counts import check_epsilon

PROTOCOLS: Final = ("dcfm_a", "dcfm_b", "dcfm_b_r", "fedflow", "fedflow_l")
ENGINES: Final = ("simulation", "deployment", "running")
OPERATION: Final = frozenset(
    {"engine", "distil_on", "fewest", "arrival", "deadline", "patience", "attempts", "superlink", "out", "device"}
)
"""Settings that a run may be continued with other values of: they do not change what is computed from which data."""


@dataclass
class Settings:
    """The keys of configs/federate.yaml that are no task's, and their types."""

    protocol: str
    partition: str
    alpha: float
    silos: int
    names: list[str] | None
    seed: int
    device: str
    engine: str
    distil_on: str
    fewest: int
    arrival: float
    deadline: float
    patience: float
    attempts: int
    suppress: int
    epsilon: float | None
    superlink: str | None
    out: str

    @property
    def silo_names(self) -> list[str]:
        """Of silo 0, silo 1, ..."""
        return [f"silo{i}" for i in range(self.silos)] if self.names is None else self.names


def read_settings(config: DictConfig) -> Settings:
    """The federation's own settings out of a composed configuration.

    Raises:
        ValueError: a value has the wrong type, is unknown, or is out of range.
    """
    own = [f.name for f in fields(Settings)]
    settings = typed(OmegaConf.masked_copy(config, own), Settings, "federate")
    for key, allowed in (("protocol", PROTOCOLS), ("engine", ENGINES)):
        if (value := getattr(settings, key)) not in allowed:
            raise ValueError(f"unknown {key} {value!r}; give one of {', '.join(allowed)}")
    names = settings.silo_names
    if len(names) != settings.silos or len(set(names)) != len(names) or {SERVER, "all"} & set(names) or "" in names:
        raise ValueError(
            f"names={names} for silos={settings.silos}; give one name a silo, all different, none {SERVER!r} or 'all'"
        )
    if any(not name.replace("_", "").replace("-", "").isalnum() for name in names):
        raise ValueError(f"names={names}; they become folders: letters, digits, - and _ only")
    if settings.distil_on not in (SERVER, *names):
        raise ValueError(f"distil_on={settings.distil_on!r}; give {SERVER} or one of {', '.join(names)}")
    if not 1 <= settings.fewest <= settings.silos:
        raise ValueError(f"fewest={settings.fewest}; give 1 to silos={settings.silos}")
    if min(settings.arrival, settings.deadline, settings.patience) <= 0 or settings.attempts < 1:
        raise ValueError(
            f"arrival={settings.arrival}, deadline={settings.deadline}, patience={settings.patience} must be positive, "
            f"attempts={settings.attempts} at least 1"
        )
    if settings.suppress < 0:
        raise ValueError(f"suppress={settings.suppress} must be at least 0")
    if settings.epsilon is not None:
        check_epsilon(settings.epsilon)
    if (settings.engine == "running") != (settings.superlink is not None):
        raise ValueError(
            f"engine={settings.engine}, superlink={settings.superlink}; engine=running needs superlink, no other has it"
        )
    return settings


def composed(overrides: str | Sequence[str]) -> DictConfig:
    """The configuration ``federate`` with overrides, given as a list or as one string quoted as for a shell.

    Raises:
        ValueError: an override that hydra cannot read or apply, or that adds a key which nothing reads.
    """
    given = shlex.split(overrides) if isinstance(overrides, str) else list(overrides)
    begun = GlobalHydra.instance().is_initialized()  # within scripts/federate.py
    try:
        with nullcontext() if begun else initialize_config_module("dcfm_configs", version_base="1.3"):
            config = compose("federate", overrides=given)
            known = compose("federate", overrides=_without_additions(given))
    except HydraException as error:
        raise ValueError(f"the overrides {given} do not fit configs/federate.yaml: {error}") from error
    _check_keys(config, known)
    return config


def _without_additions(overrides: Sequence[str]) -> list[str]:
    """What chooses groups, which bring keys of their own, without what may be of something that a "+" adds."""
    added = {o.partition("=")[0].lstrip("+") for o in overrides if o.startswith("+")}
    keys = {o: o.partition("=")[0] for o in overrides}
    return [o for o, key in keys.items() if key[0] not in "+~" and "." not in key and key not in added]


def _check_keys(config: DictConfig, known: DictConfig) -> None:
    """A key that an override added with "+" would be ignored, whatever it asks for, privacy included."""
    if unread := [str(key) for key in config if key not in known]:
        raise ValueError(
            f"{', '.join(unread)}: nothing reads this, for reader={known.get('reader')}; its keys are "
            f"{', '.join(sorted(map(str, known)))}, see configs/federate.yaml and configs/federated/task"
        )


def identity(config: DictConfig) -> dict[str, object]:
    """All settings that a continued run must share with the one before, as plain data."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key not in OPERATION}


def run_name(config: DictConfig) -> str:
    """Of the folder in which a silo keeps its work on a run, the same when the run is continued."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:12]


def written(overrides: Sequence[str]) -> str:
    """Overrides as one string, the inverse of how :func:`composed` reads one."""
    return shlex.join(overrides)


def quoted(text: str) -> str:
    """Any text as a value of an override: hydra's grammar takes commas, brackets and other letters for its own."""
    literal = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text)  # no interpolation
    ended = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + (r"\'" if found[2] else ""), literal)
    return f"'{ended}'"
