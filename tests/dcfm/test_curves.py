"""Loss curves hold every step once, whatever interrupts a training, and change nothing about it."""

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from dcfm.curves import LossFile, Watch, read_curve
from dcfm.trainers.loop import LoopConfig, fit

CONFIG = LoopConfig(steps=12, batch=4, warmup=2, checkpoint_every=5, ema=0.9)


def regression(network: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
    x = torch.randn(CONFIG.batch, 3, generator=generator)
    error = (network(x)[:, 0] - x.sum(1)).square().mean()
    size = sum(p.square().sum() for p in network.parameters())
    assert isinstance(size, Tensor)
    return {"loss": error + size, "error": error, "size": size}


def fresh() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def train(out: Path, *, tensorboard: bool = False, checkpoint: Path | None = None, stop: int | None = None) -> Tensor:
    progress = Watch(out, tensorboard)("stage1 robot0", 0)
    average = fit(fresh(), regression, CONFIG, seed=1, checkpoint=checkpoint, progress=progress, stop_after=stop)
    return torch.cat([p.flatten() for p in average.parameters()])


def curve(out: Path) -> dict[str, list[float]]:
    return read_curve(out / "losses/stage1-robot0.csv")


def scalars(out: Path) -> dict[str, tuple[list[int], list[float]]]:
    events = EventAccumulator(str(out / "tensorboard/stage1-robot0")).Reload()
    found = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    return {name: ([e.step for e in values], [e.value for e in values]) for name, values in found.items()}


def test_every_step_s_terms_and_nothing_else_changes(tmp_path: Path) -> None:
    values: list[float] = []
    plain = fit(fresh(), regression, CONFIG, seed=1, progress=lambda done, total, terms: values.append(terms["loss"]))
    watched = train(tmp_path)
    assert torch.equal(watched, torch.cat([p.flatten() for p in plain.parameters()]))
    found = curve(tmp_path)
    assert list(found) == ["step", "loss", "error", "size"]
    assert found["step"] == list(range(1, 13))
    np.testing.assert_array_equal(np.float32(found["loss"]), np.float32(values))
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize(("word", "asked"), [("no", False), ("off", False), (False, False), ("yes", True)])
def test_a_word_for_no_is_no(word: object, asked: bool) -> None:
    """As the command line gives it."""
    assert Watch.of(OmegaConf.create({"out": "x", "tensorboard": word})).tensorboard is asked


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """The run is killed three steps after its last checkpoint, in the middle of writing a line."""
    whole, killed, checkpoint = tmp_path / "whole", tmp_path / "killed", tmp_path / "run.safetensors"
    train(whole, tensorboard=True)
    train(killed, tensorboard=True, checkpoint=checkpoint, stop=5)
    at_five = checkpoint.read_bytes()
    train(killed, tensorboard=True, checkpoint=checkpoint, stop=8)
    checkpoint.write_bytes(at_five)
    with (killed / "losses/stage1-robot0.csv").open("a") as file:
        file.write("9,0.5,0.")
    train(killed, tensorboard=True, checkpoint=checkpoint)
    assert curve(killed) == curve(whole)
    found = scalars(killed)
    assert found == scalars(whole)
    assert sorted(found) == ["error", "loss", "size"]
    steps, losses = found["loss"]
    assert steps == list(range(1, 13))
    np.testing.assert_array_equal(np.float32(losses), np.float32(curve(whole)["loss"]))


def test_tensorboard_may_be_switched_on_later(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.safetensors"
    train(tmp_path, checkpoint=checkpoint, stop=5)
    train(tmp_path, tensorboard=True, checkpoint=checkpoint)
    assert scalars(tmp_path)["loss"][0] == list(range(1, 13))


def test_a_new_training_begins_a_new_curve_and_rounds_without_loss_none(tmp_path: Path) -> None:
    file = LossFile(tmp_path / "a.csv")
    file(1, 9, {})
    assert not file.path.exists()
    for terms in ({"loss": 1.0, "other": 2.0}, {"loss": 3.0}):
        LossFile(tmp_path / "a.csv")(1, 9, terms)
    LossFile(tmp_path / "a.csv")(2, 9, {"loss": 4.0})
    assert read_curve(tmp_path / "a.csv") == {"step": [1, 2], "loss": [3, 4]}


def test_a_missing_tensorboard_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert Watch(tmp_path) == pickle.loads(pickle.dumps(Watch(tmp_path)))  # it goes to the processes that train
    with pytest.raises(ValueError, match=r"pip install 'dcfm\[logs\]'"):
        Watch(tmp_path, tensorboard=True)


def test_a_watch_of_a_configuration(tmp_path: Path) -> None:
    assert Watch.of(OmegaConf.create({"out": 5, "tensorboard": False})) == Watch(Path("5"))
    with pytest.raises(ValueError, match="out=null: give the folder"):
        Watch.of(OmegaConf.create({"out": None, "tensorboard": False}))


@pytest.mark.parametrize("text", ["", "time,loss\n1,2\n", "step,loss\n1\n", "step,loss\n1,x\n"])
def test_damaged_files(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=r"a\.csv is no file of loss curves"):
        read_curve(tmp_path / "a.csv")
