"""dcfm/toy/problem.py and training.py: problems from a seed, and errors before work."""

import math

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from dcfm.attributes import MaskRates
from dcfm.toy.problem import ProblemSettings, make_problem, read_problem
from dcfm.toy.training import Phase, Training, read_training
from dcfm.trainers.server import ServerConfig


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


def test_seed_silos_and_alpha_make_the_problem() -> None:
    """Else seeds would not be independent runs."""
    seeds = range(4)
    missing = [make_problem(ProblemSettings(attributes=3, samples=10, seed=seed)).missing for seed in seeds]
    assert len({str(rows.tolist()) for rows in missing}) > 1
    whole = [make_problem(ProblemSettings(silos=1, missing=0, samples=10, seed=seed)).silos[0].data for seed in seeds]
    assert len(torch.unique(torch.stack(whole), dim=0)) == len(seeds)
    dealt = [make_problem(ProblemSettings("dirichlet", silos=3, alpha=alpha)).silos for alpha in (1e6, 1.0)]
    spread = [max(map(len, silos)) - min(map(len, silos)) for silos in dealt]
    assert [len(silos) for silos in dealt] == [3, 3]
    assert spread[0] < 10 < spread[1]


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
    server = {"rule": "momentum", "momentum": 0.5}
    assert read_training({"fedavg_server": server}).recipe().fedavg.server == ServerConfig("momentum", momentum=0.5)
    assert recipe.fedavg.server is None


def test_every_phase_trains_by_its_own_numbers() -> None:
    names = ("stage_one", "peers", "student", "fedavg", "pooled")
    phases = {
        name: Phase(10 + i, (1 + i) / 1000, 0.1 + i / 100, 0.2 + i / 100, 1.0 + i, "held", "own", 0.5 + i / 10)
        for i, name in enumerate(names)
    }
    own = {"batch": 7, "warmup": 3, "ema": 0.9, "rounds": 2, "peers_per_round": 1, "replay_paths": 5, "replay_steps": 4}
    averaging = {"fedavg_rounds": 6, "fedavg_ema": 0.7, "fedavg_continuous": True}
    recipe = Training(**own, **averaging, **phases).recipe()  # type: ignore[arg-type]
    for name, phase in phases.items():
        part = getattr(recipe, name)
        loop, term = part if name == "fedavg" else part.loop, part.objective.independence
        assert (loop.steps, loop.learning_rate, loop.batch) == (phase.steps, phase.learning_rate, 7)
        assert name == "fedavg" or (loop.warmup, loop.ema) == (3, 0.9)
        assert part.objective.masks == MaskRates(1 - phase.marg - phase.uncond, phase.marg, phase.uncond)
        assert (term.weight, term.labels, term.paths, term.share) == (phase.weight, "held", "own", phase.share)
    assert (recipe.further.loop.learning_rate, recipe.further.loop.steps) == (phases["peers"].learning_rate, 22)
    assert (recipe.peers.rounds, recipe.peers.peers_per_round) == (2, 1)
    assert (recipe.student.replay.paths, recipe.student.replay.steps, recipe.student.replay.held) == (5, 4, 0.0)
    assert (recipe.fedavg.rounds, recipe.fedavg.ema, recipe.fedavg.continuous) == (6, 0.7, True)


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
        ({"fedavg_server": "adam"}, "training.fedavg_server='adam'; give the rule, momentum or adam"),
        ({"fedavg_server": {"momentum": 0.5}}, "give the rule, momentum or adam"),
        ({"fedavg_server": {"rule": "adam", "eta": 1}}, "what you like of rule, learning_rate, momentum"),
        ({"fedavg_server": {"rule": "sgd"}}, "training.fedavg_server: rule='sgd' of the server is unknown"),
        (
            {"fedavg_server": {"rule": "adam", "learning_rate": "fast"}},
            "learning_rate=.fast.; give a number",
        ),
    ],
)
def test_bad_training_settings(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_training(given)
