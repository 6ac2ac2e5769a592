"""The trainings of all methods from start to end over a set of silos, in one place; :mod:`dcfm.methods` combines them.

Silos train in processes of their own, one thread each. What passes between them passes through an
:class:`~dcfm.exchange.Exchange`. Each finished training is an artefact folder; one that is there already, made with the
same settings from the same data, is not trained again, and one that was cut off goes on from its checkpoint. Several
processes may work in one folder, a method each: what their methods share one of them trains, and the others wait for.

    out/stage1/<silo>/             Stage I networks (stage1_no_ci: without the local CI term)
    out/further/<silo>/            the same after further steps (further_no_ci)
    out/dcfm_a/round_<r>/<silo>/   experts after round r
    out/dcfm_b/                    the student (dcfm_b_r_student: the one that averaging goes on from)
    out/<name>/                    a federated average, or the pooled model
"""

import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path

import torch

from dcfm import artefacts
from dcfm.artefacts import plain_settings
from dcfm.exchange import Exchange, Ledger, Received
from dcfm.jobs import (
    ProgressFactory,
    TrainingJob,
    finished,
    forget_snapshots,
    identity_of,
    keep_snapshot,
    only_here,
    pool,
    run_job,
    spent_in_all,
)
from dcfm.privacy.accounting import check_sizes
from dcfm.seeds import training_seed
from dcfm.silos import LabelHistogram, Silo, check_silos, file_stem, silos_hash
from dcfm.task import Task, check_network, parameter_names
from dcfm.trainers import parallel
from dcfm.trainers.fedavg import FedAvgConfig, Part, RoundCheckpoint, train_part
from dcfm.trainers.local import LocalConfig, check_data
from dcfm.trainers.loop import Progress
from dcfm.trainers.peers import PeerConfig, choose_peers
from dcfm.trainers.server import GlobalModel
from dcfm.trainers.student import StudentConfig
from dcfm.weights import Weights, fingerprint


