"""Faults: what the server does with silos that are late, lost, broken or dishonest."""

import json
import re
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from omegaconf import OmegaConf

from dcfm.artefacts import load, load_tensors, save_tensors
from dcfm.federated import members
from dcfm.federated.client import app
from dcfm.federated.members import Members, TooFewSilos
from dcfm.federated.parcels import Parcel, pack, unpack
from dcfm.federated.server import make_members
from dcfm.federated.settings import composed
from dcfm.silos import LabelHistogram
from tests.dcfm.federated.grid import THREE, Answer, LocalGrid, run, status


def arrived(out: Path, answers: dict[int, Answer], *overrides: str) -> Members:
    """The server's view after the silos have introduced themselves."""
    given = (*THREE, "arrival=0.3", f"out={out}", *overrides)
    crew, _ = make_members(LocalGrid(given, answers=answers), composed(given))
    crew.gather()
    return crew


def ledger(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]


def tampering(change, question: str = "train.stage_one") -> Answer:
    """A silo that trains as it should and changes what it sends."""

    def answer(message: Message, context: Context) -> Message:
        reply = app(message, context)
        if message.metadata.message_type == question:
            return Message(change(reply.content), reply_to=message)
        return reply

    return answer


def with_weights(change, question: str = "train.stage_one") -> Answer:
    def changed(content: RecordDict) -> RecordDict:
        parcel = unpack(content)
        parcel["weights"] = change(parcel["weights"])
        return pack(parcel)

    return tampering(changed, question)


def not_a_number(weights):
    first = next(iter(weights))
    return weights | {first: torch.full_like(weights[first], torch.nan)}


def absurd(weights):
    """Finite, so that only what the network does with them tells."""
    return {name: torch.full_like(value, 1e30) for name, value in weights.items()}


def other_shape(weights):
    first = next(iter(weights))
    return weights | {first: weights[first][:1]}


def other_architecture(weights):
    return {f"net.{name}": value for name, value in weights.items()}


def with_type(kind: torch.dtype):
    """Weights of the right shapes in another type."""
    return lambda weights: {name: value.to(kind) for name, value in weights.items()}


def samples_too(content: RecordDict) -> RecordDict:
    return RecordDict({**content, **pack({"histogram/7": {"data": torch.zeros(3)}})})


def a_note(content: RecordDict) -> RecordDict:
    return RecordDict({**content, "note": ConfigRecord({"patient": "name"})})


def garbage(content: RecordDict) -> RecordDict:
    array = Array(dtype="uint8", shape=(3,), stype="safetensors", data=b"abc")
    return RecordDict({"weights": ArrayRecord(OrderedDict(safetensors=array))})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (with_weights(not_a_number), "NaN or infinity"),
        (with_weights(absurd), "its network gives velocities of"),
        (with_weights(other_shape), "instead of"),
        (with_weights(other_architecture), "another architecture"),
        (with_weights(with_type(torch.int64)), "weights of another type"),
        (with_weights(with_type(torch.complex64)), "weights of another type"),
        (with_weights(with_type(torch.float8_e4m3fn)), "weights of another type"),
        (tampering(samples_too), "it sent"),
        (tampering(a_note), "note"),
        (tampering(garbage), "no safetensors file"),
    ],
)
def test_a_bad_answer_is_rejected_by_name_and_the_rest_go_on(answer: Answer, why: str, tmp_path: Path) -> None:
    run(tmp_path, {"answers": {1: answer}})
    found = status(tmp_path)
    assert found["state"] == "finished"
    assert found["silos"] == ["silo0", "silo2"]
    assert "rejected at train.stage_one" in found["left_out"]["silo1"]
    assert why in found["left_out"]["silo1"]
    assert not [m for m in ledger(tmp_path) if m["silo"] == "silo1" and m["kind"] == "weights"]


def introducing(change) -> Answer:
    """A silo that changes what it says when it introduces itself."""

    def answer(message: Message, context: Context) -> Message:
        reply = app(message, context)
        if message.metadata.message_type == "query.introduce":
            parcel = unpack(reply.content)
            change(parcel)
            return Message(pack(parcel), reply_to=message)
        return reply

    return answer


