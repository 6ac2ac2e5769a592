"""Who was left out of a run stays left out when its server is started again, from the phase on that went on without."""

from pathlib import Path

import pytest
import torch
from flwr.app import Context, Message

from dcfm.artefacts import load
from dcfm.federated import members
from dcfm.federated.client import app
from dcfm.federated.left_out import LeftOut
from dcfm.federated.silo_files import read_silo
from dcfm.published import load_task
from dcfm.toy.task import ToyTask
from tests.dcfm.federated.grid import Killed, killed_at_delivery, run, status


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "POLL", 0.01)


def test_phases_are_kept_in_order(tmp_path: Path) -> None:
    found = LeftOut.read(tmp_path / "left_out.json")
    found.note("arrival", {2: "late"})
    found.note("stage_one", {2: "late", 0: "lost"})
    found.write()
    again = LeftOut.read(found.path)
    assert again.until("arrival") == {2: "late"}
    assert again.until("stage_one") == again.until("a phase to come") == {2: "late", 0: "lost"}
    found.path.write_text("[1]")
    with pytest.raises(ValueError, match="choose another out="):
        LeftOut.read(found.path)


@pytest.mark.parametrize("protocol", ["dcfm_a", "dcfm_b", "dcfm_b_r", "fedflow"])
def test_who_was_left_out_stays_left_out(protocol: str, tmp_path: Path) -> None:
    """The silo is mended, and the server killed at the delivery and started again: the result is of the other silos."""
    first = {"fedflow": "train.fedavg"}.get(protocol, "train.stage_one")

    def broken(message: Message, context: Context) -> Message:
        reply = app(message, context)
        if message.metadata.message_type == first:
            reply.content.array_records.pop("weights")
        return reply

    with pytest.raises(Killed):
        run(tmp_path, {"answers": {1: killed_at_delivery, 2: broken}}, f"protocol={protocol}")
    gone = status(tmp_path)["left_out"]
    assert list(gone) == ["silo2"]
    grid = run(tmp_path, {}, f"protocol={protocol}")
    assert status(tmp_path)["left_out"] == gone
    assert [question for n, question in grid.asked if n == 2] == ["query.introduce"]
    assert {n for n, question in grid.asked if question == "train.deliver"} == {0, 1}


def test_a_silo_that_a_later_phase_left_out_had_taken_part_before(tmp_path: Path) -> None:
    """Started again after the delivery that a silo missed: the student is still that of all three networks."""

    def silent(message: Message, context: Context) -> Message | None:
        return None if message.metadata.message_type == "train.deliver" else app(message, context)

    run(tmp_path, {"answers": {2: silent}}, "deadline=3", "patience=100")
    before = load(tmp_path / "result/expert0").weights
    grid = run(tmp_path, {})
    assert grid.asked == []
    assert status(tmp_path)["left_out"] == {"silo2": "gave no answer to deliver within 3 s"}
    assert all(torch.equal(value, before[name]) for name, value in load(tmp_path / "result/expert0").weights.items())


@pytest.mark.parametrize("protocol", ["dcfm_a", "dcfm_b", "dcfm_b_r", "fedflow"])
def test_what_is_published_names_all_that_it_is_made_of(protocol: str, tmp_path: Path) -> None:
    """A silo that missed the delivery had sent its part: its histogram belongs to it, and a model loads."""

    def silent(message: Message, context: Context) -> Message | None:
        return None if message.metadata.message_type == "train.deliver" else app(message, context)

    grid = run(tmp_path, {"answers": {1: silent}}, f"protocol={protocol}", "deadline=3", "patience=100")
    assert list(status(tmp_path)["left_out"]) == ["silo1"]
    published = load_task(tmp_path / "published" / protocol, ToyTask, what="a toy model")
    held = [len(read_silo(grid.data[number], "silo").labels) for number in range(3)]
    assert [int(histogram.counts.sum()) for histogram in published.histograms] == held
    assert len(published.networks) == (3 if protocol == "dcfm_a" else 1)


@pytest.mark.parametrize(("protocol", "answered"), [("dcfm_b_r", 0), ("fedflow", 2)])
def test_a_silo_that_drops_out_is_in_what_was_made_before(protocol: str, answered: int, tmp_path: Path) -> None:
    """Its network is in the student, its weights in the first rounds: what it alone holds is not novel to the result,
    also where the server is killed afterwards and started again."""
    rounds = []

    def tiring(message: Message, context: Context) -> Message:
        reply = app(message, context)
        if message.metadata.message_type == "train.fedavg":
            rounds.append(message)
            if len(rounds) > answered:
                reply.content.array_records.pop("weights")
        return reply

    given = ("partition=noniid", "problem.attributes=3", f"protocol={protocol}")
    with pytest.raises(Killed):
        run(tmp_path, {"answers": {1: killed_at_delivery, 2: tiring}}, *given)
    grid = run(tmp_path, {}, *given)
    assert status(tmp_path)["silos"] == ["silo0", "silo1"]
    assert {n for n, question in grid.asked if question == "train.deliver"} == {0, 1}
    published = load_task(tmp_path / "published" / protocol, ToyTask, what="a toy model")
    held = [len(read_silo(grid.data[number], "silo").labels) for number in range(3)]
    assert [histogram.total for histogram in published.histograms] == held


def test_the_server_may_distil_where_a_silo_could_not(tmp_path: Path) -> None:
    def broken(message: Message, context: Context) -> Message:
        reply = app(message, context)
        if message.metadata.message_type == "train.distil":
            reply.content.array_records.pop("weights")
        return reply

    with pytest.raises(RuntimeError, match="start again, or with distil_on=server"):
        run(tmp_path, {"answers": {1: broken}}, "distil_on=silo1")
    run(tmp_path, {}, "distil_on=server")
    assert (status(tmp_path)["state"], status(tmp_path)["left_out"]) == ("finished", {})
