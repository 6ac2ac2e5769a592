"""How the toy trains: the few numbers that its methods' recipes are made from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, get_args

from dcfm.attributes import MaskRates
from dcfm.methods.method import Recipe
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.loop import LoopConfig
from dcfm.trainers.objective import IndependenceConfig, ObjectiveConfig
from dcfm.trainers.peers import PeerConfig
from dcfm.trainers.server import RULES, ServerConfig
from dcfm.trainers.student import ReplayConfig, StudentConfig


@dataclass(frozen=True)
class Phase:
    """One training of one network.

    Args:
        steps: optimizer steps; in federated averaging, of a silo in a round.
        learning_rate: highest.
        marg, uncond: mask rates ``pi`` of Eq. 8; the rest is ``pi_full``.
        weight: ``lambda``, of Eq. 11, 14 or 17.
        labels, paths, share: of the CI term, see :class:`~dcfm.trainers.objective.IndependenceConfig`.
    """

    steps: int = 2000
    learning_rate: float = 2e-3
    marg: float = 0.08
    uncond: float = 0.02
    weight: float = 1.0
    labels: str = "own"
    paths: str = "batch"
    share: float = 0.25

    @property
    def objective(self) -> ObjectiveConfig:
        """Of the trainer; all times weigh the same."""
        masks = MaskRates(1 - self.marg - self.uncond, self.marg, self.uncond)
        independence = IndependenceConfig(self.weight, self.share, self.labels, self.paths)
        return ObjectiveConfig(masks, independence, time_power=0.0)


@dataclass(frozen=True)
class Training:
    """All of the toy's trainings; the defaults are those of ``configs/toy_training/default.yaml``.

    Args:
        width, depth: of the network, see :class:`~dcfm.toy.network.PointNetwork`.
        batch: samples of a step.
        warmup: steps over which the learning rate rises.
        ema: decay of the averaged weights.
        stage_one: of every silo alone.
        peers: of DCFM-A, a round; further training of DDM's and DFD's experts takes as many steps in all, with Stage
            I's objective.
        rounds: of DCFM-A.
        peers_per_round: of DCFM-A, see :class:`~dcfm.trainers.peers.PeerConfig`; all if ``None``.
        student: of DCFM-B.
        replay_paths, replay_steps: of DCFM-B's synthetic replay, see :class:`~dcfm.trainers.student.ReplayConfig`.
        fedavg: of FedFlow and the factored network, a round.
        fedavg_rounds: of the same.
        fedavg_ema: decay over rounds of the averaged global weights.
        fedavg_continuous, fedavg_proximal, fedavg_server: see :class:`~dcfm.trainers.fedavg.FedAvgConfig`.
        pooled: of the pooled network.

    Raises:
        ValueError: a value is out of range.
    """

    width: int = 128
    depth: int = 3
    batch: int = 128
    warmup: int = 100
    ema: float = 0.995
    stage_one: Phase = Phase(1200, 3e-3, 0.01, 0.01)
    peers: Phase = Phase(800, 2e-3, 0.01, 0.01, weight=0.1)
    rounds: int = 1
    peers_per_round: int | None = None
    student: Phase = Phase(1200, 3e-3, 0.002, 0.002, weight=5.0, labels="global")
    replay_paths: int = 256
    replay_steps: int = 12
    fedavg: Phase = Phase(20, 3e-3, 0.01, 0.01)
    fedavg_rounds: int = 100
    fedavg_ema: float = 0.8
    fedavg_continuous: bool | None = None
    fedavg_proximal: float | None = None
    fedavg_server: ServerConfig | None = None
    pooled: Phase = Phase(2000, 3e-3, 0.01, 0.01, weight=5.0, labels="global")

    def __post_init__(self) -> None:
        if min(self.width, self.depth) < 1:
            raise ValueError(f"width={self.width} and depth={self.depth} must be at least 1")
        self.recipe()

    def _loop(self, phase: Phase, steps: int | None = None) -> LoopConfig:
        return LoopConfig(
            steps=phase.steps if steps is None else steps,
            batch=self.batch,
            learning_rate=phase.learning_rate,
            warmup=self.warmup,
            ema=self.ema,
        )

    def recipe(self) -> Recipe:
        """What the methods train with."""
        stage_one = LocalConfig(self._loop(self.stage_one), self.stage_one.objective)
        further = LocalConfig(self._loop(self.peers, self.peers.steps * self.rounds), self.stage_one.objective)
        replay = ReplayConfig(self.replay_paths, self.replay_steps, held=0.0)
        return Recipe(
            stage_one=stage_one,
            further=further,
            peers=PeerConfig(
                self._loop(self.peers), self.peers.objective, self.rounds, peers_per_round=self.peers_per_round
            ),
            student=StudentConfig(self._loop(self.student), self.student.objective, replay),
            fedavg=FedAvgConfig(
                rounds=self.fedavg_rounds,
                steps=self.fedavg.steps,
                batch=self.batch,
                learning_rate=self.fedavg.learning_rate,
                ema=self.fedavg_ema,
                continuous=self.fedavg_continuous,
                proximal=self.fedavg_proximal,
                server=self.fedavg_server,
                objective=self.fedavg.objective,
            ),
            pooled=LocalConfig(self._loop(self.pooled), self.pooled.objective),
        )


def read_training(given: Mapping[str, Any]) -> Training:
    """Training settings from plain data, such as a configuration; what is not given is the default.

    Raises:
        ValueError: an unknown key, or a value of the wrong type or out of range.
    """
    return change_training(Training(), given)


def change_training(training: Training, changes: Mapping[str, Any]) -> Training:
    """The training with some settings changed, nested like :class:`Training`; errors as of :func:`read_training`."""
    return _read(training, changes, "training")


T = TypeVar("T", Training, Phase)


def _read(default: T, given: Mapping[str, Any], where: str) -> T:
    kinds = {f.name: f.type for f in fields(default)}
    if unknown := [key for key in given if key not in kinds]:
        raise ValueError(f"unknown key {where}.{unknown[0]}; the keys are {', '.join(kinds)}")
    changes = {k: _value(getattr(default, k), kinds[k], value, f"{where}.{k}") for k, value in given.items()}
    try:
        return replace(default, **changes)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _value(before: Any, kind: Any, value: Any, where: str) -> Any:
    """A setting's new value, of the kind that it is declared as."""
    if isinstance(before, Phase):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}={value!r}; give the keys {', '.join(f.name for f in fields(before))}")
        return _read(before, value, where)
    if ServerConfig in get_args(kind):
        return None if value is None else read_server(value, where)
    if bool in get_args(kind):  # false is nothing, which leaves older settings as they were written
        if value is not None and not isinstance(value, bool):
            raise ValueError(f"{where}={value!r}; give true or false")
        return value or None
    if isinstance(before, str) or isinstance(value, bool):
        if not isinstance(before, str) or not isinstance(value, str):
            raise ValueError(f"{where}={value!r}; give a {type(before).__name__}")
        return value
    if type(None) in get_args(kind):
        return None if value is None else _number(0.0 if float in get_args(kind) else 0, value, where)
    return _number(before, value, where)


def read_server(given: Any, where: str) -> ServerConfig:
    """A server optimizer from plain data.

    Raises:
        ValueError: no mapping, an unknown key or rule, or a value of the wrong type or out of range.
    """
    keys = {f.name: f.default for f in fields(ServerConfig)}
    if not isinstance(given, Mapping) or "rule" not in given or set(given) - set(keys):
        raise ValueError(
            f"{where}={given!r}; give the rule, {' or '.join(RULES)}, and what you like of {', '.join(keys)}"
        )
    numbers = {key: _number(1.0, value, f"{where}.{key}") for key, value in given.items() if key != "rule"}
    try:
        return ServerConfig(given["rule"], **numbers)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _number(before: int | float, value: Any, where: str) -> int | float:
    whole = isinstance(before, int)
    if not isinstance(value, int | float) or not math.isfinite(value) or (whole and value != int(value)):
        raise ValueError(f"{where}={value!r}; give {'a whole number' if whole else 'a number'}")
    return type(before)(value)