def of_other_attributes(parcel: Parcel) -> None:
    parcel["histogram"]["cardinalities"] = torch.tensor([7, 9])


def of_too_many(parcel: Parcel) -> None:
    parcel["histogram"]["counts"] = torch.full_like(parcel["histogram"]["counts"], 2**62)


def with_half_a_count(parcel: Parcel) -> None:
    parcel["scalars"]["more"] = torch.tensor(1.0, dtype=torch.float8_e4m3fn)


def with_a_complex_number(parcel: Parcel) -> None:
    parcel["scalars"]["number"] = torch.tensor(1.0, dtype=torch.complex64)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (of_other_attributes, "rejected at query.introduce: its label histogram is over attributes of [7, 9] values"),
        (of_too_many, "rejected at query.introduce: its label histogram counts more than"),
        (with_half_a_count, "rejected at query.introduce: silo 'silo1': this is no message of kind 'scalars'"),
        (with_a_complex_number, "did not introduce itself"),  # and did not say who it is
    ],
)
def test_a_bad_introduction_is_left_out_and_a_good_one_counts(change, why: str, tmp_path: Path) -> None:
    """The rest go on without it; where too few are left, the same folder with an honest silo has all."""
    answers = {1: introducing(change)}
    crew = arrived(tmp_path / "two", answers)
    assert crew.numbers == [0, 2]
    assert why in status(tmp_path / "two")["left_out"]["silo1"]
    assert not [m for m in ledger(tmp_path / "two") if m["silo"] == "silo1"]
    with pytest.raises(TooFewSilos, match=re.escape(why)):
        arrived(tmp_path / "all", answers, "fewest=3")
    assert arrived(tmp_path / "all", {}, "fewest=3").numbers == [0, 1, 2]


def test_a_useless_introduction_that_was_kept_is_asked_for_again(tmp_path: Path) -> None:
    """As servers kept it before they looked at its attributes."""
    crew = arrived(tmp_path, {})
    bad = LabelHistogram(torch.tensor([[6, 8]]), torch.tensor([3]), (7, 9)).state_dict()
    save_tensors(tmp_path / "received/arrival/1/histogram.safetensors", bad)
    again = arrived(tmp_path, {})
    assert again.histograms[1].cardinalities == crew.space.cardinalities
    kept = LabelHistogram.from_state_dict(load_tensors(tmp_path / "received/arrival/1/histogram.safetensors"))
    assert torch.equal(kept.counts, crew.histograms[1].counts)


@pytest.mark.parametrize("text", ['{"seed": 0, "pro', "[]"])
def test_a_damaged_mark_of_the_folder_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json, which says whose folder this is, is damaged .*delete the file"):
        run(tmp_path, {})


def test_a_silo_whose_number_is_taken_changes_nothing(tmp_path: Path) -> None:
    """The first that says a number counts: neither its kept histogram nor its ledger is another's."""

    def as_silo_0(parcel: Parcel) -> None:
        parcel["scalars"]["number"] = torch.tensor(0.0)
        parcel["histogram"]["counts"] += 1000

    crew = arrived(tmp_path, {1: introducing(as_silo_0)})
    assert crew.numbers == [0, 2]
    kept = LabelHistogram.from_state_dict(load_tensors(tmp_path / "received/arrival/0/histogram.safetensors"))
    assert torch.equal(kept.counts, crew.histograms[0].counts)
    assert [m["kind"] for m in ledger(tmp_path) if m["silo"] == "silo0"] == ["scalars", "histogram"]


def test_too_few_silos_is_a_clear_stop_and_nothing_is_lost(tmp_path: Path) -> None:
    answers = {1: with_weights(not_a_number)}
    with pytest.raises(TooFewSilos, match=r"2 silos are left, 3 are needed \(silo1 was rejected"):
        run(tmp_path, {"answers": answers}, "fewest=3")
    assert status(tmp_path)["state"] == "stopped"
    assert (tmp_path / "received/stage_one/0/weights.safetensors").exists()
    grid = run(tmp_path, {}, "fewest=3")  # the silo is mended, the run starts again
    assert [n for n, question in grid.asked if question == "train.stage_one"] == [1]
    assert status(tmp_path)["silos"] == ["silo0", "silo1", "silo2"]


