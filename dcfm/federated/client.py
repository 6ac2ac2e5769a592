"""The ClientApp: one silo. It answers what the server asks with trainings on its own data, and lets nothing else out.

Where the data lies is the node's affair, told to its SuperNode and to nobody else:

    --node-config 'partition-id=0 data="/srv/hospital/data.safetensors"'

``partition-id`` is the silo's number. Beside the data the silo keeps its work, from which a question that is asked
again is answered, and a training that was cut off goes on:

    work/<run>              of a run, which its settings name: rounds, result, its own ledger.jsonl and seconds.jsonl
    work/stage1/<training>  of all runs that have the same Stage I
    work/privacy.json       what all private trainings cost (:mod:`dcfm.federated.spending`)
    work/noised_*           the one noise on the counts of the labels
    work/errors.log         what went wrong in any run

Every answer passes one door (:func:`door`): whatever is no parcel of weights, a histogram or scalars is withheld, and
so is the text of an error, which could quote data; it is in ``errors.log`` beside the data.
"""

import functools
import hashlib
import json
import logging
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from dcfm.artefacts import load, load_tensors, plain_settings, save_tensors
from dcfm.exchange import Exchange, Ledger, Payload
from dcfm.federated.counts import check_epsilon, noised, suppressed
from dcfm.federated.parcels import Parcel, by_number, kind_of, pack, scalar, scalars, unpack
from dcfm.federated.settings import Settings, composed, run_name
from dcfm.federated.silo_files import read_silo
from dcfm.federated.spending import Part, note
from dcfm.federated.tasks import FederatedTask, fedavg_config, read_run
from dcfm.jobs import TrainingJob, build_network, run_job
from dcfm.privacy.accounting import sampling_rate
from dcfm.privacy.entropy import secret_generator
from dcfm.privacy.settings import PrivacyConfig
from dcfm.published import resolve_device
from dcfm.seeds import training_seed
from dcfm.silos import LabelHistogram, Silo
from dcfm.task import task_settings
from dcfm.trainers import parallel
from dcfm.trainers.fedavg import FedAvgConfig, train_round
from dcfm.trainers.local import LocalConfig
from dcfm.weights import Weights, fingerprint

log = logging.getLogger(__name__)


class SiloError(RuntimeError):
    """A silo could not answer. The text names the phase and the kind of error, nothing from the silo."""


