"""Averaging over silos: rounds that are cut off, what is kept of them, and what cannot be trained on."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dcfm.artefacts import load_tensors
from dcfm.curves import Watch, read_curve
from dcfm.decentralized import Federation
from dcfm.exchange import Message
from dcfm.silos import Silo
from dcfm.trainers import fedavg
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.loop import Progress
from dcfm.trainers.server import ServerConfig
from tests.dcfm.federation import TASK, Cut, CutAt, federation, silos
from tests.dcfm.trainers.toy import ToyTask


def test_messages_of_before_an_averaging_are_not_its_own(tmp_path: Path) -> None:
    """Begun, cut off and resumed, or found finished, it adds its own messages to those that were there."""
    config = FedAvgConfig(rounds=3, steps=2, batch=8, checkpoint_every=1)

    def cut(name: str, position: int) -> Progress:
        def round_done(done: int, total: int, terms: dict[str, float]) -> None:
            if done == 2 * config.steps:
                raise Cut

        return round_done

    def train(**options: object) -> list[Message]:
        run = federation(tmp_path, **options)
        exchange = run.exchange()
        run._gather_histograms(exchange)
        earlier = list(exchange.ledger.messages)
        run.fedavg("fedflow", config, exchange)
        assert exchange.ledger.messages[: len(earlier)] == earlier
        return exchange.ledger.messages[len(earlier) :]

    with pytest.raises(Cut):
        train(progress=cut)
    resumed = train()
    assert {(m.kind, m.peer) for m in resumed} == {("weights", "server"), ("histogram", "server")}
    assert len(resumed) == 3 * 2 * 2 + 2  # rounds, down and up, silos; and a histogram of each
    assert train() == resumed


def test_a_ledger_that_lost_lines_is_refused(tmp_path: Path) -> None:
    """Of a finished averaging and of one that goes on: what silos passed would be counted too low."""
    config = FedAvgConfig(rounds=3, steps=2, batch=8, checkpoint_every=1)
    for name, error in (("whole", None), ("cut", Cut)):
        run = federation(tmp_path / name, progress=None if error is None else CutAt(tmp_path / name, 5))
        with nullcontext() if error is None else pytest.raises(error):
            run.fedavg("fedflow", config, run.exchange())
        path = tmp_path / name / "fedflow.messages.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
        again = federation(tmp_path / name)
        with pytest.raises(ValueError, match=r"it has 3 messages, at least \d+ had passed"):
            again.fedavg("fedflow", config, again.exchange())


def test_averaging_has_a_loss_curve_a_silo_and_one_that_goes_on(tmp_path: Path) -> None:
    """A row a step of every round; cut off and resumed, the rows are those of a training that was not."""
    config = FedAvgConfig(rounds=3, steps=4, batch=8, checkpoint_every=1)
    read: dict[str, dict[str, list[float]]] = {}
    for name in ("whole", "cut"):
        out = tmp_path / name
        if name == "cut":
            with pytest.raises(Cut):
                federation(out, progress=CutAt(out, 10)).fedavg("fedflow", config, federation(out).exchange())
            assert read_curve(out / "losses/fedflow-silo0.csv")["step"] == list(range(1, 10))
        run = federation(out, progress=Watch(out))
        run.fedavg("fedflow", config, run.exchange())
        read[name] = {silo.name: read_curve(out / f"losses/fedflow-{silo.name}.csv") for silo in silos()}
    assert read["cut"] == read["whole"]
    for curve in read["whole"].values():
        assert curve["step"] == list(range(1, 13))
        assert np.isfinite(curve["loss"]).all()
    assert read["whole"]["silo0"]["loss"] != read["whole"]["silo1"]["loss"]


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_a_server_with_an_optimizer_goes_on_with_its_moments(rule: str, tmp_path: Path) -> None:
    config = FedAvgConfig(rounds=4, steps=3, batch=8, checkpoint_every=1, server=ServerConfig(rule, 0.5))
    run = federation(tmp_path / "cut", progress=CutAt(tmp_path / "cut", 8))
    with pytest.raises(Cut):
        run.fedavg("fedflow", config, run.exchange())
    found = [
        federation(tmp_path / name).fedavg("fedflow", settings, federation(tmp_path / name).exchange())
        for name, settings in (("whole", config), ("cut", config), ("without", replace(config, server=None)))
    ]
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert any(not torch.equal(value, found[2][name]) for name, value in found[0].items())


def test_long_rounds_go_on_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off in the middle of the second silo's second round; the result and its curves are those of one run."""
    monkeypatch.setattr(fedavg, "LONG_ROUND", 2)
    config = FedAvgConfig(rounds=2, steps=5, batch=8, checkpoint_every=10)
    found, curves = [], []
    for name in ("whole", "cut"):
        out = tmp_path / name
        if name == "cut":
            with pytest.raises(Cut):
                federation(out, progress=CutAt(out, 8, "silo1")).fedavg("fedflow", config, federation(out).exchange())
            left = {path.name for path in out.glob("*.checkpoint.safetensors")}
            assert left == {
                f"fedflow{part}.checkpoint.safetensors" for part in ("", ".silo0.round_1", ".silo1.round_1")
            }
            # As a process leaves it that ended after storing a round and before it removed what is within.
            shutil.copy(out / "fedflow.checkpoint.safetensors", out / "fedflow.silo0.round_0.checkpoint.safetensors")
        run = federation(out, progress=Watch(out))
        found.append(run.fedavg("fedflow", config, run.exchange()))
        curves.append({silo.name: read_curve(out / f"losses/fedflow-{silo.name}.csv") for silo in silos()})
        assert not list(out.glob("*.checkpoint.safetensors"))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert curves[0] == curves[1]
    assert all(curve["step"] == list(range(1, 11)) for curve in curves[0].values())
    short = replace(config, rounds=5, steps=2)
    run = federation(tmp_path / "short", progress=Watch(tmp_path / "short"))
    run.fedavg("fedflow", short, run.exchange())  # the same number of steps, shown round by round
    assert read_curve(tmp_path / "short/losses/fedflow-silo0.csv")["step"] == list(range(1, 11))


