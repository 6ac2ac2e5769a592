"""Publishing and loading planners: round trip, rules, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcfm.artefacts import ArtefactError, load, save
from dcfm.fields import Composed, Routed
from dcfm.silos import LabelHistogram
from dcfm_planner.agent import PlannerAgent
from dcfm_planner.domains.cube import CUBE
from dcfm_planner.models import (
    METHODS,
    PARTITIONS,
    ModelError,
    Sampling,
    available,
    load_planner,
    publish,
    sampling_of,
    shipped_name,
)
from dcfm_planner.quadrants import KNOWN_PAIRS, SPACE, pair_labels
from dcfm_planner.task import PlannerTask

TASK = PlannerTask(horizon=16, fold=4, channels=(8, 16), condition=8)


def histograms() -> list[LabelHistogram]:
    labels = torch.from_numpy(pair_labels(KNOWN_PAIRS))
    return [LabelHistogram.from_labels(part, SPACE.cardinalities) for part in (labels[:6], labels[4:])]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for method, number in (("dcfm_a", 2), ("dcfm_b", 1)):
        torch.manual_seed(0)
        experts = [TASK.network().state_dict() for _ in range(number)]
        publish(tmp_path / method, experts, histograms(), TASK, method=method, partition="noniid", training={"seed": 0})
    return tmp_path


@pytest.mark.parametrize("method", METHODS)
def test_round_trip_samples_the_same_plan_for_the_same_seed(folder: Path, method: str) -> None:
    labels = torch.from_numpy(pair_labels((("TL", "BR"), ("TL", "TR"))))
    plans = []
    for _ in range(2):
        loaded = load_planner(folder / method, device="cpu")
        assert (loaded.method, loaded.partition) == (method, "noniid")
        plans.append(loaded.planner.sample(labels, torch.Generator().manual_seed(1)).normalised)
    assert torch.equal(plans[0], plans[1])
    assert plans[0].isfinite().all()


def test_rules_choose_the_field(folder: Path) -> None:
    joint = Sampling(rule="joint")
    a, b = (load_planner(folder / m, device="cpu", sampling=joint).planner.field for m in METHODS)
    assert isinstance(a, Routed)
    assert a.joint
    assert not isinstance(b, Composed)
    a, b = (load_planner(folder / m, device="cpu").planner.field for m in METHODS)
    assert isinstance(a, Routed)
    assert not a.joint
    assert isinstance(b, Composed)


def test_guidance_without_effect_is_refused(folder: Path) -> None:
    """DCFM-A's joint rule composes novel pairs; a weight of 1 is none."""
    strong = Sampling(rule="joint", guidance=(2.0, 1.0))
    load_planner(folder / "dcfm_a", device="cpu", sampling=strong)
    load_planner(folder / "dcfm_b", device="cpu", sampling=replace(strong, rule="composed"))
    load_planner(folder / "dcfm_b", device="cpu", sampling=replace(strong, guidance=(1.0, 1.0)))
    for method, weights in (("dcfm_a", CUBE.guidance), ("dcfm_b", (1.0, 1.0))):  # and none is recorded
        assert load_planner(folder / method, device="cpu", sampling=Sampling(rule="joint")).sampling.guidance == weights
    with pytest.raises(ModelError, match=r"guidance=\[2.0, 1.0\] has no effect with rule=joint of dcfm_b"):
        load_planner(folder / "dcfm_b", device="cpu", sampling=strong)


def test_a_training_s_folder_says_which_planners_it_holds(folder: Path) -> None:
    (folder / "published").mkdir()
    for method in METHODS:
        (folder / method).rename(folder / "published" / method)
    with pytest.raises(ModelError, match=r"holds planners and is none; give one of .*/published/dcfm_a, .*/dcfm_b$"):
        load_planner(folder)
    assert load_planner(folder / "published/dcfm_b", device="cpu").method == "dcfm_b"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps=0: a plan takes at least 1 solver step"),
        ({"method": "leapfrog"}, "unknown solver 'leapfrog'; a planner's solvers are euler, midpoint, heun, rk4"),
        ({"method": "adaptive"}, "unknown solver 'adaptive'"),
        ({"guidance": (1.0, float("nan"))}, r"guidance=\[1.0, nan\]: give finite weights"),
        ({"rule": "both"}, "unknown rule 'both'"),
    ],
)
def test_a_sampling_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**given)