@dataclass(frozen=True)
class Node:
    """A silo's side of a run.

    Args:
        number: the silo's.
        data: its file, see :mod:`dcfm.federated.silo_files`.
        settings: of the run; its ``out`` is the server's and means nothing here, but in a simulation.
        problem: what is trained.
        suppress, epsilon: of the label histogram; the stricter of the run's and the node's own.
        ranks: processes that train together, one a GPU where there are GPUs.
        run: name of the run's folder within the silo's work.
    """

    number: int
    data: Path
    settings: Settings
    problem: FederatedTask
    suppress: int
    epsilon: float | None
    ranks: int
    run: str = "run"

    @classmethod
    def of(cls, context: Context) -> "Node":
        """From the run's configuration and the node's.

        Raises:
            ValueError: settings that cannot be, an epsilon that is none, or a number that no silo of the run has.
        """
        settings, problem, run = _configured(str(context.run_config["overrides"]))
        number = int(context.node_config["partition-id"])
        if not 0 <= number < settings.silos:
            raise ValueError(f"partition-id={number}; the run has the silos 0 to {settings.silos - 1}")
        data = context.node_config.get("data", silo_path(settings.out, number))
        given = (settings.epsilon, context.node_config.get("epsilon"))
        limits = [check_epsilon(float(epsilon)) for epsilon in given if epsilon is not None]
        return cls(
            number,
            Path(str(data)),
            settings,
            problem,
            max(settings.suppress, int(context.node_config.get("suppress", 0))),
            min(limits, default=None),
            int(context.node_config.get("ranks", 1)),
            run,
        )

    @property
    def name(self) -> str:
        """The silo's."""
        return self.settings.silo_names[self.number]

    @property
    def home(self) -> Path:
        """Where the silo keeps what all runs share."""
        return self.data.parent / "work"

    @property
    def work(self) -> Path:
        """Where the silo keeps its work on this run."""
        return self.home / self.run

    @property
    def device(self) -> str:
        return str(resolve_device(self.settings.device))

    def silo(self) -> Silo:
        """The private data."""
        return read_silo(self.data, self.name)

    def exchange(self) -> Exchange:
        """The silo's end of the exchange, with the ledger of what passed here so far."""
        template = self.problem.task.network().state_dict()
        exchange = Exchange([self.name], template=template)
        path = self.work / "ledger.jsonl"
        if path.exists():
            exchange.ledger = Ledger.from_jsonl(path, exchange.ledger.model_size)
        return exchange

    def train(
        self,
        kind: str,
        folder: str,
        place: Path,
        config: Any,
        arguments: tuple[Any, ...],
        started_from: str = "",
        index: int | None = None,
        part: int = 0,
    ) -> Weights:
        """A training of the core, resumed if it was cut off, and looked up if it is finished.

        Args:
            kind, config, arguments, started_from, part: as of :class:`dcfm.jobs.TrainingJob`.
            folder: name of its artefact.
            place: where that lies.
            index: as there; the silo's number if left out.
        """
        number = self.number if index is None else index
        job = TrainingJob(
            kind,
            f"{folder} {self.name}",
            place,
            plain_settings(config),
            number,
            arguments,
            started_from,
            part,
        )
        asked = (job, self.problem.task, self.settings.seed, self.device, None, False)
        if self.ranks > 1:
            parallel.together(self.ranks, run_job, *asked)
        return run_job(*asked)

    def note_seconds(self, label: str, seconds: float) -> None:
        """Enter how long the silo worked on a phase, for its own eyes; the rest of the phase is the engine's."""
        self.work.mkdir(parents=True, exist_ok=True)
        with (self.work / "seconds.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"phase": label, "seconds": round(seconds, 2)}) + "\n")

    def note_privacy(self, privacy: PrivacyConfig, batch: int, steps: int, network: str = "") -> None:
        """Add private steps to those that the silo's own ``privacy.json`` counts, a repeated round's too; those of a
        network that is kept, which its fingerprint names, once."""
        part = Part(privacy.noise_multiplier, sampling_rate(batch, len(self.silo())), steps, network)
        note(self.home / "privacy.json", part, privacy.delta)

    def histogram(self) -> LabelHistogram:
        """What may be known of the labels. Noise is drawn once for the same counts, since averages would reveal them.

        Raises:
            ValueError: the counts were noised with another epsilon before, or nothing is left of them.
        """
        found = self.silo().histogram(self.problem.task.space)
        path = self.home / f"noised_{fingerprint([found.state_dict()])[:12]}.safetensors"
        if self.epsilon is None and not path.exists():
            return suppressed(found, self.suppress)
        if not path.exists():
            assert self.epsilon is not None
            drawn = noised(found, self.epsilon, secret_generator()).state_dict()
            save_tensors(path, drawn | {"epsilon": torch.tensor(self.epsilon, dtype=torch.float64)})
        kept = load_tensors(path)
        if (epsilon := float(kept.pop("epsilon"))) != self.epsilon:
            raise ValueError(
                f"epsilon={self.epsilon}, but this silo's counts were noised with {epsilon}, and a second answer would "
                f"reveal more; give epsilon={epsilon} again, or delete {path} and reckon with the sum of both"
            )
        return suppressed(LabelHistogram.from_state_dict(kept), self.suppress)

    def answered(self, number: int, weights: Weights, config: FedAvgConfig) -> Path:
        """The file for the answer to a round of federated averaging, whose name tells what was asked."""
        return self.work / "fedavg" / f"{self._named(config, number, fingerprint([weights]))}.safetensors"

    def first(self, config: LocalConfig) -> Path:
        """The folder of Stage I, whose name tells how it trains: runs that agree in that share it, its noise too."""
        return self.home / "stage1" / self._named(config)

    def _named(self, config: Any, *asked: object) -> str:
        """Of a training: what is trained how, on which data."""
        silo = self.silo()
        data = fingerprint([{"data": silo.data, "labels": silo.labels}])
        task = task_settings(self.problem.task)
        told = json.dumps([self.name, self.settings.seed, plain_settings(config), task, data, asked], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=4)
def _configured(overrides: str) -> tuple[Settings, FederatedTask, str]:
    """Composed once a process: a simulation's processes answer many questions."""
    config = composed(overrides)
    return *read_run(config), run_name(config)


Phase = Callable[[Node, Parcel], Parcel]


def introduce(node: Node, parcel: Parcel) -> Parcel:
    """Who this is: number and label histogram."""
    return {"scalars": scalars(number=node.number), "histogram": node.histogram().state_dict()}


def stage_one(node: Node, parcel: Parcel) -> Parcel:
    """Stage I (Eqs. 8-11)."""
    config = node.problem.recipe.stage_one
    weights = node.train("local", "stage1", node.first(config), config, (node.silo(), config, None))
    if config.privacy is not None:
        node.note_privacy(config.privacy, config.loop.batch, config.loop.steps, fingerprint([weights])[:12])
    return {"weights": weights}


def peers(node: Node, parcel: Parcel) -> Parcel:
    """A round of DCFM-A (Eqs. 12-14) from the peers' weights and histograms; its own the silo has."""
    number, config = scalar(parcel, "round"), node.problem.recipe.peers
    own = node.first(node.problem.recipe.stage_one) if number == 1 else node.work / f"dcfm_a/round_{number - 1}"
    order, gathered, histograms = _gathered(node, parcel, own)
    # Its own labels as they are: those of its data must be found in them, and what is trained here is of its data.
    histograms[order.index(node.number)] = node.silo().histogram(node.problem.task.space)
    arguments = (node.silo(), gathered, histograms, order.index(node.number), config)
    folder, start = f"dcfm_a/round_{number}", fingerprint(gathered)
    return {"weights": node.train("peers", folder, node.work / folder, config, arguments, start, part=number - 1)}


def distil(node: Node, parcel: Parcel) -> Parcel:
    """DCFM-B's student (Eqs. 15-17), on a silo instead of the server."""
    config = node.problem.recipe.student
    _, gathered, histograms = _gathered(node, parcel, node.first(node.problem.recipe.stage_one))
    arguments, start = (gathered, histograms, config), fingerprint(gathered)
    return {"weights": node.train("student", "dcfm_b", node.work / "dcfm_b", config, arguments, start, index=0)}


def _gathered(node: Node, parcel: Parcel, own: Path) -> tuple[list[int], list[Weights], list[LabelHistogram]]:
    """Numbers, weights and histograms of all silos in order, the silo's own from its folder ``own``."""
    experts = by_number(parcel, "weights")
    experts[node.number] = load(own, template=node.problem.task.network().state_dict()).weights
    histograms = {n: LabelHistogram.from_state_dict(h) for n, h in by_number(parcel, "histogram").items()}
    histograms[node.number] = node.histogram()
    order = sorted(experts)
    return order, [experts[n] for n in order], [histograms[n] for n in order]


def fedavg(node: Node, parcel: Parcel) -> Parcel:
    """A silo's part of a round of federated averaging; the last answer is kept, and given again if asked again."""
    config = fedavg_config(node.settings.protocol, node.problem.recipe)
    silo, device = node.silo(), node.device
    number = scalar(parcel, "round")
    path = node.answered(number, parcel["weights"], config)
    if path.exists():
        return {"weights": load_tensors(path)}
    network = build_network(node.problem.task, parcel["weights"], device)
    seed = training_seed(node.settings.seed, node.number)
    data, labels = silo.data.to(device), silo.labels.to(device)
    checkpoint = path.with_suffix(".checkpoint.safetensors") if config.long else None
    train_round(node.problem.task, data, labels, network, config, number, seed=seed, checkpoint=checkpoint)
    if config.privacy is not None:
        node.note_privacy(config.privacy, config.batch, config.steps)
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    shutil.rmtree(path.parent, ignore_errors=True)
    save_tensors(path, weights)
    return {"weights": weights}


def deliver(node: Node, parcel: Parcel) -> Parcel:
    """Keep the result: one network, or the other silos' experts and histograms; its own the silo has."""
    shutil.rmtree(
        node.work / "result", ignore_errors=True
    )  # of an earlier delivery, which others may have been part of
    for key, payload in parcel.items():
        save_tensors(node.work / "result" / f"{key.replace('/', '_')}.safetensors", payload)
    return {"scalars": scalars(kept=len(parcel))}


def enter(node: Node, parcel: Mapping[str, Payload]) -> None:
    """Check what came in and enter it into the silo's ledger."""
    _pass(node, parcel, "download")


def door(node: Node, parcel: Mapping[str, Payload]) -> None:
    """The only way out: check each payload to be of its kind and enter it into the silo's ledger.

    Raises:
        ValueError: something else, or weights that are not finite or of another architecture.
    """
    _pass(node, parcel, "upload")


def _pass(node: Node, parcel: Mapping[str, Payload], direction: str) -> None:
    exchange = node.exchange()
    for key, payload in parcel.items():
        getattr(exchange, direction)(node.name, kind_of(key), payload)
    exchange.ledger.to_jsonl(node.work / "ledger.jsonl")


def answer(phase: Phase, message: Message, context: Context) -> Message:
    """Run a phase between the two doors.

    Raises:
        SiloError: it failed; why is in the silo's own ``errors.log``, or, where there is none yet, its SuperNode's log.
    """
    torch.set_num_threads(1)
    node = None
    try:
        node = Node.of(context)
        parcel = unpack(message.content)
        enter(node, parcel)
        begun = time.monotonic()
        reply = phase(node, parcel)
        node.note_seconds(message.metadata.group_id, time.monotonic() - begun)
        door(node, reply)
        return Message(pack(reply), reply_to=message)
    except Exception as error:
        log.exception("%s failed", phase.__name__)
        if node is not None:
            node.home.mkdir(parents=True, exist_ok=True)
            with (node.home / "errors.log").open("a", encoding="utf-8") as file:
                file.write(f"{phase.__name__}: {traceback.format_exc()}\n")
        where = "the silo's errors.log" if node is not None else "the log of the silo's SuperNode"
        raise SiloError(f"{phase.__name__} failed: {type(error).__name__}; {where} says why") from None


def silo_path(out: str | Path, number: int) -> Path:
    """Where a simulation keeps the file of a silo."""
    return Path(out) / "silos" / str(number) / "data.safetensors"


def make_app() -> ClientApp:
    """The app, each phase under its name."""
    app = ClientApp()

    def register(phase: Phase, category: Callable[..., Any]) -> None:
        @category(phase.__name__)
        def handle(message: Message, context: Context) -> Message:
            return answer(phase, message, context)

    register(introduce, app.query)
    for phase in (stage_one, peers, distil, fedavg, deliver):
        register(phase, app.train)
    return app


app = make_app()
