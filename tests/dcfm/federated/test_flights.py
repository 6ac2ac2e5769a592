"""Questions on their way: answers that nobody can read, that claim to be another's, and in which order they count."""

import logging
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from flwr.app import Context, Message
from flwr.supercore.inflatable.inflatable_object import get_object_id
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from dcfm.federated import members
from dcfm.federated.client import app
from dcfm.federated.flights import INTRODUCE, Flights
from dcfm.federated.parcels import pack
from dcfm.federated.server import make_members, serve
from dcfm.federated.settings import composed
from tests.dcfm.federated.grid import THREE, LocalGrid, status


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "POLL", 0.01)


@pytest.mark.parametrize(("deadline", "hours"), [(3, 12), (90_000, 25)])
def test_a_question_lives_until_its_deadline(deadline: int, hours: int, tmp_path: Path) -> None:
    """Flower forgets one that is older, and with it the answer of a long training."""
    given = (*THREE, f"out={tmp_path}", f"deadline={deadline}")
    lives = []

    def noting(message: Message, context: Context) -> Message:
        lives.append(message.metadata.ttl)
        return app(message, context)

    crew, _ = make_members(LocalGrid(given, answers={1: noting}), composed(given))
    crew.gather()
    crew.ask("stage_one", "train.stage_one", {1: {}})
    assert lives == [3600 * hours] * 2


class Inflating(LocalGrid):
    """As Flower's grid, which makes messages of what nodes sent: node 101's answer to one question is none."""

    question = "train.stage_one"

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = super().pull_messages(message_ids)
        for metadata in (reply.metadata for reply in replies):
            if (metadata.src_node_id, metadata.message_type) == (101, self.question):
                content = b"ArrayRecord  1\0x"
                inflate_object_from_contents(get_object_id(content), {get_object_id(content): content})
        return replies


def test_an_answer_that_nobody_can_read_is_rejected_by_name_and_the_rest_go_on(tmp_path: Path) -> None:
    given = (*THREE, f"out={tmp_path}")
    serve(Inflating(given), composed(given))
    found = status(tmp_path)
    assert (found["state"], found["silos"]) == ("finished", ["silo0", "silo2"])
    assert found["left_out"]["silo1"].startswith("was rejected at train.stage_one: its answer cannot be read: ")


def test_an_introduction_that_nobody_can_read_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = (*THREE, f"out={tmp_path}", "arrival=1")
    grid = Inflating(given)
    grid.question = INTRODUCE
    with caplog.at_level(logging.WARNING):
        serve(grid, composed(given))
    assert status(tmp_path)["left_out"] == {"silo1": "did not introduce itself within 1 s"}
    assert "node 101 is no silo of this run: its answer cannot be read: " in caplog.text


class Answering(LocalGrid):
    """Hands over the replies that were put into it, by the question's key, each once."""

    def __init__(self, replies: dict[str, list[Message]]) -> None:
        self.replies, self.keys, self.pulled = replies, iter("abc"), []

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        return [next(self.keys) for _ in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self.pulled += message_ids
        return [reply for key in message_ids for reply in self.replies.pop(key, [])]


def question(kind: str, node: int) -> Message:
    return Message(pack({}), dst_node_id=node, message_type=kind)


def reply_to(key: str) -> Message:
    asked = question("train", 1)
    asked.metadata.__dict__["_message_id"] = key
    return Message(pack({}), reply_to=asked)


@pytest.fixture(autouse=True)
def in_flowers_process(tmp_path: Path) -> None:
    LocalGrid((*THREE, f"out={tmp_path / 'other'}"))  # says that this process is Flower's


def test_introductions_are_fetched_first_and_count_last() -> None:
    """Else an answer that came between the two requests would be taken for one that never comes."""
    grid = Answering({"a": [reply_to("a")], "b": [reply_to("b")]})
    flights = Flights(grid, lambda: 0.0)
    flights.send(question("train.peers", 1), 0)
    flights.send(question(INTRODUCE, 1), 0)
    assert [flight.question for flight, _ in flights.landed()] == ["train.peers", INTRODUCE]
    assert grid.pulled == ["b", "a"]
    assert flights.landed() == []


def test_an_answer_to_another_silos_question_is_none() -> None:
    grid = Answering({"a": [reply_to("b")]})
    flights = Flights(grid, lambda: 0.0)
    for number in (0, 1):
        flights.send(question("train.peers", number), number)
    assert flights.landed() == []


def test_what_goes_wrong_between_server_and_superlink_is_no_silos_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Answering({})
    flights = Flights(grid, lambda: 0.0)
    flights.send(question("train.peers", 1), 0)
    for error in (httpx.ConnectError("refused"), OSError("no disk")):

        def fail(message_ids: Iterable[str], error: Exception = error) -> list[Message]:
            raise error

        monkeypatch.setattr(grid, "pull_messages", fail)
        with pytest.raises(type(error)):
            flights.landed()


def test_what_a_node_no_longer_works_on_is_lost() -> None:
    """Older questions to the silo, wherever it was, and to the node, whoever it was."""
    now = iter(range(9))
    flights = Flights(Answering({"c": [reply_to("c")]}), lambda: float(next(now)))
    for kind, node, number in (("train.peers", 1, 0), ("train.peers", 2, 1), (INTRODUCE, 2, None)):
        flights.send(question(kind, node), number)
    ((introduced, _),) = flights.landed()
    assert [flight.number for flight in flights.lose(introduced, 0)] == [0, 1]
    assert flights.flying == {}
