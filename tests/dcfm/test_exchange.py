"""Only weights, label histograms, scalars and sums pass; each receiver gets a copy; the ledger tells what passed."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from dcfm.attributes import AttributeSpace
from dcfm.exchange import FEWEST_SUMMED, KINDS, MOST_SCALARS, Exchange, Ledger
from dcfm.silos import LabelHistogram, Silo
from dcfm.weights import model_size

SILOS = ["a", "b", "c"]


@pytest.fixture
def weights(generator: torch.Generator) -> dict[str, Tensor]:
    shapes = {name: tensor.shape for name, tensor in nn.Linear(3, 2).state_dict().items()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def exchange(weights: dict[str, Tensor]) -> Exchange:
    return Exchange(SILOS, template=weights)


@pytest.fixture
def silo(generator: torch.Generator) -> Silo:
    return Silo("a", torch.randn(40, 3, generator=generator), torch.randint(2, (40, 2), generator=generator))


def histogram_of(silo: Silo) -> dict[str, Tensor]:
    return LabelHistogram.from_labels(silo.labels, (2, 2)).state_dict()


def test_samples_do_not_pass_as_labels_of_other_attributes(weights: dict[str, Tensor], silo: Silo) -> None:
    """Bytes could be the values of attributes that nobody has; nor is a scalar's name room for a text."""
    exchange = Exchange(SILOS, template=weights, space=AttributeSpace.from_cardinalities(2, 2))
    rows = torch.randint(256, (5, 784), generator=torch.Generator().manual_seed(0)).unique(dim=0)
    hidden = LabelHistogram(rows, torch.ones(5, dtype=torch.long), (256,) * 784)
    with pytest.raises(ValueError, match=r"over attributes of \(256, .*, \.\.\.\) values, the task's have \(2, 2\)"):
        exchange.upload("a", "histogram", hidden.state_dict())
    for name in ("A text, and its end.", "x" * 33, "", "Loss"):
        with pytest.raises(ValueError, match="scalars' names are of up to 32 of a-z, 0-9, _"):
            exchange.upload("a", "scalars", {name: torch.tensor(1.0)})
    assert not exchange.ledger.messages
    exchange.upload("a", "histogram", histogram_of(silo))


def sums_of(data: Tensor) -> dict[str, Tensor]:
    return {"count": torch.tensor(len(data)), "sum": data.sum(0), "sum_of_squares": data.square().sum(0)}


class TestNoSampleCrosses:
    @pytest.mark.parametrize("kind", KINDS)
    def test_samples_pass_as_no_kind(self, kind: str, exchange: Exchange, silo: Silo) -> None:
        """Whole, one by one, hidden beside or inside what may pass: nothing goes through, and nothing is recorded."""
        allowed = {
            "weights": {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)},
            "histogram": histogram_of(silo),
            "scalars": {"loss": torch.tensor(1.0)},
            "sums": sums_of(silo.data),
        }
        one = silo.data[:1]
        smuggled = [
            {"data": silo.data},
            {"data": silo.data[0]},
            {str(i): row for i, row in enumerate(silo.data)},
            {str(i): value for i, value in enumerate(silo.data.flatten())},
            sums_of(one),
            sums_of(silo.data.to(torch.complex64)),
            *({n: v.to(torch.complex64) for n, v in payload.items()} for payload in allowed.values()),
            *({n: v.to(torch.float8_e4m3fn) for n, v in payload.items()} for payload in allowed.values()),
            sums_of(one) | {"count": torch.tensor(FEWEST_SUMMED), "sum": silo.data},
            {"combinations": silo.data, "counts": torch.ones(40).long(), "cardinalities": torch.tensor([2, 2, 2])},
            {"combinations": silo.labels, "counts": torch.ones(40).long(), "cardinalities": torch.tensor([2, 2])},
            *({**payload, "data": silo.data} for payload in allowed.values()),
            *({**payload, next(iter(payload)): silo.data} for payload in allowed.values()),
        ]
        for payload in smuggled:
            with pytest.raises(ValueError, match=f"silo 'a': this is no message of kind '{kind}'"):
                exchange.upload("a", kind, payload)
            with pytest.raises(ValueError, match="no message of kind"):
                exchange.allgather(kind, dict.fromkeys(SILOS, payload))
        assert exchange.ledger.messages == []
        exchange.upload("a", kind, allowed[kind])
        assert [message.kind for message in exchange.ledger.messages] == [kind]

    @pytest.mark.parametrize("kind", ["data", "samples", "gradients", ""])
    def test_other_kinds_do_not_exist(self, kind: str, exchange: Exchange, weights: dict[str, Tensor]) -> None:
        with pytest.raises(ValueError, match=r"the kinds are weights, histogram, scalars, sums\. Samples stay"):
            exchange.download("a", kind, weights)

    def test_ledger_holds_no_content(self, exchange: Exchange, silo: Silo, tmp_path: Path) -> None:
        exchange.upload("a", "sums", sums_of(silo.data))
        exchange.ledger.to_jsonl(tmp_path / "ledger.jsonl")
        line = json.loads((tmp_path / "ledger.jsonl").read_text())
        assert line["shapes"] == {"count": [], "sum": [3], "sum_of_squares": [3]}
        assert set(line) == {"silo", "direction", "peer", "kind", "bytes", "values", "shapes", "sha256"}


