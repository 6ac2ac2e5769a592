"""A silo's side of a run: its data, the folders of its work, its end of the exchange, and how it trains."""

import functools
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context

from dcfm.artefacts import load_tensors, plain_settings, save_tensors
from dcfm.exchange import Exchange, Ledger
from dcfm.federated.counts import NothingLeftError, check_epsilon, noised, suppressed
from dcfm.federated.settings import Settings, composed, run_name
from dcfm.federated.silo_files import read_silo, silo_path, work_of
from dcfm.federated.spending import Part, note
from dcfm.federated.tasks import FederatedTask, read_run
from dcfm.jobs import TrainingJob, run_job
from dcfm.locks import alone
from dcfm.privacy.accounting import sampling_rate
from dcfm.privacy.entropy import secret_generator
from dcfm.privacy.settings import PrivacyConfig
from dcfm.published import resolve_device
from dcfm.silos import LabelHistogram, Silo, silos_hash
from dcfm.task import task_settings
from dcfm.trainers import parallel
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.local import LocalConfig
from dcfm.weights import Weights, fingerprint

log = logging.getLogger(__name__)


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
        return work_of(self.data)

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
        exchange = Exchange([self.name], template=template, space=self.problem.task.space)
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
            ValueError: the counts were noised with another epsilon or over other attributes before, or nothing is left
                of them.
        """
        found = self.silo().histogram(self.problem.task.space)
        with alone(self.home / ".noised.lock"):  # two runs at once draw no two answers
            kept = self._noised(found)
        return suppressed(found if kept is None else kept, self.suppress)

    def _noised(self, found: LabelHistogram) -> LabelHistogram | None:
        # Known by the labels alone: in another attribute space the same counts are the same secret. The second name is
        # that of earlier versions.
        labels = {"combinations": found.combinations, "counts": found.counts}
        names = [fingerprint([tensors])[:12] for tensors in (labels, found.state_dict())]
        paths = [self.home / f"noised_{name}.safetensors" for name in names]
        path = next((path for path in paths if path.exists()), paths[0])
        if not path.exists():
            if self.epsilon is None:
                return None
            try:
                drawn = noised(found, self.epsilon, secret_generator()).state_dict()
            except NothingLeftError:  # an answer too: another draw would tell more
                drawn = {key: value[:0] if key in labels else value for key, value in found.state_dict().items()}
            save_tensors(path, drawn | {"epsilon": torch.tensor(self.epsilon, dtype=torch.float64)})
            self._warn_of_sum()
        kept = load_tensors(path)
        epsilon, before, own = float(kept.pop("epsilon")), kept["cardinalities"].tolist(), list(found.cardinalities)
        if epsilon != self.epsilon:
            why = f"epsilon={self.epsilon}, but this silo's counts were noised with {epsilon}"
            raise ValueError(_only_once(why, f"give epsilon={epsilon} again", path))
        if before != own:
            why = f"this silo's counts were noised over attributes of {before} values, this run's have {own}"
            raise ValueError(_only_once(why, "give those attributes again", path))
        if not len(kept["counts"]):
            why = f"epsilon={epsilon} left no combination with a positive count when the noise was drawn"
            raise ValueError(_only_once(why, "leave this silo out", path))
        return LabelHistogram.from_state_dict(kept)

    def _warn_of_sum(self) -> None:
        """Say what all noised histograms of the silo reveal together, if there are several."""
        epsilons = [float(load_tensors(path)["epsilon"]) for path in self.home.glob("noised_*.safetensors")]
        if len(epsilons) > 1:
            log.warning(
                "%d label histograms of %s were noised, as its labels changed: of a sample that is in all of them they "
                "reveal as much as epsilon=%g",
                len(epsilons),
                self.name,
                sum(epsilons),
            )

    def answered(self, number: int, weights: Weights, config: FedAvgConfig) -> Path:
        """The file for the answer to a round of federated averaging, whose name tells what was asked."""
        return self.work / "fedavg" / f"{self._named(config, number, fingerprint([weights]))}.safetensors"

    def resting(self, folder: str, config: Any, gathered: list[Weights], histograms: list[LabelHistogram]) -> Path:
        """The folder of a training in ``work/folder`` that rests on what others sent, named by all of that."""
        sent = fingerprint([*gathered, *(histogram.state_dict() for histogram in histograms)])
        return self.work / folder / self._named(config, sent)

    def first(self, config: LocalConfig) -> Path:
        """The folder of Stage I, whose name tells how it trains: runs that agree in that share it, its noise too."""
        return self.home / "stage1" / self._named(config)

    def _named(self, config: Any, *asked: object) -> str:
        """Of a training: what is trained how, on which data."""
        data = silos_hash([self.silo()])
        task = task_settings(self.problem.task)
        told = json.dumps([self.name, self.settings.seed, plain_settings(config), task, data, asked], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=4)
def _configured(overrides: str) -> tuple[Settings, FederatedTask, str]:
    """Composed once a process: a simulation's processes answer many questions."""
    config = composed(overrides)
    return *read_run(config), run_name(config)


def _only_once(why: str, remedy: str, path: Path) -> str:
    return f"{why}, and a second answer would reveal more; {remedy}, or delete {path} and reckon with the sum of both"
