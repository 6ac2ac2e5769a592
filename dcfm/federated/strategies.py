"""Silos as the nodes of Flower's strategies, and FedFlow as such a strategy.

Flower's strategies send global weights to nodes, aggregate what comes back, and do so for some rounds. They neither ask
a node again that failed, nor go on where they were stopped. The grid that they are given here does both
(:class:`SiloGrid`), so that any of them that averages weights can train silos:

    FedMedian(fraction_evaluate=0.0).start(SiloGrid(members), ArrayRecord(weights), num_rounds=100)

DCFM's phases are questions of different kinds, each asked once; see :mod:`dcfm.federated.protocols`.
"""

import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NoReturn

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.run import Run

from dcfm.artefacts import load_tensors, save_tensors
from dcfm.federated.members import Members
from dcfm.federated.parcels import scalars
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.server import GlobalModel
from dcfm.weights import Weights


def label_of(number: int) -> str:
    """The phase of round ``number``, counted from 0."""
    return f"fedavg_{number}"


class SiloGrid(Grid):
    """The silos that take part as nodes: node ``n`` is silo ``n``, whichever SuperNode speaks for it now.

    A message is what Flower's strategies send for training: ``arrays``, and in ``config`` the ``server-round`` from 1.
    It is asked as :meth:`Members.ask` asks: failed silos again, late ones until the settings' ``deadline``, what was
    answered before a restart not at all. A reply holds ``arrays`` and, in ``metrics``, ``num-examples``.
    """

    def __init__(self, members: Members) -> None:
        self.members = members

    def get_node_ids(self) -> list[int]:
        return self.members.numbers

    def send_and_receive(self, messages: Iterable[Message], *, timeout: int | float | None = None) -> list[Message]:
        """Replies by silo, without those that are left out from now on; ``timeout`` is the settings' affair.

        Raises:
            ValueError: messages that differ, are no training's, or ask for a training with settings.
            dcfm.federated.members.TooFewSilos: see :meth:`Members.ask`.
        """
        asked = {message.metadata.dst_node_id: message for message in messages}
        if not asked:
            return []
        contents = [message.content for message in asked.values()]
        kinds = {message.metadata.message_type for message in asked.values()}
        if kinds != {MessageType.TRAIN}:
            raise ValueError(
                f"messages of type {sorted(kinds)}: silos only train; give the strategy fraction_evaluate=0.0"
            )
        if set(contents[0]) != {"arrays", "config"} or any(content != contents[0] for content in contents):
            raise ValueError("silos are asked to train, each from the same weights; this strategy wants something else")
        if other := sorted(set(contents[0].config_records["config"]) - {"server-round"}):
            raise ValueError(
                f"the strategy asks silos to train with {', '.join(other)}; how they train is the run's affair, so "
                "choose a strategy that sends no more than weights and server-round"
            )
        number = int(contents[0].config_records["config"]["server-round"]) - 1  # type: ignore[arg-type] - a number
        sent = dict(contents[0].array_records["arrays"].to_torch_state_dict())
        # Some strategies compute in float64.
        types = {name: value.dtype for name, value in self.members.exchange.template.items()}
        weights = {name: value.to(types.get(name, value.dtype)) for name, value in sent.items()}
        parcels = {n: {"weights": weights, "scalars": scalars(round=number)} for n in sorted(asked)}
        answers = self.members.ask(label_of(number), "train.fedavg", parcels)
        counts = {n: self.members.histograms[n].total for n in answers}
        # In the order of what was sent, by which some strategies tell which tensor is which.
        moved = {n: {name: answers[n]["weights"][name] for name in sent} for n in answers}
        return [Message(_reply(moved[n], counts[n]), reply_to=asked[n]) for n in answers]

    def _unused(self, *_: object, **__: object) -> NoReturn:
        raise NotImplementedError("a strategy trains silos through send_and_receive alone")

    def set_run(self, run: Run) -> None:
        self._unused()

    @property
    def run(self) -> Run:
        self._unused()

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        self._unused()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        self._unused()

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self._unused()


def _reply(weights: Weights, count: int) -> RecordDict:
    return RecordDict({"arrays": ArrayRecord(weights), "metrics": MetricRecord({"num-examples": count})})


class FedFlow(FedAvg):
    """Federated averaging as in :mod:`dcfm.trainers.fedavg`: the mean in float64, the server's optimizer, if any, and a
    moving average over rounds.

    Where it stands is on disk after each round, and it goes on from there.

    Args:
        config: of the averaging.
        state: file of what it goes on from.
        received: folder of answers, which are deleted once they are averaged.
        start: the first global weights.
        parameters: names of what the server's optimizer steps, see :func:`~dcfm.task.parameter_names`.
    """

    def __init__(
        self, config: FedAvgConfig, state: Path, received: Path, start: Weights, parameters: Collection[str]
    ) -> None:
        super().__init__(fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1)
        self.config, self.state, self.received, self.parameters = config, state, received, parameters
        self.model = _restored(state) if state.exists() else GlobalModel.start(start)

    def run(self, grid: Grid) -> Weights:
        """All rounds that are left; returns the moving average."""
        if self.model.done < self.config.rounds:
            self.start(grid, ArrayRecord(self.model.weights), num_rounds=self.config.rounds - self.model.done)
        return self.model.average

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Of the first round that is not done, whatever Flower counts."""
        return super().configure_train(self.model.done + 1, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """One round more, of the mean that is weighted by the silos' sample counts."""
        contents = [reply.content for reply in replies]
        uploaded = [dict(content.array_records["arrays"].to_torch_state_dict()) for content in contents]
        counts = [int(content.metric_records["metrics"]["num-examples"]) for content in contents]  # type: ignore[arg-type]
        decay = self.config.decay(self.model.done)
        self.model = self.model.advance(uploaded, counts, self.config.server, decay, self.parameters)
        save_tensors(self.state, self.model.tensors() | {DONE: torch.tensor(self.model.done)})
        shutil.rmtree(self.received / label_of(self.model.done - 1), ignore_errors=True)
        return ArrayRecord(self.model.weights), None


DONE = "done"
"""Name of the number of rounds among the stored tensors."""


def _restored(path: Path) -> GlobalModel:
    tensors = load_tensors(path)
    return GlobalModel.from_tensors(int(tensors.pop(DONE)), tensors)
