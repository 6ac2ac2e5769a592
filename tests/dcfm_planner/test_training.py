"""From segments to silos: the diagonal moves stay out, partitions cover, and bad data is refused by name."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module

from dcfm.attributes import CoverageError
from dcfm.decentralized import Federation
from dcfm_planner.domains.cube import CUBE, CubeSingle
from dcfm_planner.domains.maze import PointMaze
from dcfm_planner.layout import TRANSITION
from dcfm_planner.quadrants import KNOWN_PAIRS, NOVEL_PAIRS, SPACE, pair_labels
from dcfm_planner.segments import SegmentSet
from dcfm_planner.task import PlannerTask
from dcfm_planner.training import (
    check_segments,
    deal,
    describe_silos,
    read_domain,
    read_planner_task,
    train,
    without_novel,
)

HORIZON = 16


def segments(pairs: tuple[tuple[str, str], ...], each: int = 20) -> SegmentSet:
    labels = torch.from_numpy(pair_labels(pairs)).repeat(each, 1)
    n = len(labels)
    return SegmentSet(
        trajectories=torch.randn(n, HORIZON, TRANSITION, generator=torch.Generator().manual_seed(0)),
        labels=labels,
        lengths=torch.full((n,), HORIZON),
        rows=torch.zeros(n, 2, dtype=torch.long),
        counts={"kept": n},
    )


def test_coverage_is_the_papers() -> None:
    known = torch.from_numpy(pair_labels(KNOWN_PAIRS))
    assert float(SPACE.coverage(known)) == 0.75
    assert float(SPACE.minimum_coverage) == 7 / 16
    SPACE.check_coverage(known)


@pytest.mark.parametrize("kind", ["iid", "noniid", "disjoint"])
def test_no_silo_holds_a_diagonal_move(kind: str) -> None:
    everything = segments(KNOWN_PAIRS + NOVEL_PAIRS)
    silos = deal(everything, kind, 2, alpha=0.3, seed=0)
    held = torch.cat([silo.labels for silo in silos])
    novel = torch.from_numpy(pair_labels(NOVEL_PAIRS))
    assert not (held[:, None] == novel).all(-1).any()
    assert len(held) == len(without_novel(everything)) == 12 * 20
    assert all(len(silo) for silo in silos)
    again = deal(everything, kind, 2, alpha=0.3, seed=0)
    assert all(torch.equal(a.data, b.data) for a, b in zip(silos, again, strict=True))
    assert "TL-TR" in describe_silos(silos, SPACE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": 1}, r"shapes \(240, 16, 17\) and \(239, 2\); \(240, 16, 17\) and \(240, 2\) belong together"),
        ({"labels": "column"}, r"and \(240, 1\)"),
        ({"labels": "beyond"}, "label"),
        ({"labels": "array"}, "give tensors of trajectories and labels"),
        ({"trajectories": "nan"}, "1 of 240 trajectories hold NaN or infinity"),
        ({"trajectories": "short"}, r"shapes \(240, 15, 17\)"),
    ],
)
def test_segments_that_do_not_belong_together_are_refused(change: dict, message: str) -> None:
    """What is trained on labels of other trajectories learns nonsense without a word."""
    good = segments(KNOWN_PAIRS)
    check_segments(good, CUBE, HORIZON)
    trajectories, labels = good.trajectories.clone(), good.labels
    kind = next(iter(change.values()))
    if kind == "nan":
        trajectories[3, 2, 1] = float("nan")
    others = {1: labels[1:], "column": labels[:, :1], "beyond": labels + 3, "array": labels.numpy()}
    wrong = SimpleNamespace(
        trajectories=trajectories[:, 1:] if kind == "short" else trajectories, labels=others.get(kind, labels)
    )
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(check_segments)(wrong, CUBE, HORIZON)


@dataclass(frozen=True)
class Twice(PointMaze):
    novel = (("A", "E"), ("A", "E"))


@dataclass(frozen=True)
class OneWeight(PointMaze):
    guidance = (1.0,)


@dataclass(frozen=True)
class NoneFromA(PointMaze):
    novel = tuple(("A", goal) for goal in PointMaze.space.values[1])


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (Twice, "novel names a combination twice"),
        (OneWeight, "has 1 weights; give one an attribute, 2"),
        (NoneFromA, "what its novel combinations leave does not suffice"),
    ],
)
def test_a_domain_that_could_never_train_is_refused_at_once(domain: type[PointMaze], message: str) -> None:
    with pytest.raises(ValueError, match=f"pointmaze-large: .*{message}"):
        read_domain({"_target_": f"{__name__}.{domain.__name__}"})


def test_what_no_silo_gets_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        deal(segments(KNOWN_PAIRS), "iid", 2, alpha=0.1, seed=0)
        assert not caplog.messages
        deal(segments(KNOWN_PAIRS + NOVEL_PAIRS), "iid", 2, alpha=0.1, seed=0)
    said = "80 of 320 segments are of novel combinations (TL-BR, TR-BL, BL-TR, BR-TL) and in no silo"
    assert caplog.messages == [said]
    with pytest.raises(ValueError, match=r"80 of 80 segments .* none is left to train on; give data of known"):
        deal(segments(NOVEL_PAIRS), "iid", 2, alpha=0.1, seed=0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("silos=0", "silos"),
        ("silos=two", r"see configs/train_planner\.yaml"),
        ("seed=abc", r"see configs/train_planner\.yaml"),
        ("snapshots=perhaps", r"see configs/train_planner\.yaml"),
        ("alpha=-1", r"alpha = -1"),
        ("workers=-1", "workers=-1"),
        ("partition=mine", "unknown partition 'mine'"),
        ("border_margin=-1.0", "border_margin=-1"),
        ("collect.train=0", "collect.train=0"),
        ("task.hold.start=65.0", "hold rates {'start': 65"),
    ],
)
def test_settings_that_cannot_be_are_an_error_before_anything_is_collected(
    tmp_path: Path, override: str, message: str
) -> None:
    given = [f"data={tmp_path / 'play.npz'}", f"out={tmp_path / 'out'}", "device=cpu", override]
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("train_planner", overrides=given)

    def collecting(episodes: int) -> Any:
        raise AssertionError(f"{episodes} episodes are being collected")

    with pytest.raises(ValueError, match=message):
        train(config, collecting=collecting)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "give data= and out= for pointmaze-large"),
        (["out=mine"], "give data= for pointmaze-large"),
        (["data=mine.npz"], "give out= for pointmaze-large"),
        (["data=mine.npz", "partition=iid"], r"out=runs/iid.* give out= for pointmaze-large"),
    ],
)
def test_another_domain_takes_no_names_of_the_cubes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("train_planner", overrides=["domain=maze", "device=cpu", *overrides])
    with pytest.raises(ValueError, match=message):
        train(config)
    assert not list(tmp_path.iterdir())


def test_the_task_has_the_domain_that_was_given_whatever_key_it_refers_to() -> None:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        cube = compose("train_planner", overrides=["border_margin=0.005", "collect.train=7"])
        maze = compose("train_planner", overrides=["domain=maze", "preset=maze", "domain.seed=${seed}", "seed=3"])
    assert read_planner_task(cube).domain == read_domain(cube.domain) == CubeSingle(border_margin=0.005, train=7)
    assert read_planner_task(maze).domain == read_domain(maze.domain) == PointMaze(seed=3)


def test_the_maze_s_preset_brings_its_domain() -> None:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        found, other = (compose("train_planner", overrides=["preset=maze", *more]) for more in ([], ["domain=cube"]))
    assert isinstance(read_domain(found.domain), PointMaze)
    assert isinstance(read_domain(other.domain), CubeSingle)


def test_too_few_pairs_are_refused_before_training(tmp_path: Path) -> None:
    task = PlannerTask(horizon=HORIZON, fold=4, channels=(8, 16), condition=8)
    for pairs, message in (
        ((("TL", "TL"), ("TR", "TR"), ("BL", "BL")), "no silo holds source = BR"),
        ((("TL", "TL"), ("TR", "TR"), ("BL", "BL"), ("BR", "BR")), "C_min"),
    ):
        silos = deal(segments(pairs), "iid", 2, alpha=0.1, seed=0)
        with pytest.raises(CoverageError, match=message):
            Federation(task, silos, tmp_path)
        assert not list(tmp_path.iterdir())


def test_unknown_partition() -> None:
    with pytest.raises(ValueError, match="unknown partition 'non-iid'; the partitions are"):
        deal(segments(KNOWN_PAIRS), "non-iid", 2, alpha=0.1, seed=0)
