"""FedFlow: federated averaging of one flow network (McMahan et al. 2017; for flows, Tun et al. 2023).

Round ``r``: every silo starts from the global weights, takes some optimizer steps on its own data (Eq. 9, or Eq. 11 for
"+L"), and sends its weights back; the new global weights are their mean, weighted by the silos' sample counts. The
optimizer is made anew each round, as in the source; the learning rate falls over the rounds along a half cosine, which
the source leaves open, and the result is a moving average of the global weights, as for every other method here.

Silos that differ drift apart within a long round. FedProx (Li et al. 2020) ties each to where its round began by a term
more, ``mu/2 ||theta - theta_r||^2``. What the server makes of the mean is in :mod:`dcfm.trainers.server`.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int, Shaped
from safetensors import safe_open
from torch import Tensor, nn

from dcfm.artefacts import plain_settings, save_tensors
from dcfm.exchange import Ledger
from dcfm.privacy.settings import PrivacyConfig
from dcfm.seeds import derived
from dcfm.silos import Silo
from dcfm.task import Task, build_network, release
from dcfm.trainers.local import local_loss
from dcfm.trainers.loop import LoopConfig, Loss, Progress, ResumeError, fit
from dcfm.trainers.objective import ObjectiveConfig, own_labels
from dcfm.trainers.parallel import ranks
from dcfm.trainers.server import GlobalModel, ServerConfig
from dcfm.weights import Weights, fingerprint

LONG_ROUND = 500
"""Steps of a round above which it is long enough to be worth checkpoints of its own, every so many steps."""


@dataclass(frozen=True)
class FedAvgConfig:
    """Federated averaging.

    Args:
        rounds: downloads and uploads, ``T``.
        steps: optimizer steps of a silo in a round.
        batch: samples of a step.
        learning_rate: of the first round; it falls along half a cosine over the rounds.
        warmup: steps at the start of a round over which the rate rises, since the optimizer starts from nothing.
        floor: what it falls to at the end of the last round, as a fraction of the first round's.
        continuous: let the rate fall within a round too, to the next one's, instead of from round to round alone. With
            many short rounds the two are nearly the same; few long ones lack the small last steps otherwise.
        weight_decay, clip: of AdamW, and the largest norm of a gradient.
        ema: decay, over rounds, of the moving average of the global weights that is returned.
        checkpoint_every: rounds between checkpoints; rounds of more than :data:`LONG_ROUND` steps have one each, and
            some within.
        proximal: ``mu`` of FedProx, see :func:`proximal_loss`; ``None``: federated averaging as it is.
        server: the server's optimizer (FedAvgM, FedAdam); ``None``: the silos' mean is the next round's start.
        objective: of the silos; ``independence.weight = 0`` is FedFlow without "+L".
        privacy: make the silos' trainings differentially private; not if ``None``.
    """

    rounds: int = 100
    steps: int = 60
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 5
    floor: float = 0.01
    continuous: bool | None = None  # nothing, rather than false, leaves older settings as they were written
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.8
    checkpoint_every: int = 10
    proximal: float | None = None
    server: ServerConfig | None = None
    objective: ObjectiveConfig = field(default_factory=own_labels)
    privacy: PrivacyConfig | None = None

    def __post_init__(self) -> None:
        if min(self.rounds, self.checkpoint_every) < 1 or not 0 <= self.ema < 1:
            raise ValueError(f"rounds and checkpoint_every must be at least 1, ema in [0, 1): {self}")
        if self.proximal is not None and not 0 < self.proximal < math.inf:
            raise ValueError(f"proximal={self.proximal} must be positive; without the term give null")
        if not isinstance(self.server, ServerConfig | None):
            raise ValueError(
                f"server={self.server}; give null or, of a server's optimizer, "
                "{_target_: dcfm.trainers.server.ServerConfig, rule: adam, learning_rate: 0.01}"
            )
        self.loop(0)

    @property
    def long(self) -> bool:
        """Whether a round is checkpointed within, and shown step by step while it goes on."""
        return self.steps > LONG_ROUND

    def decay(self, number: int) -> float:
        """Of the moving average in round ``number``, counted from 0: the first round's weights begin it."""
        return 0.0 if number == 0 else min(self.ema, (number + 1) / (number + 10))

    def loop(self, number: int) -> LoopConfig:
        """The loop of a silo in round ``number``, counted from 0."""
        schedule = LoopConfig(steps=self.rounds, learning_rate=self.learning_rate, warmup=0, floor=self.floor)
        return LoopConfig(
            steps=self.steps,
            batch=self.batch,
            learning_rate=schedule.rate(number),
            warmup=self.warmup,
            floor=schedule.rate(number + 1) / schedule.rate(number) if self.continuous else 1.0,
            weight_decay=self.weight_decay,
            clip=self.clip,
            ema=0.0,
            checkpoint_every=min(self.steps, LONG_ROUND),
        )