def test_silos_that_do_not_cover_the_attributes_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(TooFewSilos, match="do not suffice"):
        run(tmp_path, {"answers": {0: with_weights(not_a_number)}}, "partition=noniid", "silos=2", "fewest=1")


def test_what_can_no_longer_succeed_is_not_waited_for(tmp_path: Path) -> None:
    """One silo is rejected, another is silent: with too few left nobody waits for it, or blames it."""

    def silent(message: Message, context: Context) -> Message | None:
        return None if message.metadata.message_type == "train.stage_one" else app(message, context)

    answers = {1: with_weights(not_a_number), 2: silent}
    with pytest.raises(
        TooFewSilos,
        match=r"2 silos are left, 3 are needed \(silo1 was rejected at train\.stage_one[^(]*lower the learning rate\)",
    ):
        run(tmp_path, {"answers": answers}, "fewest=3", "deadline=600")
    assert list(status(tmp_path)["left_out"]) == ["silo1"]


def test_a_straggler_has_a_deadline(tmp_path: Path) -> None:
    def silent(message: Message, context: Context) -> Message | None:
        return None if message.metadata.message_type == "train.stage_one" else app(message, context)

    grid = run(tmp_path, {"answers": {2: silent}}, "deadline=3", "patience=0.1")
    assert status(tmp_path)["left_out"] == {"silo2": "gave no answer to stage_one within 3 s"}
    # A simulated silo is not asked whether it still works: another worker would answer that.
    assert [question for n, question in grid.asked if n == 2] == ["query.introduce", "train.stage_one"]
    assert len(load(tmp_path / "result/expert0").weights) > 0


@pytest.mark.parametrize("protocol", ["dcfm_a", "dcfm_b", "fedflow"])
def test_a_result_is_published_whoever_misses_its_delivery(protocol: str, tmp_path: Path) -> None:
    """What the silos sent before is in it. Here those that are left are too few, and do not cover the attributes."""

    def gone(message: Message, context: Context) -> Message | None:
        return None if message.metadata.message_type == "train.deliver" else app(message, context)

    run(tmp_path, {"answers": {1: gone}}, "partition=noniid", "silos=2", "deadline=2", f"protocol={protocol}")
    found = status(tmp_path)
    assert found["state"] == "finished"
    assert found["left_out"] == {"silo1": "gave no answer to deliver within 2 s"}
    assert (tmp_path / "published" / protocol / "artefact.json").exists()
    assert len(list((tmp_path / "result").iterdir())) == (2 if protocol == "dcfm_a" else 1)


def test_a_silo_that_is_not_there_is_not_waited_for_forever(tmp_path: Path) -> None:
    run(tmp_path, {"offline": {1}}, "arrival=2")
    assert status(tmp_path)["left_out"] == {"silo1": "did not introduce itself within 2 s"}


def test_a_silo_that_fails_is_asked_again_and_given_up_at_last(tmp_path: Path) -> None:
    calls = {"stage_one": 0}

    def failing(times: int) -> Answer:
        def answer(message: Message, context: Context) -> Message:
            if message.metadata.message_type == "train.stage_one":
                calls["stage_one"] += 1
                if calls["stage_one"] <= times:
                    Path(str(context.node_config["data"])).rename(tmp_path / "hidden")
                    try:
                        return app(message, context)
                    finally:
                        (tmp_path / "hidden").rename(str(context.node_config["data"]))
            return app(message, context)

        return answer

    run(tmp_path / "once", {"answers": {1: failing(1)}})
    assert status(tmp_path / "once")["left_out"] == {}
    calls["stage_one"] = 0
    run(tmp_path / "always", {"answers": {1: failing(99)}})
    why = status(tmp_path / "always")["left_out"]["silo1"]
    assert calls["stage_one"] == 3
    assert "failed 3 times" in why
    assert str(tmp_path) not in why  # what exactly failed is for the silo alone
    assert "hidden" not in why
    assert str(tmp_path) in (tmp_path / "always/silos/1/work/errors.log").read_text()