def test_unknown_names_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a folder nor a shipped planner"):
        load_planner("cube-single/noniid/dcfm_c")
    with pytest.raises(ModelError, match="partitions are iid, noniid"):
        shipped_name("non-iid", "dcfm_b")
    with pytest.raises(ModelError, match="methods are dcfm_a, dcfm_b"):
        shipped_name("iid", "ddm")
    with pytest.raises(ModelError, match=r"give one weight for each attribute \(source, target\), e.g. 'guidance="):
        load_planner("cube-single/noniid/dcfm_b", device="cpu", sampling=Sampling(guidance=(1.0,)))
    with pytest.raises(ArtefactError, match="no artefact"):
        load_planner(tmp_path)
    with pytest.raises(ModelError, match="use auto or cpu"):
        load_planner("cube-single/noniid/dcfm_b", device="cuda:99")


def test_truncated_and_mismatching_weights(folder: Path) -> None:
    model = folder / "dcfm_b" / "model.safetensors"
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtefactError, match="truncated"):
        load_planner(folder / "dcfm_b")
    model.write_bytes((folder / "dcfm_a" / "model.safetensors").read_bytes())
    with pytest.raises(ArtefactError, match="not the file"):
        load_planner(folder / "dcfm_b")
    model.unlink()
    with pytest.raises(ArtefactError, match="missing"):
        load_planner(folder / "dcfm_b")


def test_columns_in_another_order_are_other_coordinates(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same names and constants: a plan's velocities would be taken for its positions."""
    there = CUBE.layout.coordinates()
    monkeypatch.setattr(type(CUBE.layout), "coordinates", lambda _: dict(reversed(there.items())))
    with pytest.raises(ModelError, match="other coordinates than those of cube-single"):
        load_planner(folder / "dcfm_b")


def test_weights_of_another_architecture(folder: Path) -> None:
    other = PlannerTask(horizon=16, fold=4, channels=(8, 24), condition=8)
    experts = [other.network().state_dict()]
    publish(folder / "x", experts, histograms(), TASK, method="dcfm_b", partition="noniid", training={})
    with pytest.raises(ModelError, match="another architecture"):
        load_planner(folder / "x")


def test_every_shipped_planner_loads_and_plans() -> None:
    names = [name for name in available() if name.startswith(CUBE.name)]
    assert set(names) == {shipped_name(p, m) for p in PARTITIONS for m in METHODS}
    labels = torch.from_numpy(pair_labels((("TL", "BR"),)))
    for name in names:
        loaded = load_planner(name, device="cpu")
        assert name == shipped_name(loaded.partition, loaded.method)
        assert loaded.planner.sample(labels, torch.Generator().manual_seed(0), steps=2).normalised.isfinite().all()


def test_what_is_no_model_is_not_told_to_be_one_of_other_coordinates(folder: Path, tmp_path: Path) -> None:
    """An artefact of a silo's training, which lies beside the published ones."""
    alone = save(tmp_path / "silo0", load(folder / "dcfm_b").weights, {"training": "stage1 silo0", "seed": 0})
    with pytest.raises(ModelError, match=r"is an artefact, but not of a planner \(KeyError\('task'\)\)"):
        load_planner(alone, device="cpu")


def test_what_scripts_ask_for_is_a_sampling_or_none() -> None:
    assert sampling_of() is None
    assert sampling_of(rule="joint", steps=3) == Sampling(3, rule="joint")
    assert sampling_of(solver="euler", guidance=[1.0, 2.0]) == Sampling(method="euler", guidance=(1.0, 2.0))
    with pytest.raises(ValueError, match="unknown rule 'both'"):
        sampling_of(rule="both")


def test_an_agent_plans_as_it_is_asked_to() -> None:
    name, joint = "cube-single/noniid/dcfm_b", Sampling(rule="joint")
    expected = load_planner(name, device="cpu", sampling=joint).planner
    agent = PlannerAgent.load(name, device="cpu", sampling=joint)
    y, noise = torch.tensor([[0, 3]]), torch.Generator().manual_seed(5)
    plan = agent.planner.sample(y, noise)
    assert torch.equal(plan.normalised, expected.sample(y, noise.manual_seed(5)).normalised)
    usual = PlannerAgent.load(name, device="cpu").planner.sample(y, noise.manual_seed(5))
    assert not torch.equal(plan.normalised, usual.normalised)
