"""Sampling: noise of its own for each combination, solvers by their evaluations, choices that see known pairs only."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from dcfm.fields import Field
from dcfm.methods.sampling import CANDIDATES
from dcfm.selection import LeakError
from dcfm.solvers import CountingField
from dcfm_images.features import feature_space
from dcfm_images.judging import Judge
from dcfm_images.models import load
from dcfm_images.pictures import colour_digits
from dcfm_images.problem import SPACE
from dcfm_images.reader import load_reader
from dcfm_images.sampling import Solver, choose, sample

COMBINATIONS = torch.tensor([[0, 3], [4, 4], [9, 0]])
CPU = torch.device("cpu")


@dataclass
class Towards:
    """A field that carries every start straight to one shade a label; sees what it was asked."""

    asked: list[torch.Tensor] = field(default_factory=list)

    def __call__(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor, held: Any = None) -> torch.Tensor:
        self.asked.append(y)
        target = (y[:, 1].float() / 5 - 1)[:, None, None, None]
        return (target - x) / (1 - t).clamp(min=0.02)[:, None, None, None]


def draw(field: Field, **changes: Any) -> Any:
    settings: dict[str, Any] = {"seed": 0, "solver": Solver("euler", 3), "device": CPU, **changes}
    return sample(field, (3, 4, 4), COMBINATIONS, 5, **settings)


def test_pictures_of_what_was_asked_for() -> None:
    pictures = draw(Towards())
    assert torch.equal(pictures.labels, COMBINATIONS.repeat_interleave(5, dim=0))
    shades = (pictures.labels[:, 1] / 5 * 127.5).round()
    assert (pictures.images.float().mean((1, 2, 3)) - shades).abs().max() <= 1


def test_noise_belongs_to_the_combination() -> None:
    still = torch.zeros_like
    together = sample(
        lambda x, t, y, held=None: still(x), (3, 4, 4), COMBINATIONS, 4, seed=7, solver=Solver(), device=CPU
    )
    alone = sample(
        lambda x, t, y, held=None: still(x),
        (3, 4, 4),
        COMBINATIONS[1:2],
        4,
        seed=7,
        solver=Solver(),
        device=CPU,
        batch=3,
    )
    assert torch.equal(together.images[4:8], alone.images)
    assert not torch.equal(together.images[:4], together.images[4:8])
    other = sample(lambda x, t, y, held=None: still(x), (3, 4, 4), COMBINATIONS, 4, seed=8, solver=Solver(), device=CPU)
    assert not torch.equal(together.images, other.images)


@pytest.mark.parametrize(("name", "evaluations", "used"), [("euler", 25, 25), ("midpoint", 25, 24), ("rk4", 25, 23)])
def test_evaluations_are_kept_to(name: str, evaluations: int, used: int) -> None:
    solver, counting = Solver(name, evaluations), CountingField(Towards())
    draw(counting, solver=solver, batch=100)
    assert solver.used == counting.evaluations == used


@pytest.mark.parametrize(("name", "evaluations"), [("adaptive", 25), ("midpoint", 1), ("rk4", 2), ("euler", 0)])
def test_impossible_solvers(name: str, evaluations: int) -> None:
    with pytest.raises(ValueError, match=r"fixed-step solvers|at least as many"):
        Solver(name, evaluations)


def test_a_diverged_model_is_an_error() -> None:
    with pytest.raises(ValueError, match="not finite"):
        draw(lambda x, t, y, held=None: x * torch.inf)
    with pytest.raises(ValueError, match="at least one"):
        sample(Towards(), (3, 4, 4), COMBINATIONS, 0, seed=0, solver=Solver(), device=CPU)


def test_chosen_by_known_combinations_alone(trained: Any) -> None:
    model, problem, reader = load(trained.publish("dcfm_b"), "cpu"), trained.problem, load_reader()
    reference = colour_digits(problem.reference, problem.known, 2, seed=1)
    judge = Judge(feature_space("digits", reader), reader.reader, {"known": reference}, draws=1)
    seen: list[tuple[int, int]] = []
    found = choose(
        model, judge, each=2, seed=1, solver=Solver("euler", 2), on_candidate=lambda *done: seen.append(done)
    )
    assert list(found.scores) == list(CANDIDATES)
    assert torch.equal(found.known, problem.known)
    assert found.scores["joint"][1] == 200  # 2 generated and 2 real ones of 50 combinations
    assert seen[-1] == (6, 6)
    assert "k = 3" in found.criterion
    one = choose(model, judge, each=2, seed=1, solver=Solver("euler", 2), rules=("joint",))
    assert one.chosen == "joint"
    assert one.scores["joint"] == found.scores["joint"]


def test_a_rule_is_judged_by_how_it_answers_novel_combinations_too(trained: Any) -> None:
    """DCFM-A's joint rule composes for those: it scores the worse of the two."""
    model, known, reader = load(trained.publish("dcfm_a"), "cpu"), trained.problem.known, load_reader()
    field, solver = model.sampled(CANDIDATES["joint"]), Solver("euler", 2)
    own, other = (sample(field, model.task.shape, known, 2, seed=seed, solver=solver, device=CPU) for seed in (1, 2))
    judge = Judge(feature_space("digits", reader), reader.reader, {"known": other}, draws=1)
    scores = choose(model, judge, each=2, seed=1, solver=solver, rules=("joint", "composed")).scores
    assert judge.successes(own, "known")[0] > scores["composed, w = 1"][0]
    assert scores["joint"] == scores["composed, w = 1"]


def test_novel_combinations_are_refused(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the selection to ask about a novel combination, it would be stopped."""
    model, problem, reader = load(trained.publish("dcfm_b"), "cpu"), trained.problem, load_reader()
    reference = colour_digits(problem.reference, problem.known, 2, seed=1)
    judge = Judge(feature_space("digits", reader), reader.reader, {"known": reference}, draws=1)
    honest = sample
    monkeypatch.setattr(
        "dcfm_images.sampling.sample",
        lambda field, shape, combinations, each, **more: honest(field, shape, SPACE.combinations(), each, **more),
    )
    with pytest.raises(LeakError, match="no known combination"):
        choose(model, judge, each=2, seed=1, solver=Solver("euler", 2))
