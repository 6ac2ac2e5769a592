"""Which node is which silo: numbers that are wrong and mended, other data, nodes that cannot say who they are."""

from collections.abc import Callable, Iterator
from itertools import chain, count, repeat
from pathlib import Path

import pytest
import torch
from flwr.app import Context, Message
from flwr.app.user_config import UserConfig

from dcfm.artefacts import load_tensors
from dcfm.federated import members
from dcfm.federated.client import app
from dcfm.federated.introductions import Introductions
from dcfm.federated.left_out import LeftOut
from dcfm.federated.members import Members, TooFewSilos
from dcfm.federated.parcels import pack, scalars, unpack
from dcfm.federated.server import make_members, serve
from dcfm.federated.settings import composed
from dcfm.federated.silo_files import read_silo, write_silo
from dcfm.published import load_task
from dcfm.silos import LabelHistogram
from dcfm.toy.task import ToyTask
from tests.dcfm.federated.grid import THREE, Answer, Killed, LocalGrid, killed_at_delivery, run, status


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "POLL", 0.01)


class Changing(LocalGrid):
    """Its nodes are those that ``looks`` says, one look after another."""

    looks: Iterator[list[int]]

    def get_node_ids(self) -> list[int]:
        return next(self.looks)


def as_silo(number: int, while_: Callable[[], bool] = lambda: True) -> Answer:
    """A node that was told another silo's number."""

    def answer(message: Message, context: Context) -> Message:
        told = UserConfig({**context.node_config, "partition-id": number})
        return app(
            message, Context(1, context.node_id, told, context.state, context.run_config) if while_() else context
        )

    return answer


def halve(path: Path) -> None:
    """The silos' samples are as many otherwise, and their histograms may be the same."""
    silo = read_silo(path, "silo")
    write_silo(path, silo.data[::2], silo.labels[::2])


def kept(out: Path, number: int) -> LabelHistogram:
    return LabelHistogram.from_state_dict(load_tensors(out / f"received/arrival/{number}/histogram.safetensors"))


def asking(grid: LocalGrid) -> Members:
    """The server's view after arrival, on a clock that knows only how often it was looked at."""
    crew, _ = make_members(grid, composed(grid.overrides))
    looks = count()
    crew.clock = lambda: next(looks) / 10
    crew.gather()
    return crew


@pytest.mark.parametrize("mended_by", ["the same node", "another node"])
def test_a_number_that_was_wrong_and_is_mended_is_as_if_it_had_been_right(mended_by: str, tmp_path: Path) -> None:
    """Node 101 says that it is silo 0 before silo 0's own node does, ends, and comes back as silo 1."""
    given = ("silos=2", "partition=iid", *THREE[2:], f"out={tmp_path}", "arrival=60", "deadline=3")
    grid, wrong = Changing(given), [True]
    halve(grid.data[1])
    grid.data[2] = grid.data[1]
    back = 101 if mended_by == "the same node" else 102
    grid.answers = {1: as_silo(0, lambda: wrong[0]), 2: as_silo(1)}

    def looks() -> Iterator[list[int]]:
        yield from chain(repeat([101], 4), repeat([100, 101], 5), repeat([100], 5))
        wrong[0] = False
        yield from repeat([100, back])

    grid.looks = looks()
    serve(grid, composed(given))
    assert (status(tmp_path)["silos"], status(tmp_path)["left_out"]) == (["silo0", "silo1"], {})
    published = load_task(tmp_path / "published/dcfm_b", ToyTask, what="a toy model")
    held = [len(read_silo(grid.data[number], "silo")) for number in (0, 1)]
    assert [histogram.total for histogram in published.histograms] == held
    assert [n for n, question in grid.asked if question == "train.stage_one"] == [0, back - 100]


def test_a_node_that_says_another_number_is_no_more_the_silo_that_it_was(tmp_path: Path) -> None:
    """What it said in silo 0's name is forgotten, on disk too; silo 0 never came."""
    wrong = [True]
    given = (*THREE, f"out={tmp_path}", "arrival=5")
    grid = Changing(given, answers={1: as_silo(0, lambda: wrong[0])})

    def looks() -> Iterator[list[int]]:
        yield from chain(repeat([101], 4), repeat([], 2))
        assert kept(tmp_path, 0).total == len(read_silo(grid.data[1], "silo"))
        wrong[0] = False
        yield from repeat([101, 102])

    grid.looks = looks()
    assert asking(grid).numbers == [1, 2]
    assert status(tmp_path)["left_out"] == {"silo0": "did not introduce itself within 5 s"}
    assert not (tmp_path / "received/arrival/0").exists()


