"""Plain trials: a planner that knows the walk succeeds where its labels fit, what is given is held, controls differ."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm.attributes import AttributeSpace
from dcfm_planner.domain import Executed
from dcfm_planner.domains.maze import LAYOUT, PointMaze, inside
from dcfm_planner.evaluation import report
from dcfm_planner.evaluation.plain import PlainBench, PlainTrial
from dcfm_planner.evaluation.problems import ProblemError
from dcfm_planner.evaluation.report import metrics, table, write_report
from dcfm_planner.evaluation.run import EvaluationError, EvaluationSettings, Results
from dcfm_planner.evaluation.success import NEVER
from dcfm_planner.evaluation.trials import Timing
from dcfm_planner.execution import ExecutionOptions
from dcfm_planner.planner import Planner

MAZE = PointMaze(walks=1)


@dataclass
class Known:
    """The field whose every path ends in one trajectory; labels are ignored."""

    target: Tensor

    def __call__(self, x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        velocity = (self.target - x) / (1 - t)[:, None, None].clamp(min=1e-3)
        return velocity if held is None else velocity.masked_fill(held, 0.0)


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    """Its every plan is one walk from A to F."""
    segments = MAZE.segments(str(tmp_path_factory.mktemp("maze") / "walks.npz"), 16)
    return Planner(Known(segments.trajectories[0]), 16, 4, "euler", layout=LAYOUT)


def settings(**change) -> EvaluationSettings:
    return EvaluationSettings("none", trials=12, domain=MAZE, **change)


def test_judged_by_the_query(planner: Planner) -> None:
    problems = settings().make_problems()
    assert len(problems["known"].labels) == len(problems["novel"].labels) == 12
    trials, timing = PlainBench(MAZE, planner, False, 800).run(problems["known"], ("planner", "random"))
    assert (timing.plans, len(trials)) == (12, 24)
    assert [t.success for t in trials[:12]] == [t.combination == "A-F" for t in trials[:12]]
    assert all(t.reasons for t in trials if not t.feasible)
    good = trials[0]
    assert good.success_strict
    assert good.distance < 0.5
    assert np.allclose(good.executed[0], good.planned[0], atol=1e-3)


def test_given_starts_and_goals_are_held_and_the_same_for_every_seed(planner: Planner) -> None:
    bench = PlainBench(MAZE, planner, True, 5)
    first, other = (bench.run(settings(protocol="given", seed=s).make_problems()["novel"])[0] for s in (0, 1))
    for trial, again in zip(first, other, strict=True):
        start, goal = trial.combination.split("-")
        assert inside(np.array(trial.start), start)
        assert inside(np.array(trial.goal), goal)
        assert np.allclose([*trial.start, *trial.goal], [*again.start, *again.goal])
        assert trial.noise_seed != again.noise_seed


@dataclass(frozen=True)
class Passing(PointMaze):
    """Every execution takes the steps that it may and is at the goal after some of them alone."""

    at_goal: tuple[int, ...] = ()

    def execute(self, plan: Mapping[str, np.ndarray], labels: Sequence[int], max_steps: int) -> Executed:
        states = np.repeat(plan["position"][:1], max_steps + 1, axis=0)
        return Executed(states, np.isin(np.arange(max_steps + 1), self.at_goal), strict=False)


@pytest.mark.parametrize(
    ("at_goal", "at_start", "success", "first_touch"),
    [((3,), False, False, 3), ((0, 1), True, False, 0), ((6, 7), False, True, 6), ((), False, False, NEVER)],
)
def test_the_last_step_counts(
    planner: Planner, at_goal: tuple[int, ...], at_start: bool, success: bool, first_touch: int
) -> None:
    first = settings().make_problems()["known"].chunks(1)[0]
    (trial,), timing = PlainBench(Passing(walks=1, at_goal=at_goal), planner, False, 7).run(first)
    assert (trial.at_start, trial.success, trial.first_touch) == (at_start, success, first_touch)
    assert trial.reached == trial.success
    assert trial.steps == timing.steps == 7


@dataclass(frozen=True)
class Wrong(PointMaze):
    """Its answers are none."""

    answers: str = "text"

    def check(self, plan: Mapping[str, np.ndarray], labels: Sequence[int]) -> Any:
        return "the start is elsewhere" if self.answers == "text" else []

    def execute(self, plan: Mapping[str, np.ndarray], labels: Sequence[int], max_steps: int) -> Executed:
        steps = 2 * max_steps if self.answers == "long" else 3
        reached = np.ones(2 if self.answers == "short" else steps + 1, dtype=bool)
        return inspect.unwrap(Executed)(np.zeros((steps + 1, 2)), reached, strict=False)

    def draw_ends(self, labels: Sequence[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return np.full(2, np.nan), np.zeros(2)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ("text", r"check\(\) gave 'the start is elsewhere'; it gives a sequence of reasons"),
        (
            "long",
            r"execute\(\) gave states of shape \(15, 2\), reached of shape \(15,\); both have a row a time, 1 to 8",
        ),
        ("ends", r"draw_ends\(\) gave starts or goals that are not finite"),
    ],
)
def test_answers_of_a_domain_that_would_make_a_wrong_table_are_refused(
    planner: Planner, answers: str, message: str
) -> None:
    problems = settings().make_problems()["known"].chunks(1)[0]
    with pytest.raises(ProblemError, match=message):
        PlainBench(Wrong(walks=1, answers=answers), planner, answers == "ends", 7).run(problems)


@dataclass(frozen=True)
class NothingNovel(PointMaze):
    novel = ()


def test_a_cell_without_combinations_has_no_trials(planner: Planner) -> None:
    asked = EvaluationSettings("none", trials=12, domain=NothingNovel(walks=1))
    problems = asked.make_problems()
    assert {cell: len(problem) for cell, problem in problems.items()} == {"known": 12, "novel": 0}
    trials, timing = PlainBench(NothingNovel(walks=1), planner, False, 5).run(problems["known"])
    values = metrics(Results(asked, "m", "p", {}, "0", trials, timing, 1.0, 0), "python")
    assert (values["novel"]["success"]["n"], values["novel"]["success"]["rate"]) == (0, None)
    assert "no trials" in table(values, asked.domain)


@dataclass(frozen=True)
class OneAttribute(PointMaze):
    space = AttributeSpace(names=("side",), values=(("left", "middle", "right"),))
    novel = (("right",),)


def one_attribute() -> Results:
    asked = EvaluationSettings("none", trials=12, domain=OneAttribute())
    trials = [
        PlainTrial("planner", cell, i, side, i, True, (), success=side != "middle")
        for cell, sides in (("known", ("left", "middle")), ("novel", ("right", "right")))
        for i, side in enumerate(sides)
    ]
    return Results(asked, "m", "p", {}, "0", trials, Timing(), 1.0, 0)


def test_a_domain_of_one_attribute_has_a_column() -> None:
    results = one_attribute()
    text = table(metrics(results, "python"), results.settings.domain)
    assert "success by pair (side; * novel)" in text
    assert [line.split() for line in text.splitlines()[-5:-2]] == [
        ["left", "1/1"],
        ["middle", "0/1"],
        ["right", "2/2*"],
    ]


def test_what_was_measured_is_kept_where_the_table_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(values: dict, domain: PointMaze) -> str:
        raise KeyError("left-")

    monkeypatch.setattr(report, "table", fail)
    with pytest.raises(KeyError):
        write_report(one_attribute(), tmp_path, "python", "seed: 0\n")
    assert json.loads((tmp_path / "metrics.json").read_text())["novel"]["success"]["k"] == 2


def test_where_ends_are_given_the_cost_of_acting_has_the_plan_in_it(planner: Planner) -> None:
    for given in (True, False):
        asked = settings(protocol="given" if given else "paper")
        trials, timing = PlainBench(MAZE, planner, given, 5).run(asked.make_problems()["known"])
        values = metrics(Results(asked, "m", "p", {}, "0", trials, timing, 1.0, 0), "python")
        assert values["cost_over_stepping"] == pytest.approx(1 + timing.planning / timing.stepping)
        assert values["max_steps"] == MAZE.max_steps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "mine"}, "the protocols are paper, given"),
        ({"controls": ("oracle",)}, "there are random, null, wrong"),
        ({"max_steps": 801}, "the limit of pointmaze-large"),
        ({"options": ExecutionOptions(replan_every=8)}, "are the cube's"),
        ({"controller": "planned"}, "are the cube's"),
        ({"lookahead": 7}, "controller, lookahead, .* are the cube's"),
    ],
)
def test_bad_settings(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**change)
    assert issubclass(EvaluationError, ValueError)


def test_the_report_is_the_cubes(planner: Planner, tmp_path: Path) -> None:
    asked = settings(controls=("random",))
    bench = PlainBench(MAZE, planner, False, 800)
    trials, timing = [], None
    for problems in asked.make_problems().values():
        found, timing = bench.run(problems, ("planner", "random"))
        trials += found
    assert timing is not None
    results = Results(asked, "dcfm_b", "noniid", {}, "0" * 64, trials, timing, 1.0, 0)
    values = metrics(results, "python x")
    assert (values["known"]["success"]["k"], values["known"]["success"]["n"]) == (1, 12)
    assert values["novel"]["feasible"]["k"] == 0
    assert values["infeasible_reasons"]["the walk starts outside the room asked for"] > 0
    text = table(values, MAZE)
    assert "rows: start, columns: goal" in text
    assert text.splitlines()[-6].split() == ["A", "0/3*", "1/1", "0/1", "0/1"]
    write_report(results, tmp_path / "out", "python x", "seed: 0\n")
    assert (tmp_path / "out" / "paths.png").stat().st_size > 1000
    assert len((tmp_path / "out" / "trials.csv").read_text().splitlines()) == 1 + 48


def test_without_labels_nothing_is_asked(planner: Planner) -> None:
    asked: list[Tensor] = []

    def field(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        asked.append(y)
        return planner.field(x, t, y, held)

    problems = settings().make_problems()["known"].chunks(2)[0]
    trials, _ = PlainBench(MAZE, replace(planner, field=field), False, 5).run(problems, ("null",))
    assert [trial.arm for trial in trials] == ["null"] * 2
    assert all(torch.equal(labels, MAZE.space.null.expand(2, -1)) for labels in asked)
    assert torch.equal(torch.tensor(MAZE.space.cardinalities), MAZE.space.null)