def proximal_loss(loss: Loss, network: nn.Module, mu: float) -> Loss:
    """A loss plus ``mu/2 ||theta - theta_r||^2``, ``theta_r`` being the network's parameters now (FedProx, Li et al.
    2020, Eq. 2). It looks at no sample, so that a private training stays as private."""
    start = [parameter.detach().clone() for parameter in network.parameters()]

    def tied(whole: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        terms = loss(whole, step, generator)
        moved = [(now - then).square().sum() for now, then in zip(network.parameters(), start, strict=True)]
        pull = mu / 2 * torch.stack(moved).sum()
        shared = pull.detach() + (pull - pull.detach()) / ranks()  # the gradients of all processes are summed
        return {**terms, "proximal": pull.detach(), "loss": terms["loss"] + shared}

    return tied


def train_round(
    task: Task,
    data: Shaped[Tensor, "n ..."],
    labels: Int[Tensor, "n k"],
    network: nn.Module,
    config: FedAvgConfig,
    number: int,
    *,
    seed: int,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> None:
    """A silo's part of round ``number``: moves ``network``, in place, ``config.steps`` steps on the silo's own data.

    Args:
        progress: called after each step, which is counted from the round's first.
        checkpoint: file to write every :data:`LONG_ROUND` steps, and to go on from where it exists.

    Raises:
        ResumeError: the checkpoint is of another round, other settings, data or weights to start from.
    """
    settings = origin = None
    if checkpoint is not None:
        settings = {"config": plain_settings(config), "round": number}
        origin = {"data": fingerprint([{"data": data, "labels": labels}]), "from": fingerprint([network.state_dict()])}
    release(network, task)
    loss = local_loss(task, data, labels, config.batch, config.objective, config.privacy)
    if config.proximal is not None:
        loss = proximal_loss(loss, network, config.proximal)
    # Draws differ from round to round and from silo to silo, and a resumed run repeats them.
    fit(
        network,
        loss,
        config.loop(number),
        seed=derived(seed, number),
        settings=settings,
        origin=origin,
        checkpoint=checkpoint,
        progress=progress,
    )


@dataclass(frozen=True)
class RoundCheckpoint:
    """Where federated averaging stands, on disk: the global model, rounds done, messages so far.

    Args:
        path: of the weights.
        messages: of the ledger; written before the weights, so it never lacks a message that they rest on.
        identity: settings that a checkpoint must agree with.
        data_hash: of the silos' data.
    """

    path: Path
    messages: Path
    identity: dict[str, Any]
    data_hash: str

    def _described(self) -> str:
        return json.dumps({"identity": self.identity, "data": self.data_hash}, sort_keys=True)

    def store(self, model: GlobalModel, ledger: Ledger) -> None:
        """Write all of it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        ledger.to_jsonl(self.messages)
        metadata = {"run": self._described(), "done": str(model.done), "messages": str(len(ledger.messages))}
        save_tensors(self.path, model.tensors(), metadata=metadata)

    def restore(self, start: Weights, ledger: Ledger) -> GlobalModel:
        """As stored, or before the first round from ``start``. Past messages go into ``ledger``.

        Raises:
            ResumeError: the checkpoint is unreadable or of another run.
        """
        if not self.path.exists():
            return GlobalModel.start(start)
        remedy = f"give the old settings back, or delete {self.path} to start anew"
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        except Exception as error:
            raise ResumeError(f"{self.path} is not a readable checkpoint ({error}); {remedy}") from error
        if metadata.get("run") != self._described():
            raise ResumeError(f"{self.path} was written with {metadata.get('run')}; {remedy}")
        passed = int(metadata["messages"])
        past = Ledger.from_jsonl(self.messages, ledger.model_size, passed).messages[:passed]
        ledger.messages[:] = past
        return GlobalModel.from_tensors(int(metadata["done"]), tensors)


_network: dict[str, nn.Module] = {}
"""Of this process's last averaging, by its name for itself: its rounds use one again, with what was recorded of it."""


@dataclass(frozen=True)
class Part:
    """A silo's part of a round of averaging.

    Attributes:
        training: the averaging's name for itself.
        weights: that the round starts from.
        number: of the round, from 0.
        checkpoint: within the round, if it is long.
        show: makes what is called after each step, if it is.
    """

    training: str
    silo: Silo
    weights: Weights
    config: FedAvgConfig
    number: int
    seed: int
    checkpoint: Path | None
    show: Callable[[], Progress] | None


def train_part(part: Part, task: Task, device: str) -> tuple[Weights, list[dict[str, float]]]:
    """A silo's weights after its part of a round, and, unless they were shown, its terms of the loss step by step."""
    if part.training not in _network:
        _network.clear()
        _network[part.training] = build_network(task, part.weights, device)
    network = _network[part.training]
    network.load_state_dict(part.weights)
    terms: list[dict[str, float]] = []
    silo, config = part.silo, part.config
    show = None if part.show is None else part.show()

    def progress(done: int, _: int, found: dict[str, float]) -> None:
        if show is None:
            terms.append(found)
        else:
            show(part.number * config.steps + done, config.rounds * config.steps, found)

    data, labels = silo.data.to(device), silo.labels.to(device)
    train_round(
        task, data, labels, network, config, part.number, seed=part.seed, progress=progress, checkpoint=part.checkpoint
    )
    return {name: value.to("cpu", copy=True) for name, value in network.state_dict().items()}, terms
