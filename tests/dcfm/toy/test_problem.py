"""dcfm/toy/problem.py and training.py: problems from a seed, and errors before work."""

import math

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from dcfm.toy.problem import ProblemSettings, make_problem, read_problem
from dcfm.toy.training import Training, read_training


@pytest.mark.parametrize("attributes", [2, 3, 4, 5])
def test_known_and_missing_make_the_space(attributes: int) -> None:
    problem = make_problem(ProblemSettings(attributes=attributes, samples=10, seed=3))
    space = problem.mixture.space
    known, novel = space.split(torch.cat([silo.labels for silo in problem.silos]))
    assert torch.equal(known, problem.known)
    assert torch.equal(novel, problem.missing)
    assert len(novel) == 2**attributes // 4


def test_withheld_combinations_are_known_but_in_no_silo() -> None:
    plain = make_problem(ProblemSettings(attributes=3, samples=10, seed=3))
    reduced = make_problem(ProblemSettings(attributes=3, samples=10, seed=3, withheld=2))
    assert torch.equal(plain.missing, reduced.missing)
    assert len(reduced.withheld) == 2
    assert sorted(reduced.known.tolist()) == plain.known.tolist()
    held = torch.cat([silo.labels for silo in reduced.silos])
    assert not (held[:, None] == torch.cat([reduced.withheld, reduced.missing])).all(-1).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": 1}, "2 to 5"),
        ({"attributes": 6}, "2 to 5"),
        ({"std": 0.0}, "std=0.0"),
        ({"distance": 0.0}, "distance=0.0"),
        ({"partition": "non-iid"}, "iid, noniid, dirichlet"),
        ({"silos": 0}, "silos=0"),
        ({"missing": 2}, "0 to 1 can be"),
        ({"missing": -1}, "0 to 1 can be"),
        ({"withheld": 1}, "0 to 0 can be"),
        ({"samples": 0}, "samples=0"),
        ({"samples": 1}, "give more samples"),
        ({"seed": -1}, "seed=-1"),
        ({"partition": "dirichlet", "alpha": 0.0}, "alpha = 0"),
    ],
)
def test_impossible_problems(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_problem(ProblemSettings(**changes))


def test_a_problem_from_plain_data() -> None:
    assert read_problem({"attributes": 3}) == ProblemSettings(attributes=3)
    assert read_problem({"distance": 2, "missing": None}) == ProblemSettings(distance=2.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 3}, "unknown keys"),
        ({"attributes": "two"}, "attributes='two' of a problem; give a whole number"),
        ({"attributes": 3.0}, "attributes=3.0 of a problem; give a whole number"),
        ({"missing": 1.0}, "missing=1.0 of a problem; give a whole number"),
        ({"samples": True}, "samples=True of a problem; give a whole number"),
        ({"distance": "far"}, "distance='far' of a problem; give a number"),
        ({"std": math.nan}, "std=nan of a problem; give a number"),
        ({"partition": 3}, "partition=3 of a problem; give one by its name"),
    ],
)
def test_plain_data_of_the_wrong_kind(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_problem(given)


def test_a_recipe_is_made_of_the_given_numbers() -> None:
    training = read_training({"batch": 32, "peers": {"steps": 7, "weight": 2}, "rounds": 3, "student": {"marg": 0.2}})
    recipe = training.recipe()
    assert recipe.peers.loop.steps == 7
    assert recipe.peers.rounds == 3
    assert recipe.further.loop.steps == 21
    assert recipe.further.objective == recipe.stage_one.objective
    assert recipe.peers.objective.independence.weight == 2.0
    assert recipe.student.objective.masks.full == pytest.approx(1 - 0.2 - Training().student.uncond)
    assert {c.loop.batch for c in (recipe.stage_one, recipe.peers, recipe.student, recipe.pooled)} == {32}
    assert read_training({}) == Training()


def test_defaults_are_those_of_the_configuration() -> None:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        given = OmegaConf.to_container(compose("toy").training, resolve=True)
    assert read_training(given) == Training()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stage_two": {}}, "unknown key training.stage_two"),
        ({"student": {"lambda": 1}}, "unknown key training.student.lambda"),
        ({"student": 3}, "training.student=3"),
        ({"student": {"labels": 3}}, "training.student.labels=3"),
        ({"student": {"labels": "mine"}}, "labels are 'own', 'global' or 'held'"),
        ({"student": {"steps": 1.5}}, "a whole number"),
        ({"student": {"weight": "much"}}, "give a number"),
        ({"student": {"marg": 1.2}}, "mask rates"),
        ({"width": 0}, "width=0"),
        ({"batch": True}, "training.batch=True"),
    ],
)
def test_bad_training_settings(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_training(given)