def test_averaging_keeps_one_network_and_never_another_tasks(tmp_path: Path) -> None:
    """Two tasks may look alike: what tells them apart may not show in their text."""
    config = FedAvgConfig(rounds=1, steps=2, batch=8)
    found = []
    for number, factor in enumerate((1.0, 5.0, 5.0)):
        task = _Scaled(width=8, factor=factor)
        if number == 2:
            fedavg._network.clear()
        run = Federation(task, silos(), tmp_path / str(number), workers=0)
        found.append(run.fedavg("fedflow", config, run.exchange()))
        assert len(fedavg._network) == 1
    assert str(_Scaled(factor=1.0)) == str(_Scaled(factor=5.0))
    assert all(torch.equal(found[1][name], value) for name, value in found[2].items())
    assert not all(torch.equal(found[0][name], value) for name, value in found[1].items())


def test_averaging_takes_tasks_that_cannot_be_sent(tmp_path: Path) -> None:
    """In this process: a task that holds a function of its own."""
    config = FedAvgConfig(rounds=2, steps=2, batch=8)
    found = []
    for name, task in (("plain", TASK), ("own", _WithRule(width=8, rule=lambda: None))):
        run = Federation(task, silos(), tmp_path / name, workers=0)
        found.append(run.fedavg("fedflow", config, run.exchange()))
    assert all(torch.equal(found[0][name], value) for name, value in found[1].items())


@dataclass(frozen=True)
class _WithRule(ToyTask):
    rule: Callable[[], None] | None = None


@dataclass(frozen=True)
class _Scaled(ToyTask):
    factor: float = field(default=1.0, repr=False)

    def network(self) -> nn.Module:
        return _Factor(super().network(), self.factor)


class _Factor(nn.Module):
    def __init__(self, inner: nn.Module, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        return self.factor * self.inner(x, t, y, held)


def test_averaging_refuses_what_it_cannot_train_on(tmp_path: Path) -> None:
    """As other trainings do; no silo's round has begun."""
    wrong = {
        "shape": [Silo(s.name, s.data[:, :1], s.labels) for s in silos()],
        "float64": [Silo(s.name, s.data.double(), s.labels) for s in silos()],
    }
    for message, given in wrong.items():
        run = Federation(TASK, given, tmp_path, workers=0)
        with pytest.raises(ValueError, match=message):
            run.fedavg("fedflow", FedAvgConfig(rounds=1, steps=2, batch=8), run.exchange())
    assert not list(tmp_path.glob("*.safetensors"))


def test_averages_are_kept_for_curves_by_a_silo_s_steps(tmp_path: Path) -> None:
    """At each checkpoint and at the end, where they are the result."""
    run = federation(tmp_path, snapshots=True)
    result = run.fedavg("fedflow", FedAvgConfig(rounds=3, steps=4, batch=8, checkpoint_every=2), run.exchange())
    kept = {path.name: load_tensors(path) for path in (tmp_path / "fedflow.snapshots").iterdir()}
    assert sorted(kept) == ["step_0000008.safetensors", "step_0000012.safetensors"]
    assert all(torch.equal(kept["step_0000012.safetensors"][name], value) for name, value in result.items())
    assert not all(torch.equal(kept["step_0000008.safetensors"][name], value) for name, value in result.items())
