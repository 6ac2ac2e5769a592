"""What all trainings share: settings refused before any work, and a folder that belongs to one problem."""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from dcfm.artefacts import load
from dcfm.decentralized import Federation
from dcfm.methods import registry
from dcfm.methods.method import Recipe, check_recipe, without_independence
from dcfm.privacy.settings import PrivacyConfig
from dcfm.published import load_task, publish_task
from dcfm.runs import (
    check_methods,
    check_whole_numbers,
    claim,
    read_recipe,
    read_task,
    train_and_publish,
    trained_on,
)
from dcfm.silos import Silo, silos_hash
from dcfm.toy.task import ToyTask
from dcfm.toy.training import Phase, Training

TASK = {"_target_": "dcfm.toy.task.ToyTask", "attributes": 2, "width": 8, "depth": 1}


class OwnNetwork(ToyTask):
    """A user's, with another network, which a model of it does not tell."""


def silos() -> list[Silo]:
    y = torch.tensor([[0, 0], [0, 1], [1, 0]]).repeat(4, 1)
    return [Silo(f"silo{i}", y.float() + i, y) for i in range(2)]


def without_ci() -> Recipe:
    """A recipe that can be private."""
    plain, sections = Recipe(), ("stage_one", "further", "fedavg", "pooled")
    parts = {name: getattr(plain, name) for name in sections}
    return replace(plain, **{k: replace(p, objective=without_independence(p.objective)) for k, p in parts.items()})


def test_methods_are_registered() -> None:
    check_methods(["ddm_l", "dcfm_b"])
    with pytest.raises(ValueError, match="methods is empty"):
        check_methods([])
    with pytest.raises(ValueError, match="dcfm_c"):
        check_methods(["ddm_l", "dcfm_c"])


def test_a_task_of_the_right_kind() -> None:
    assert read_task(OmegaConf.create({"task": TASK}), ToyTask) == ToyTask(2, 8, 1)
    other = OmegaConf.create({"task": {"_target_": "dcfm.attributes.MaskRates"}})
    with pytest.raises(ValueError, match=r"a MaskRates; what .* is loaded again as dcfm\.toy\.task\.ToyTask"):
        read_task(other, ToyTask)
    own = OmegaConf.create({"task": TASK | {"_target_": f"{__name__}.OwnNetwork"}})
    with pytest.raises(ValueError, match=r"an? OwnNetwork; what .*ToyTask.*\(docs/own-data\.md\)"):
        read_task(own, ToyTask)