class TestDelivery:
    def test_allgather_gives_everybody_everything(self, exchange: Exchange, weights: dict[str, Tensor]) -> None:
        scaled = {silo: {name: i * t for name, t in weights.items()} for i, silo in enumerate(SILOS)}
        gathered = exchange.allgather("weights", scaled)
        for silo in SILOS:
            assert list(gathered[silo]) == SILOS
            for peer in SILOS:
                for name in weights:
                    assert torch.equal(gathered[silo][peer][name], scaled[peer][name])

    def test_copies_share_no_memory(self, exchange: Exchange, weights: dict[str, Tensor]) -> None:
        gathered = exchange.allgather("weights", dict.fromkeys(SILOS, weights))
        copies = [gathered[silo][peer]["bias"] for silo in SILOS for peer in SILOS]
        copies += [exchange.upload("a", "weights", weights)["bias"], weights["bias"]]
        assert len({tensor.data_ptr() for tensor in copies}) == len(copies)
        before = weights["bias"].clone()
        copies[0].zero_()
        assert torch.equal(weights["bias"], before)
        assert torch.equal(copies[1], before)

    def test_payloads_need_not_be_contiguous_nor_detached(self, weights: dict[str, Tensor]) -> None:
        network = nn.Linear(3, 2)
        network.weight = nn.Parameter(torch.arange(6.0).reshape(3, 2).T)
        received = Exchange(["a"], template=weights).upload("a", "weights", dict(network.named_parameters()))
        assert torch.equal(received["weight"], network.weight.detach())
        assert not received["weight"].requires_grad

    def test_histogram_arrives_whole(self, exchange: Exchange, silo: Silo) -> None:
        arrived = LabelHistogram.from_state_dict(exchange.upload("a", "histogram", histogram_of(silo)))
        assert arrived.total == 40