def test_a_process_that_is_killed_each_time_is_a_failure_too(tmp_path: Path) -> None:
    """Not asked without end: only a node that cannot be reached is asked again when it is back."""

    def killed(message: Message, context: Context) -> Message:
        if message.metadata.message_type == "train.stage_one":
            return Message(Error(ErrorCode.CLIENT_APP_CRASHED, "out of memory"), reply_to=message)
        return app(message, context)

    grid = run(tmp_path, {"answers": {1: killed}})
    assert "failed 3 times at train.stage_one: out of memory" in status(tmp_path)["left_out"]["silo1"]
    assert [n for n, question in grid.asked if question == "train.stage_one"].count(1) == 3


def test_federated_averaging_that_is_finished_again_is_of_the_same_silos(tmp_path: Path) -> None:
    """Also where no round is left to ask for: who was left out in one of them is no part of the result."""

    def stopped(message: Message, context: Context) -> Message:
        if message.metadata.message_type == "train.deliver":
            raise KeyboardInterrupt
        return app(message, context)

    given = ("protocol=fedflow",)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, {"answers": {0: stopped, 2: with_weights(not_a_number, "train.fedavg")}}, *given)
    for _ in range(2):
        run(tmp_path, {}, *given)
        assert status(tmp_path)["silos"] == ["silo0", "silo1"]
        published = OmegaConf.load(tmp_path / "published/fedflow/config.yaml")
        assert len(published.silos) == 2


def test_a_node_that_forgot_its_question_is_asked_again(tmp_path: Path) -> None:
    """A SuperNode that was killed and came back does not know of its question; a second one finds that out."""
    forgotten = []

    def forgetful(message: Message, context: Context) -> Message | None:
        if message.metadata.message_type == "train.stage_one" and not forgotten:
            forgotten.append(message)
            return None
        return app(message, context)

    grid = run(tmp_path, {"answers": {0: forgetful}}, "patience=0.5", "engine=deployment")
    assert status(tmp_path)["left_out"] == {}
    mine = [question for n, question in grid.asked if n == 0]
    assert mine[:4] == ["query.introduce", "train.stage_one", "query.introduce", "train.stage_one"]


def test_a_node_that_is_lost_is_asked_again_when_it_returns(tmp_path: Path) -> None:
    grid: LocalGrid

    def lost(message: Message, context: Context) -> Message:
        if message.metadata.message_type == "train.stage_one" and not grid.offline:
            grid.offline.add(1)
            raise ConnectionError("node unavailable")
        return app(message, context)

    given = (*THREE, f"out={tmp_path}")
    grid = LocalGrid(given, answers={1: lost})

    def back(seconds: float) -> None:
        if len([1 for _, question in grid.asked if question == "train.stage_one"]) == 3:
            grid.answers.clear()
            grid.offline.clear()

    crew, _ = make_members(grid, composed(given))
    crew.pause = back
    crew.gather()
    answers = crew.ask("stage_one", "train.stage_one", {n: {} for n in crew.numbers})
    assert sorted(answers) == [0, 1, 2]
    assert [n for n, question in grid.asked if question == "train.stage_one"] == [0, 1, 2, 1]


def test_the_ledger_tells_of_a_message_before_anything_rests_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is killed after it has asked, or kept an answer that is never asked for again, has it on disk."""
    push, keep, crews, told = Members._push, members.received.keep, [], Counter()

    def compare(what: str) -> None:
        told[what] += 1
        written = [(m["kind"], m["sha256"]) for m in ledger(crews[-1].out)]
        assert written == [(m.kind, m.sha256) for m in crews[-1].exchange.ledger.messages]

    def pushed(self: Members, question: str, node: int, number: int | None, parcel: Parcel) -> None:
        crews.append(self)
        if parcel:
            compare("asked")
        push(self, question, node, number, parcel)

    def kept(folder: Path, parcel: Parcel, sent: Parcel | None) -> None:
        compare("kept")
        keep(folder, parcel, sent)

    monkeypatch.setattr(Members, "_push", pushed)
    monkeypatch.setattr(members.received, "keep", kept)
    run(tmp_path, {}, "protocol=dcfm_a")
    assert told["asked"] >= 6  # experts to each of three silos, twice
    assert told["kept"] >= 9