@dataclass(frozen=True)
class Federation:
    """Silos that train together, and how.

    Args:
        task: what is trained.
        silos: private data; together they must satisfy Eq. 2.
        out: folder of artefacts, checkpoints and the ledger.
        seed: of the run; see :func:`~dcfm.seeds.training_seed` for what each training makes of it.
        device: of every training.
        workers: trainings at once, each in a process of its own; 0 trains in this process. Processes import the main
            module again, so a script that starts any keeps its code under ``if __name__ == "__main__":``.
        progress: see :data:`ProgressFactory`.
        snapshots: keep the EMA weights of each checkpoint under ``<folder>.snapshots``, for learning curves; of
            federated averaging the averages over rounds, by a silo's steps so far.

    Raises:
        ValueError: at once, where silos or the task's network will not do.
    """

    task: Task
    silos: Sequence[Silo]
    out: Path
    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    progress: ProgressFactory | None = None
    snapshots: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        check_silos(self.task.space, self.silos)
        check_network(self.task)

    @property
    def histograms(self) -> list[LabelHistogram]:
        """Each silo's label statistics."""
        return [silo.histogram(self.task.space) for silo in self.silos]

    def exchange(self) -> Exchange:
        """A new exchange between these silos, its template the task's network."""
        names, template = [silo.name for silo in self.silos], self.task.network().state_dict()
        return Exchange(names, template=template, space=self.task.space)

    def stage_one(self, config: LocalConfig) -> list[Weights]:
        """Every silo alone (Eqs. 8-11); returns each one's EMA weights. Without the CI term (Eq. 9 alone, the baselines
        without "+L") the artefacts lie under ``stage1_no_ci``, so that both kinds fit into one ``out``."""
        return self._alone("stage1", config, [None] * len(self.silos), part=0)

    def further(
        self, stage_one: Sequence[Weights], config: LocalConfig, before: LocalConfig | None = None
    ) -> list[Weights]:
        """Every silo goes on alone from its Stage I network, for experts that get as many steps as DCFM's; ``before``
        is how Stage I trained, whose privacy counts in what a silo has spent."""
        return self._alone("further", config, list(stage_one), 1, () if before is None else (before,))

    def _alone(
        self,
        stage: str,
        config: LocalConfig,
        starts: Sequence[Weights | None],
        part: int,
        earlier: tuple[LocalConfig, ...] = (),
    ) -> list[Weights]:
        check_sizes(config.privacy, config.loop.batch, {silo.name: len(silo) for silo in self.silos})
        stage = stage if config.objective.independence.weight > 0 else f"{stage}_no_ci"
        jobs = [
            TrainingJob(
                "local",
                f"{stage} {silo.name}",
                self.out / stage / silo.name,
                plain_settings(config),
                i,
                (silo, config, start),
                "" if start is None else fingerprint([start]),
                part,
                earlier,
            )
            for i, (silo, start) in enumerate(zip(self.silos, starts, strict=True))
        ]
        return self._run(jobs)

    def pooled(self, config: LocalConfig) -> Weights:
        """One network on the union of all silos' data: the ceiling without privacy. Nothing here is decentralised."""
        data, labels = (torch.cat([getattr(silo, name) for silo in self.silos]) for name in ("data", "labels"))
        silo = Silo("pooled", data, labels)
        (weights,) = self._run(
            [TrainingJob("local", "pooled", self.out / "pooled", plain_settings(config), 0, (silo, config, None))]
        )
        return weights

    def gather(self, experts: Sequence[Weights], exchange: Exchange) -> list[Weights]:
        """A last allgather of trained experts and label histograms, so that every silo can sample from all of them."""
        self._gather_histograms(exchange)
        received = exchange.allgather("weights", {silo.name: experts[i] for i, silo in enumerate(self.silos)})
        return [received[self.silos[0].name][silo.name] for silo in self.silos]

    def fedavg(
        self,
        name: str,
        config: FedAvgConfig,
        exchange: Exchange,
        start: Weights | None = None,
        before: LocalConfig | None = None,
    ) -> Weights:
        """Federated averaging (see :mod:`dcfm.trainers.fedavg`): label histograms, whose totals weigh the mean, then
        ``T`` rounds of downloads, local steps and uploads, from ``start`` or, without, from weights drawn by the seed.
        ``before`` is how the silos trained what ``start`` was made of, whose privacy counts in what they have spent.

        The artefact lies under ``out/<name>``, its messages in ``out/<name>.messages.jsonl``; both, and a checkpoint
        every ``config.checkpoint_every`` rounds, are picked up by the same call after an interruption. Where rounds are
        long, each is checkpointed, and every silo's part within.
        """
        parallel.join()
        earlier, exchange.ledger.messages = exchange.ledger.messages, []  # which are no part of this training's file
        try:
            with only_here(self.out / name, name):
                return self._fedavg(name, config, exchange, start, () if before is None else (before,))
        finally:
            exchange.ledger.messages[:0] = earlier

    def _fedavg(
        self,
        name: str,
        config: FedAvgConfig,
        exchange: Exchange,
        start: Weights | None,
        earlier: tuple[LocalConfig, ...],
    ) -> Weights:
        check_sizes(config.privacy, config.batch, {silo.name: len(silo) for silo in self.silos})
        for silo in self.silos:
            check_data(self.task, silo.data, silo.labels)
        folder, template = self.out / name, self.task.network().state_dict()
        data_hash = silos_hash(self.silos)
        started_from = "" if start is None else fingerprint([start])
        identity = identity_of(self.task, name, plain_settings(config), self.seed, started_from)
        messages = folder.with_name(f"{name}.messages.jsonl")
        if (found := finished(folder, identity, data_hash, template)) is not None:
            least = 2 * config.rounds * len(self.silos)
            exchange.ledger.messages += Ledger.from_jsonl(messages, exchange.ledger.model_size, least).messages
            return found
        checkpoint = RoundCheckpoint(folder.with_name(f"{name}.checkpoint.safetensors"), messages, identity, data_hash)
        if start is None:
            torch.manual_seed(self.seed)
            start = {key: value.clone() for key, value in self.task.network().state_dict().items()}
        model = checkpoint.restore(start, exchange.ledger)
        if not model.done:  # what the mean is weighted by, once
            forget_snapshots(folder)
            for silo, histogram in zip(self.silos, self.histograms, strict=True):
                exchange.upload(silo.name, "histogram", histogram.state_dict())
        with closing(self._rounds(name, config, exchange, model)) as rounds:
            for model in rounds:
                due = model.done % config.checkpoint_every == 0
                if due or config.long:
                    checkpoint.store(model, exchange.ledger)
                    _remove(self._within(folder, model.done - 1))  # which the stored round makes needless
                if self.snapshots and (due or model.done == config.rounds) and parallel.is_first():
                    keep_snapshot(folder, model.done * config.steps, model.average)
        exchange.ledger.to_jsonl(messages)
        metrics = None
        if config.privacy is not None:
            steps, batch = config.rounds * config.steps, config.batch
            costs = {s.name: spent_in_all(config.privacy, len(s), batch, steps, earlier) for s in self.silos}
            metrics = {"privacy": costs}
        if parallel.is_first():
            artefacts.save(folder, model.average, identity, metrics=metrics, data_hash=data_hash)
        parallel.wait()
        checkpoint.path.unlink(missing_ok=True)
        return model.average

    def _rounds(
        self, name: str, config: FedAvgConfig, exchange: Exchange, model: GlobalModel
    ) -> Generator[GlobalModel, None, None]:
        """Where averaging stands after each round that is left."""
        counts = [histogram.total for histogram in self.histograms]
        parameters = parameter_names(self.task)
        # Long rounds are shown step by step where they are trained, others when they are over.
        shows = self._shows(name) if parallel.is_first() and not config.long else []
        if model.done < config.rounds:
            for show in shows:
                show(model.done * config.steps, config.rounds * config.steps, {})  # a bar from the start
        _remove(self._within(self.out / name, model.done - 1))  # of a round that was stored, and then cut off
        training = uuid.uuid4().hex
        with pool(self.workers) as run:
            for number in range(model.done, config.rounds):
                parts = self._parts(training, name, config, exchange, model.weights, number)
                moved, terms = zip(*run(train_part, parts, repeat(self.task), repeat(self.device)), strict=True)
                uploaded = [exchange.upload(s.name, "weights", w) for s, w in zip(self.silos, moved, strict=True)]
                model = model.advance(uploaded, counts, config.server, config.decay(number), parameters)
                _show_round(shows, config, number, terms)
                yield model

    def _parts(
        self, training: str, name: str, config: FedAvgConfig, exchange: Exchange, weights: Weights, number: int
    ) -> list[Part]:
        """What each silo does in a round, once it has downloaded the global weights."""
        within = self._within(self.out / name, number)
        progress = self.progress if config.long else None
        return [
            Part(
                training,
                silo,
                exchange.download(silo.name, "weights", weights),
                config,
                number,
                training_seed(self.seed, i),
                within[i] if config.long else None,
                partial(progress, f"{name} {silo.name}", i) if progress else None,
            )
            for i, silo in enumerate(self.silos)
        ]

    def _within(self, folder: Path, number: int) -> list[Path]:
        """Each silo's checkpoint within a round of averaging."""
        stems = [f"{folder.name}.{file_stem(silo.name)}" for silo in self.silos]
        return [folder.with_name(f"{stem}.round_{number}.checkpoint.safetensors") for stem in stems]

    def _shows(self, name: str) -> list[Progress]:
        """What to call after each step of a silo's part of ``name``, silo by silo; none without progress."""
        factory = self.progress
        return [] if factory is None else [factory(f"{name} {silo.name}", i) for i, silo in enumerate(self.silos)]

    def dcfm_a(self, stage_one: Sequence[Weights], config: PeerConfig, exchange: Exchange) -> list[Weights]:
        """``config.rounds`` allgathers, each followed by cross-peer training in every silo (Eqs. 12-14)."""
        weights = list(stage_one)
        histograms = self._gather_histograms(exchange)
        for number in range(1, config.rounds + 1):
            sent = {silo.name: weights[i] for i, silo in enumerate(self.silos)}
            chosen = choose_peers(range(len(self.silos)), config.peers_per_round, number, seed=self.seed)
            wanted = {self.silos[i].name: [self.silos[j].name for j in peers] for i, peers in chosen.items()}
            received = exchange.allgather("weights", sent, wanted)
            jobs = self._peer_jobs(number, config, histograms, chosen, received)
            weights = self._run(jobs)
        return weights

    def _peer_jobs(
        self,
        number: int,
        config: PeerConfig,
        histograms: Sequence[LabelHistogram],
        chosen: Mapping[int, Sequence[int]],
        received: dict[str, Received],
    ) -> Iterator["TrainingJob"]:
        """Round ``number`` of DCFM-A, silo by silo; what a silo received is let go of with its training."""
        for i, silo in enumerate(self.silos):
            copies = received.pop(silo.name)
            gathered = [copies[self.silos[j].name] for j in chosen[i]]
            arguments = (silo, gathered, [histograms[j] for j in chosen[i]], list(chosen[i]).index(i), config)
            name, folder = f"dcfm_a round {number} {silo.name}", self.out / "dcfm_a" / f"round_{number}" / silo.name
            settings, start = plain_settings(config), fingerprint(gathered)
            yield TrainingJob("peers", name, folder, settings, i, arguments, start, number - 1)

    def dcfm_b(
        self,
        stage_one: Sequence[Weights],
        config: StudentConfig,
        exchange: Exchange,
        name: str = "dcfm_b",
        deliver: bool = True,
    ) -> Weights:
        """Upload once, distil, download once (Eqs. 15-17); returns the student's EMA weights.

        Args:
            name: of the student's folder; another one than ``dcfm_b`` for a student that is trained otherwise.
            deliver: download it; false for what is delivered by what follows.
        """
        uploaded, histograms = [], []
        for silo, weights, histogram in zip(self.silos, stage_one, self.histograms, strict=True):
            uploaded.append(exchange.upload(silo.name, "weights", weights))
            payload = exchange.upload(silo.name, "histogram", histogram.state_dict())
            histograms.append(LabelHistogram.from_state_dict(payload))
        job = TrainingJob(
            "student",
            name,
            self.out / name,
            plain_settings(config),
            0,
            (uploaded, histograms, config),
            fingerprint(uploaded),
        )
        (student,) = self._run([job])
        for silo in self.silos if deliver else ():
            exchange.download(silo.name, "weights", student)
        return student

    def _gather_histograms(self, exchange: Exchange) -> list[LabelHistogram]:
        sent = {silo.name: h.state_dict() for silo, h in zip(self.silos, self.histograms, strict=True)}
        received = exchange.allgather("histogram", sent)[self.silos[0].name]
        return [LabelHistogram.from_state_dict(received[silo.name]) for silo in self.silos]

    def _run(self, jobs: Iterable["TrainingJob"]) -> list[Weights]:
        common = (self.task, self.seed, self.device, self.progress, self.snapshots)
        with pool(self.workers) as run:
            return run(run_job, jobs, *(repeat(value) for value in common))


def _show_round(
    shows: Sequence[Progress], config: FedAvgConfig, number: int, terms: Sequence[Sequence[dict[str, float]]]
) -> None:
    """Tell of a finished round's steps, silo by silo."""
    steps = config.rounds * config.steps
    for show, of_steps in zip(shows, terms, strict=bool(shows)):
        for step, found in enumerate(of_steps, number * config.steps + 1):
            show(step, steps, found)
        if number + 1 < config.rounds:
            show((number + 1) * config.steps, steps, {})


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