def test_what_a_wrong_node_said_before_a_restart_is_replaced(tmp_path: Path) -> None:
    """On disk and in memory, while nothing rests on it."""
    given = (*THREE, f"out={tmp_path}", "arrival=5", "fewest=3")
    first = Changing(given, answers={1: as_silo(0)})
    halve(first.data[1])
    first.looks = repeat([101, 102])
    with pytest.raises(TooFewSilos):
        asking(first)
    second = LocalGrid(given)
    second.data = first.data
    crew = asking(second)
    crew.ask("stage_one", "train.stage_one", {n: {} for n in crew.numbers})
    for number, path in first.data.items():
        true = read_silo(path, "silo").histogram(crew.space)
        assert torch.equal(crew.histograms[number].counts, true.counts)
        assert torch.equal(kept(tmp_path, number).counts, true.counts)


def test_one_that_is_left_out_takes_nobodys_place(tmp_path: Path) -> None:
    """Started again where silo 2's introduction is lost: it is waited for, though silo 1, left out, comes before it."""
    LeftOut(tmp_path / "left_out.json", {"arrival": {1: "did not introduce itself"}}).write()
    grid = Changing((*THREE, f"out={tmp_path}", "arrival=60"))
    grid.looks = chain(repeat([100, 101], 4), repeat([100, 101, 102]))
    assert asking(grid).numbers == [0, 2]


def test_data_that_is_another_when_answers_rest_on_it_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, {"answers": {1: killed_at_delivery}}, "deadline=3")
    before = kept(tmp_path, 0).counts.clone()
    given = (*THREE, f"out={tmp_path}", "deadline=3")
    grid = LocalGrid(given)
    halve(grid.data[0])
    serve(grid, composed(given))
    why = status(tmp_path)["left_out"]["silo0"]
    assert "rejected at query.introduce: its label histogram is another than on arrival; bring back" in why
    assert torch.equal(kept(tmp_path, 0).counts, before)
    assert (0, "train.deliver") not in grid.asked


def broken(message: Message, context: Context) -> Message:
    if message.metadata.message_type == "query.introduce":
        Path(str(context.node_config["data"])).unlink(missing_ok=True)
    return app(message, context)


def test_nodes_that_cannot_introduce_themselves_are_named_and_not_waited_for(tmp_path: Path) -> None:
    """Asked three times each; then there is none to wait for, and too few silos are there."""
    words = r"silo0 did not introduce itself; .*node 100 failed to introduce itself: .*the silo's errors\.log says why"
    given = (*THREE, f"out={tmp_path}", "arrival=30")
    grid = LocalGrid(given, answers={0: broken, 1: broken})
    with pytest.raises(TooFewSilos, match=words):
        serve(grid, composed(given))
    assert [grid.asked.count((n, "query.introduce")) for n in range(3)] == [3, 3, 1]


def test_where_enough_are_there_the_others_may_be_mended_in_time(tmp_path: Path) -> None:
    run(tmp_path, {"answers": {1: broken}}, "arrival=1")
    assert status(tmp_path)["left_out"] == {"silo1": "did not introduce itself within 1 s"}


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (3, "its number 3 is none of 0 to 2"),
        (-1, "its number -1 is none of 0 to 2"),
        (0.5, "the message has no whole number 'number' among its scalars"),
    ],
)
def test_a_node_of_no_number_is_named(number: float, why: str, tmp_path: Path) -> None:
    def other(message: Message, context: Context) -> Message:
        reply = app(message, context)
        if message.metadata.message_type == "query.introduce":
            return Message(pack(unpack(reply.content) | {"scalars": scalars(number=number)}), reply_to=message)
        return reply

    with pytest.raises(TooFewSilos, match=f"node 101 is no silo of this run: {why}"):
        run(tmp_path, {"answers": {1: other}}, "arrival=30", "fewest=3")


def test_a_second_node_of_a_number_is_asked_again_when_the_first_is_gone() -> None:
    known = Introductions(3, "silo{}".format)
    assert known.due({1, 2}) == [1, 2]
    assert known.first(0, 1)
    known.accept(0, 1)
    assert not known.first(0, 2)
    assert "says that it is silo0, as node 1 did before" in known.told()
    assert known.due({1, 2}) == []
    assert not known.given_up({1, 2})
    assert known.due({2}) == [2]
    assert known.first(0, 2)
    known.accept(0, 2)
    assert known.told() == ""
    assert known.moved(1, 2) == [0]
    assert known.nodes == {}
