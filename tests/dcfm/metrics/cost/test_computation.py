"""Every row that a network evaluates is counted once forward, and once backward if a gradient comes back to it."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from dcfm.metrics.cost import computation
from dcfm.metrics.cost.computation import CountedTask, EvaluationCounter, Evaluations
from dcfm.silos import LabelHistogram
from dcfm.task import Task
from dcfm.toy.task import ToyTask
from dcfm.trainers.loop import LoopConfig
from dcfm.trainers.objective import IndependenceConfig, ObjectiveConfig
from dcfm.trainers.peers import draw_routing
from dcfm.trainers.student import ReplayConfig, StudentConfig, train_student


class TestCounter:
    def test_by_hand(self) -> None:
        counter = EvaluationCounter()
        network = counter.watch(nn.Linear(3, 2))
        (network(torch.ones(5, 3)).square().mean() + network(torch.ones(4, 3)).sum()).backward()
        assert (counter.forward, counter.backward) == (9, 9)
        with torch.no_grad():
            network(torch.ones(7, 3))
        network(torch.ones(2, 3))  # evaluated with a graph that nobody goes back through
        assert (counter.forward, counter.backward) == (18, 9)
        assert counter.per_step(steps=3, batch=3) == Evaluations(2, 1)

    def test_copies_and_several_networks_share_it(self) -> None:
        counter = EvaluationCounter()
        first, second = (counter.watch(nn.Linear(3, 2)) for _ in range(2))
        frozen = deepcopy(first).requires_grad_(False)
        for network in (first, second, frozen):
            output = network(torch.ones(5, 3))
            if output.requires_grad:
                output.sum().backward()
        assert (counter.forward, counter.backward) == (15, 10)

    def test_weights_are_named_as_without(self) -> None:
        task = CountedTask(ToyTask(2, width=4, depth=1), EvaluationCounter())
        assert isinstance(task, Task)
        assert task.network().state_dict().keys() == task.inner.network().state_dict().keys()
        assert (task.space, task.shape) == (task.inner.space, task.inner.shape)
        assert task.draw_held(torch.zeros(2, 2), torch.Generator()) is None


class TestFormulas:
    def test_table_4_for_two_attributes(self) -> None:
        assert computation.matching_evaluations() == Evaluations(1, 1)
        assert computation.local_evaluations(2) == Evaluations(4, 4)
        assert computation.peers_evaluations(2) == Evaluations(4, 2)
        assert computation.student_evaluations(2) == Evaluations(5, 4)

    def test_sharing_the_joint_evaluation_is_all_that_the_paper_saves(self) -> None:
        config = IndependenceConfig(share=1.0)
        for k in (2, 5, 14):
            assert computation.local_as_run(k, config, 8) == Evaluations(k + 3, k + 3)
            assert computation.peers_as_run(k, config, 8, own_terms=1.0) == Evaluations(k + 3, 3)
            student = StudentConfig(LoopConfig(batch=8), replay=ReplayConfig(paths=8, steps=2, reuse=1.0, held=0.0))
            student = replace(student, objective=replace(student.objective, independence=config))
            assert computation.student_as_run(k, student, steps=8) == Evaluations(k + 4, k + 3)

    def test_without_a_ci_term_composing_teachers_leave_one_evaluation(self) -> None:
        alone = ObjectiveConfig(independence=IndependenceConfig(weight=0.0))
        replay = ReplayConfig(paths=8, steps=2, reuse=1.0, held=0.0)
        student = StudentConfig(LoopConfig(batch=8), alone, replay, teachers_compose=True)
        assert computation.student_as_run(2, student, steps=8) == Evaluations(2, 1)

    def test_pairs_cost_the_same_whatever_k(self) -> None:
        config = IndependenceConfig(share=1.0, pairwise=True)
        assert {computation.local_as_run(k, config, 8) for k in (2, 5, 14)} == {Evaluations(5, 5)}
        assert {computation.peers_as_run(k, config, 8, own_terms=2) for k in (2, 5, 14)} == {Evaluations(5, 4)}

    @pytest.mark.parametrize(
        ("share", "weight", "expected"), [(0.25, 1.0, 0.2), (0.01, 1.0, 0.1), (1.0, 0.0, 0.0), (0.26, 1.0, 0.3)]
    )
    def test_the_share_is_of_whole_samples(self, share: float, weight: float, expected: float) -> None:
        assert computation.term_share(IndependenceConfig(share=share, weight=weight), 10) == expected

    @pytest.mark.parametrize("method", ["euler", "midpoint"])
    @pytest.mark.parametrize("held", [0.0, 0.5])
    def test_replay(self, method: str, held: float) -> None:
        """As counted in a training of two blocks and a step; the toy never holds entries."""
        replay = ReplayConfig(paths=8, steps=4, reuse=2.0, held=held, method=method)
        stages = {"euler": 1, "midpoint": 2}[method]
        length = 2 * 8 * 4 * stages // 16
        alone = ObjectiveConfig(independence=IndependenceConfig(weight=0.0))
        config = StudentConfig(LoopConfig(batch=16, steps=2 * length + 1), alone, replay)
        counter = EvaluationCounter()
        task = CountedTask(ToyTask(2, width=4, depth=1), counter)
        histogram = LabelHistogram.from_labels(task.space.combinations(), (2, 2))
        train_student(task, [task.network()], [histogram], config, seed=0)
        steps = config.loop.steps
        assert computation.teacher_as_run(config, steps) == pytest.approx(counter.forward / (steps * 16) - 1)
        assert computation.teacher_as_run(config, 1000 * length, holds=True) == pytest.approx(1 / 2, rel=0.01)


@pytest.mark.parametrize("routing", ["support", "uniform"])
def test_expected_own_terms(routing: str) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(2, (400, 3), generator=generator)
    parts = [y[y[:, 0] == 0], y[y[:, 0] == 1][:50], y[y[:, 1] == 1]]
    histograms = [LabelHistogram.from_labels(part, (2, 2, 2)) for part in parts]
    rows = y.repeat(100, 1)
    for index in range(3):
        drawn = (draw_routing(rows, histograms, index, generator, routing) == index).sum(1).float()
        assert drawn.min() >= 1
        margin = 5 * float(drawn.std()) / len(rows) ** 0.5
        expected = computation.expected_own_terms(histograms, index, y, routing)
        assert float(drawn.mean()) == pytest.approx(expected, abs=margin)