class TestLedger:
    def test_costs_of_table_3(self, weights: dict[str, Tensor], silo: Silo) -> None:
        """DCFM-A costs R * N models a silo, DCFM-B 2, FedAvg 2 T; histograms are no models."""
        n, rounds = len(SILOS), 2
        a, b, fedavg = (Exchange(SILOS, template=weights) for _ in range(3))
        for _ in range(rounds):
            a.allgather("weights", dict.fromkeys(SILOS, weights))
        a.allgather("histogram", dict.fromkeys(SILOS, histogram_of(silo)))
        for name in SILOS:
            b.upload(name, "weights", weights)
            b.upload(name, "histogram", histogram_of(silo))
            b.download(name, "weights", weights)
            for _ in range(10):
                fedavg.upload(name, "weights", weights)
                fedavg.download(name, "weights", weights)
        assert a.ledger.units() == dict.fromkeys(SILOS, rounds * n)
        assert b.ledger.units() == dict.fromkeys(SILOS, 2)
        assert fedavg.ledger.units() == dict.fromkeys(SILOS, 2 * 10)
        assert a.ledger.bytes()["a"] > rounds * n * 4 * model_size(weights)

    def test_lines_of_an_allgather(self, exchange: Exchange, weights: dict[str, Tensor]) -> None:
        exchange.allgather("weights", dict.fromkeys(SILOS, weights))
        lines = [(m.silo, m.direction, m.peer) for m in exchange.ledger.messages]
        assert lines[:3] == [(silo, "sent", "all") for silo in SILOS]
        assert sorted(lines[3:]) == [(s, "received", p) for s in SILOS for p in SILOS if p != s]
        assert len({m.sha256 for m in exchange.ledger.messages}) == 1
        assert {m.values for m in exchange.ledger.messages} == {8}

    def test_says_of_each_message_what_its_bytes_say(
        self, exchange: Exchange, weights: dict[str, Tensor], silo: Silo
    ) -> None:
        """Also where a payload is read once for all its receivers."""
        payloads = {name: {key: i + value for key, value in weights.items()} for i, name in enumerate(SILOS)}
        exchange.allgather("weights", payloads)
        sent = {m.silo: m for m in exchange.ledger.messages if m.direction == "sent"}
        for name, payload in payloads.items():
            content = save(payload)
            assert sent[name].bytes == len(content)
            assert sent[name].sha256 == hashlib.sha256(content).hexdigest()
            assert sent[name].shapes == {"bias": [2], "weight": [2, 3]}
        for message in exchange.ledger.messages:
            if message.direction == "received":
                source = sent[message.peer]
                assert (message.sha256, message.bytes, message.values, message.shapes) == (
                    source.sha256,
                    source.bytes,
                    source.values,
                    source.shapes,
                )

    def test_continues_after_an_interruption(
        self, exchange: Exchange, weights: dict[str, Tensor], tmp_path: Path
    ) -> None:
        path = tmp_path / "ledger.jsonl"
        exchange.upload("a", "weights", weights)
        exchange.ledger.to_jsonl(path)
        resumed = Exchange(SILOS, template=weights, ledger=Ledger.from_jsonl(path, exchange.ledger.model_size))
        assert resumed.ledger == exchange.ledger
        resumed.download("a", "weights", weights)
        assert resumed.ledger.units() == {"a": 2}

    def test_damaged_file(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.jsonl"
        path.write_text('{"silo": "a"}\n')
        with pytest.raises(ValueError, match="is no ledger"):
            Ledger.from_jsonl(path, 8)

    def test_lines_that_were_taken_away_or_changed(
        self, exchange: Exchange, weights: dict[str, Tensor], tmp_path: Path
    ) -> None:
        """What passed would be counted too low."""
        path = tmp_path / "ledger.jsonl"
        exchange.upload("a", "weights", weights)
        exchange.ledger.to_jsonl(path)
        with pytest.raises(ValueError, match="it has 1 messages, at least 2 had passed"):
            Ledger.from_jsonl(path, 8, least=2)
        path.write_text(path.read_text().replace('"kind": "weights"', '"kind": "rows"'))
        with pytest.raises(ValueError, match="bytes, values and kind of a message cannot be"):
            Ledger.from_jsonl(path, 8)


class TestRejections:
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_diverged_weights(self, value: float, exchange: Exchange, weights: dict[str, Tensor]) -> None:
        weights["bias"][1] = value
        with pytest.raises(ValueError, match="NaN or infinity in bias"):
            exchange.upload("b", "weights", weights)

    def test_another_architecture(self, exchange: Exchange, weights: dict[str, Tensor]) -> None:
        with pytest.raises(ValueError, match=r"weight has shape \(4, 3\) instead of \(2, 3\)"):
            exchange.upload("a", "weights", weights | {"weight": torch.zeros(4, 3)})
        with pytest.raises(ValueError, match="bias is missing; extra is unknown"):
            exchange.upload("a", "weights", {"weight": weights["weight"], "extra": torch.zeros(1)})

    def test_numbers_that_are_not_finite(self, exchange: Exchange, silo: Silo) -> None:
        """They would spoil what is made of all silos' numbers."""
        sums = sums_of(silo.data) | {"sum": torch.full((silo.data.shape[1],), float("nan"))}
        for kind, payload in (("scalars", {"loss": torch.tensor(float("inf"))}), ("sums", sums)):
            with pytest.raises(ValueError, match="NaN or infinity"):
                exchange.upload("a", kind, payload)

    def test_sums_that_no_samples_have(self, exchange: Exchange, silo: Silo) -> None:
        """By which samples could pass as sums."""
        usual = sums_of(silo.data)
        for wrong in (
            {"count": torch.tensor(16.5)},
            {"sum_of_squares": -usual["sum_of_squares"]},
            {"sum": usual["sum"] * 99},
        ):
            with pytest.raises(ValueError, match="samples have these sums"):
                exchange.upload("a", "sums", usual | wrong)
        same = sums_of(torch.full((30, 3), 0.1))  # without any spread: equal but for rounding
        exchange.upload("a", "sums", same)

    def test_a_histogram_of_more_values_than_the_task_s(self, weights: dict[str, Tensor]) -> None:
        """Whatever it claims is compared first; names of so many values would fill all memory."""
        exchange = Exchange(SILOS, template=weights, space=AttributeSpace.from_cardinalities(2, 2))
        claimed = {
            "combinations": torch.tensor([[0, 0]]),
            "counts": torch.tensor([5]),
            "cardinalities": torch.tensor([2**40] * 2),
        }
        with pytest.raises(ValueError, match="values, the task's have"):
            exchange.upload("a", "histogram", claimed)

    def test_too_many_scalars(self, exchange: Exchange) -> None:
        scalars = {f"loss{i}": torch.tensor(float(i)) for i in range(MOST_SCALARS + 1)}
        with pytest.raises(ValueError, match=f"65 tensors.*give 1 to {MOST_SCALARS}"):
            exchange.upload("a", "scalars", scalars)

    def test_sums_that_show_their_samples(self, exchange: Exchange, silo: Silo) -> None:
        with pytest.raises(ValueError, match="would show them"):
            exchange.upload("a", "sums", sums_of(silo.data[: FEWEST_SUMMED - 1]))

    def test_one_bad_payload_stops_an_allgather_before_anything_is_sent(
        self, exchange: Exchange, weights: dict[str, Tensor]
    ) -> None:
        with pytest.raises(ValueError, match="silo 'c'"):
            exchange.allgather("weights", dict.fromkeys(SILOS, weights) | {"c": {}})
        with pytest.raises(ValueError, match="one payload from each"):
            exchange.allgather("weights", {"a": weights})
        assert exchange.ledger.messages == []

    def test_unknown_silo(self, exchange: Exchange, weights: dict[str, Tensor]) -> None:
        with pytest.raises(ValueError, match="unknown silo 'd'; the silos are a, b, c"):
            exchange.upload("d", "weights", weights)

    @pytest.mark.parametrize("silos", [[], ["a", "a"], ["a", "server"], ["all"]])
    def test_names(self, silos: list[str], weights: dict[str, Tensor]) -> None:
        with pytest.raises(ValueError, match="names unique"):
            Exchange(silos, template=weights)

    def test_no_architecture(self) -> None:
        with pytest.raises(ValueError, match="template is empty"):
            Exchange(SILOS, template={})
