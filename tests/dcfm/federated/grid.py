"""A Flower Grid whose nodes run the real ClientApp in this process, and can be made to misbehave."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.user_config import UserConfig
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from dcfm.federated.client import app
from dcfm.federated.server import serve
from dcfm.federated.settings import composed, read_settings
from dcfm.federated.silo_files import silo_path, write_silo
from dcfm.federated.tasks import read_task

Answer = Callable[[Message, Context], Message | None]

TINY = (
    "problem.samples=40",
    "training.width=16",
    "training.batch=16",
    "training.stage_one.steps=6",
    "training.peers.steps=6",
    "training.student.steps=6",
    "training.fedavg.steps=3",
    "training.fedavg_rounds=3",
    "arrival=5",
    "patience=5",
)

# Three silos of which the last can be missed: silo 2 sees the same attribute as silo 0, at its other value.
THREE = ("silos=3", "partition=iid", *TINY)


class Killed(BaseException):
    """What a server that is killed ends with."""


def killed_at_delivery(message: Message, context: Context) -> Message:
    """A silo's answers up to the delivery, at which its server is killed."""
    if message.metadata.message_type == "train.deliver":
        raise Killed
    return app(message, context)


@dataclass
class LocalGrid(Grid):
    """Nodes 100, 101, ... with silos 0, 1, ...; a message is answered when answers are pulled.

    Args:
        overrides: of the run.
        answers: by silo, instead of the app's own answer; ``None`` answers nothing.
        offline: silos whose nodes are not connected.
        ranks: processes of those silos that train with several.
        seen: every message that a silo has sent.
    """

    overrides: tuple[str, ...]
    answers: dict[int, Answer] = field(default_factory=dict)
    offline: set[int] = field(default_factory=set)
    ranks: dict[int, int] = field(default_factory=dict)
    seen: list[tuple[int, Message]] = field(default_factory=list)
    asked: list[tuple[int, str]] = field(default_factory=list)
    queue: list[Message] = field(default_factory=list)
    data: dict[int, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1  # which Flower sets in its processes
        config = composed(self.overrides)
        out = read_settings(config).out
        for number, silo in enumerate(read_task(config).deal()):
            self.data[number] = write_silo(silo_path(out, number), silo.data, silo.labels)

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        return [100 + number for number in self.data if number not in self.offline]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        keys = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = uuid4().hex
            self.queue.append(message)
            keys.append(message.metadata.message_id)
        return keys

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        wanted, replies = set(message_ids), []
        for message in [m for m in self.queue if m.metadata.message_id in wanted]:
            number = message.metadata.dst_node_id - 100
            if number in self.offline:
                continue
            self.queue.remove(message)
            self.asked.append((number, message.metadata.message_type))
            if (reply := self._answer(number, message)) is not None:
                self.seen.append((number, reply))
                replies.append(reply)
        return replies

    def _answer(self, number: int, message: Message) -> Message | None:
        context = Context(
            run_id=1,
            node_id=100 + number,
            node_config=UserConfig(
                {"partition-id": number, "data": str(self.data[number]), "ranks": self.ranks.get(number, 1)}
            ),
            state=RecordDict(),
            run_config=UserConfig({"overrides": " ".join(f"'{o}'" for o in self.overrides)}),
        )
        answer = self.answers.get(number, app)
        try:
            return answer(message, context)
        except Exception as error:
            code = ErrorCode.NODE_UNAVAILABLE if isinstance(error, ConnectionError) else ErrorCode.UNKNOWN
            return Message(Error(code, f"{type(error)}:<'{error}'>"), reply_to=message)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        raise NotImplementedError


def run(out: Path, grid_settings: dict, *overrides: str) -> LocalGrid:
    """A server from start to end, or until it stops."""
    given = (*THREE, f"out={out}", *overrides)
    grid = LocalGrid(given, **grid_settings)
    serve(grid, composed(given))
    return grid


def status(out: Path) -> dict:
    return json.loads((out / "status.json").read_text())
