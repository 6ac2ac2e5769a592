"""Throughput against a bare loop: what is counted, that overhead shows, and that it is bounded from above."""

import time
from dataclasses import fields, replace

import pytest
import torch

from dcfm.methods.method import Recipe
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.loop import LoopConfig
from dcfm.trainers.objective import IndependenceConfig, ObjectiveConfig
from dcfm.trainers.peers import PeerConfig
from dcfm.trainers.student import ReplayConfig, StudentConfig
from dcfm_images.benchmark import TRAINERS, measure_trainer
from dcfm_images.digits import Digits
from dcfm_images.problem import Problem, make_problem
from dcfm_images.task import ImageTask

TASK = ImageTask(size=8, channels=(8,), condition=8, heads=1)
LOOP = LoopConfig(batch=8)
RECIPE = Recipe(
    stage_one=LocalConfig(LOOP, ObjectiveConfig(independence=IndependenceConfig(share=0.25))),
    peers=PeerConfig(LOOP),
    student=StudentConfig(LOOP, replay=ReplayConfig(paths=8, steps=4, reuse=1.0, held=0.0)),
)


@pytest.fixture
def problem(digits: Digits) -> Problem:
    return make_problem(digits, silos=2, kind="iid")


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_trainer_is_measured(problem: Problem, trainer: str) -> None:
    found = measure_trainer(trainer, TASK, problem, RECIPE, device=torch.device("cpu"), turns=2, steps=3)
    assert found.step_seconds > 0
    assert found.bare_seconds > 0
    assert found.low <= found.ratio <= found.high
    # Beside flow matching, a quarter of the batch sees four terms; three of them are peers' in DCFM-A, or fewer.
    assert found.evaluations.forward == pytest.approx({"stage_one": 2.0, "peers": 2.0, "student": 3.0}[trainer])
    assert found.steps == {"stage_one": 3, "peers": 3, "student": 4}[trainer]
    assert found.evaluations.backward <= 2.0
    plain = found.as_dict()
    assert plain["evaluations"]["forward"] == found.evaluations.forward
    assert plain["samples_per_second"] == pytest.approx(8 / found.step_seconds)


class SlowTask(ImageTask):
    """A task whose batches take long to prepare."""

    def prepare(self, stored: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        return super().prepare(stored, y)


def test_what_a_trainer_adds_lowers_the_ratio(problem: Problem) -> None:
    settings = {field.name: getattr(TASK, field.name) for field in fields(TASK)}
    recipe = replace(RECIPE, stage_one=LocalConfig(LOOP))
    slow = measure_trainer(
        "stage_one", SlowTask(**settings), problem, recipe, device=torch.device("cpu"), turns=2, steps=2
    )
    assert slow.step_seconds > 0.05
    assert slow.ratio == pytest.approx(slow.bare_seconds / slow.step_seconds, rel=0.5)
    assert slow.ratio < 0.5


def test_bad_values(problem: Problem) -> None:
    for trainer, turns, steps in (("further", 2, 1), ("peers", 1, 1), ("peers", 2, 0)):
        with pytest.raises(ValueError, match="the trainers are stage_one, peers, student"):
            measure_trainer(trainer, TASK, problem, RECIPE, device=torch.device("cpu"), turns=turns, steps=steps)