@pytest.mark.parametrize("change", [{"width": 0}, {"depths": 3}])
def test_a_task_that_cannot_be(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        read_task(OmegaConf.create({"task": TASK | change}), ToyTask)


def test_a_recipe_that_cannot_be() -> None:
    loop = {"_target_": "dcfm.trainers.loop.LoopConfig", "steps": 0}
    wrong = {"_target_": "dcfm.trainers.local.LocalConfig", "loop": loop}
    with pytest.raises(ValueError, match="steps"):
        read_recipe(OmegaConf.create({"stage_one": wrong, **dict.fromkeys(vars(Recipe()), wrong)}))


@dataclass
class _Part:
    peers_per_round: int | None = None


def test_a_number_that_may_be_left_out_is_whole_too() -> None:
    """As a part of the recipe is checked where no hook looks at types."""
    check_whole_numbers("peers", _Part())
    check_whole_numbers("peers", _Part(2))
    with pytest.raises(ValueError, match=r"peers\.peers_per_round=2\.0; give a whole number"):
        check_whole_numbers("peers", _Part(2.0))  # type: ignore[arg-type]


def test_a_recipe_that_one_method_cannot_take_is_an_error_before_the_first_trains(tmp_path: Path) -> None:
    recipe = without_ci()
    private = replace(recipe, stage_one=replace(recipe.stage_one, privacy=PrivacyConfig(1.0)))
    federation = Federation(ToyTask(2, 8, 1), silos(), tmp_path / "out", workers=0)
    for last in ("dcfm_a", "ddm_l", "dfd"):
        with pytest.raises(ValueError, match="privacy"):
            train_and_publish(federation, ["dcfm_b", last], private, lambda *_, **__: None)
    assert not (tmp_path / "out").exists()


def test_privacy_that_a_method_would_not_train_with_is_an_error(tmp_path: Path) -> None:
    federation, plain = Federation(ToyTask(2, 8, 1), silos(), tmp_path / "out", workers=0), without_ci()

    def private(*sections: str) -> Recipe:
        return replace(plain, **{s: replace(getattr(plain, s), privacy=PrivacyConfig(1.0)) for s in sections})

    for methods, recipe, message in (
        (["fedflow_l"], private("stage_one"), r"stage_one\.privacy is given, with which FedFlow\+L does not train"),
        (["dcfm_b"], private("fedavg"), r"give stage_one\.privacy, or train DCFM-B in a run of its own"),
        (["dcfm_b", "factored"], private("stage_one"), "factored does not train: it would be trained without privacy"),
        (["dcfm_b"], private("stage_one", "pooled"), r"pooled\.privacy: none of DCFM-B trains with that"),
    ):
        with pytest.raises(ValueError, match=message):
            train_and_publish(federation, methods, recipe, lambda *_, **__: None)
    assert not (tmp_path / "out").exists()
    check_recipe([registry.make("dcfm_b"), registry.make("pooled")], private("stage_one"))  # which moves samples anyway


def test_every_method_is_trained_and_published_once(tmp_path: Path) -> None:
    short = Phase(steps=2)
    recipe = Training(width=8, depth=1, batch=4, warmup=1, stage_one=short, peers=short, student=short).recipe()
    federation = Federation(ToyTask(2, 8, 1), silos(), tmp_path, workers=0)
    seen = []

    def publish(folder: Path, experts: object, *, method: str, data_hash: str, metrics: None) -> None:
        seen.append((folder.relative_to(tmp_path).as_posix(), len(experts), method, data_hash))  # type: ignore[arg-type]
        assert (tmp_path / f"{method}.ledger.jsonl").is_file()  # what is published is not trained again

    folders = train_and_publish(federation, ["ddm_l", "dcfm_b"], recipe, publish)
    mark = silos_hash(federation.silos)
    assert seen == [("published/ddm_l", 2, "ddm_l", mark), ("published/dcfm_b", 1, "dcfm_b", mark)]
    assert list(folders) == ["ddm_l", "dcfm_b"]
    assert all((tmp_path / f"{name}.ledger.jsonl").read_text() for name in folders)
    assert load(tmp_path / "dcfm_b").weights


def private_recipe(samples: int) -> Recipe:
    """Short, every training private, batches of half of ``samples``."""
    short = Phase(steps=2, weight=0.0)
    training = Training(
        width=8, depth=1, batch=samples // 2, stage_one=short, peers=short, student=short, fedavg=short, pooled=short
    )
    recipe = training.recipe()
    parts = {name: getattr(recipe, name) for name in ("stage_one", "further", "fedavg", "pooled")}
    return replace(recipe, **{name: replace(part, privacy=PrivacyConfig(1.0)) for name, part in parts.items()})


def test_what_is_trained_privately_tells_its_epsilon_and_no_hash_of_its_data(tmp_path: Path) -> None:
    """Who knows all samples but one could hash them with a guess; by label counts it is still known again."""
    federation, recipe = Federation(ToyTask(2, 8, 1), silos(), tmp_path, workers=0), private_recipe(12)
    recipe = replace(recipe, fedavg=replace(recipe.fedavg, rounds=2))
    names, histograms = ["dcfm_b", "dcfm_b_r", "ddm_l", "pooled"], federation.histograms
    publisher = partial(publish_task, histograms=histograms, task=federation.task, partition="iid", training={})
    folders = train_and_publish(federation, names, recipe, publisher)
    hashed = silos_hash(federation.silos)
    for name, folder in folders.items():
        assert hashed not in "".join(path.read_text() for path in folder.glob("*.json"))
        model = load_task(folder, ToyTask, "cpu", what="a toy model")
        assert trained_on(model, silos())
        fewer = [Silo(silo.name, silo.data[3:], silo.labels[3:]) for silo in silos()]  # of the same combinations
        assert not any(trained_on(model, others) for others in (silos()[:1], fewer))
        costs = model.metadata["metrics"]["privacy"]
        assert set(costs) == ({"pooled"} if name == "pooled" else {"silo0", "silo1"})
    spent_by = {name: json.loads((folders[name] / "artefact.json").read_text())["metrics"]["privacy"] for name in names}
    places = ("stage1_no_ci/silo0", "further_no_ci/silo1", "dcfm_b_r", "pooled")
    one, further, rounds, pooled = (load(tmp_path / place).metadata["metrics"]["privacy"] for place in places)
    assert spent_by["dcfm_b"]["silo0"] == one
    assert spent_by["ddm_l"]["silo1"] == further
    assert spent_by["dcfm_b_r"] == rounds
    assert spent_by["pooled"]["pooled"] == pooled
    assert further["epsilon"] > one["epsilon"]


def test_what_cannot_be_private_is_found_before_anything_trains(tmp_path: Path) -> None:
    """Also where the training that cannot be is not the first."""
    federation, recipe = Federation(ToyTask(2, 8, 1), silos(), tmp_path / "out", workers=0), private_recipe(12)
    term = replace(recipe.fedavg.objective.independence, weight=1.0, share=0.25)
    objective = replace(recipe.fedavg.objective, independence=term)
    recipe = replace(recipe, further=replace(recipe.further, privacy=None), pooled=Recipe().pooled)
    part, large = replace(recipe.fedavg, objective=objective), replace(recipe.fedavg, batch=13)
    for wrong, message in ((part, "share=0.25 must be 1"), (large, "silo 'silo0': batches of 13 from 12 samples")):
        with pytest.raises(ValueError, match=message):
            train_and_publish(federation, ["dcfm_b_r"], replace(recipe, fedavg=wrong), lambda *_, **__: None)
    assert not (tmp_path / "out").exists()


def test_the_hash_is_of_data_and_labels() -> None:
    first, second = silos(), silos()
    assert silos_hash(first) == silos_hash(second)
    second[1].labels[0, 0] = 1 - second[1].labels[0, 0]
    assert silos_hash(first) != silos_hash(second)


def test_what_is_told_is_written_and_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "combinations.json"
    claim(path, {"seed": 0}, {"where": "here"})
    claim(path, {"seed": 0}, {"where": "there"})
    assert json.loads(path.read_text()) == {"seed": 0, "where": "here"}


def test_a_folder_belongs_to_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "combinations.json"
    claim(path, {"seed": 0, "silos": [1, 2]})
    before = path.read_bytes()
    claim(path, {"seed": 0, "silos": [1, 2]})
    with pytest.raises(ValueError, match="seed differ"):
        claim(path, {"seed": 1, "silos": [1, 2]})
    claim(path, {"seed": 0, "silos": [1, 2]}, {"where": "elsewhere"})
    assert path.read_bytes() == before
    path.write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        claim(path, {"seed": 0})
