"""Recordings: the trials of an evaluation, with every step and plan remembered."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_envs.scene import CUBE_REST_HEIGHT
from dcfm_planner.controllers import TrackEffector
from dcfm_planner.evaluation.problems import KNOWN_PAIRS, NOVEL_PAIRS, ProblemError, make_problems
from dcfm_planner.evaluation.trials import Workbench
from dcfm_planner.execution import ExecutionOptions
from dcfm_planner.planner import Planner
from dcfm_planner.video.recording import Recorder, choose_pairs, choose_problem

STEPS = 6


def at_rest(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
    return torch.zeros_like(x)


PLANNER = Planner(at_rest, 16, steps=1, method="euler")


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder(PLANNER, TrackEffector(), ExecutionOptions(replan_every=2), max_steps=STEPS)


def test_pairs_by_word_and_by_name() -> None:
    assert choose_pairs("novel") == NOVEL_PAIRS
    assert choose_pairs("known") == KNOWN_PAIRS
    assert len(choose_pairs("all")) == 16
    assert choose_pairs("TL-BR") == (("TL", "BR"),)
    assert choose_pairs(["TL-TR", "TL-BR", "TL-TR"]) == (("TL", "TR"), ("TL", "BR"))
    with pytest.raises(ProblemError, match=r"pairs: TL-XX; give novel, known, all, or some of TL-TL"):
        choose_pairs(["TL-XX"])
    with pytest.raises(ProblemError, match="pairs: nothing"):
        choose_pairs([])
    with pytest.raises(ProblemError, match="pairs=None: give novel"):
        choose_pairs(None)


@pytest.mark.parametrize("protocol", ["paper", "given"])
def test_problems_are_those_of_an_evaluation(protocol: str) -> None:
    problem = choose_problem(("TR", "BL"), protocol, 2, seed=3)
    cell = make_problems(protocol, 20, seed=3)["novel"]
    index = NOVEL_PAIRS.index(("TR", "BL")) + 2 * len(NOVEL_PAIRS)
    assert problem.index.tolist() == [index]
    assert problem.noise_seed[0] == cell.noise_seed[index]
    assert problem.labels.tolist() == cell.labels[index : index + 1].tolist()
    with pytest.raises(ProblemError, match="problem=-1"):
        choose_problem(("TR", "BL"), protocol, -1, 0)


@pytest.mark.parametrize(("pair", "there"), [(("TR", "BL"), 75), (("TR", "TR"), 25)])
def test_given_problems_end(pair: tuple[str, str], there: int) -> None:
    assert len(choose_problem(pair, "given", there - 1, 0)) == 1
    with pytest.raises(ProblemError, match=f"problem={there}: of {'-'.join(pair)} there are {there} given"):
        choose_problem(pair, "given", there, 0)


def test_a_plan_that_is_not_executed_shows_the_scene_at_rest_whatever_was_filmed_before() -> None:
    """The planner's plans are all alike and lie in no quadrant that was asked for: infeasible as the paper asks."""
    recorder = Recorder(PLANNER, TrackEffector(), ExecutionOptions(), max_steps=STEPS)
    infeasible = choose_problem(("TL", "BR"), "paper", 0, 0)
    first = recorder.record(infeasible, "mine")
    moved = recorder.record(choose_problem(("TL", "BR"), "given", 0, 0), "mine")
    again = recorder.record(infeasible, "mine")
    assert not first.executed
    assert moved.executed
    np.testing.assert_array_equal(first.qpos, again.qpos)
    np.testing.assert_allclose(again.cube, [[*again.trial.start, CUBE_REST_HEIGHT]])
    assert np.abs(again.qpos[0, :6]).max() > 0.1  # the arm is where a reset puts it, not at zero
    assert not np.array_equal(again.qpos[0], moved.qpos[-1])


def test_a_recording_has_every_step_and_plan(recorder: Recorder) -> None:
    problem = choose_problem(("TL", "BR"), "given", 0, 0)
    recording = recorder.record(problem, "mine")
    assert recording.executed
    assert recording.pair == "TL-BR"
    assert recording.qpos.shape == (STEPS + 1, 21)
    assert (np.abs(np.diff(recording.qpos[:, :6], axis=0)).max(axis=1) > 0).all()
    np.testing.assert_allclose(recording.cube[0, :2], recording.trial.start, atol=1e-3)
    assert [step for step, _ in recording.plans] == [0, 2, 4]
    np.testing.assert_allclose(recording.plan_at(3).goal[0], recording.goal, atol=1e-6)
    assert recording.plan_at(3) is recording.plans[1][1]
    assert recording.distance_at(STEPS) == pytest.approx(recording.trial.distance, abs=1e-3)
    assert recording.status_at(STEPS).endswith("no success")
    assert "cm from the goal" in recording.status_at(0)


def test_watching_changes_nothing(recorder: Recorder) -> None:
    problem = choose_problem(("TL", "BR"), "given", 1, 0)
    watched = recorder.record(problem, "mine").trial
    bench = Workbench.__new__(Workbench)
    bench.__dict__ |= recorder.bench.__dict__ | {"watch": None}
    alone = bench.run(problem)[0][0]
    assert watched.distance == alone.distance
    np.testing.assert_array_equal(watched.executed, alone.executed)


def test_what_is_infeasible_is_shown_and_not_executed(recorder: Recorder) -> None:
    recording = recorder.record(choose_problem(("TL", "BR"), "paper", 0, 0), "mine")
    assert not recording.trial.feasible
    assert recording.trial.reasons
    assert len(recording.qpos) == 1
    assert recording.status_at(0) == "not executed"
    ((step, plan),) = recording.plans
    assert step == 0
    np.testing.assert_array_equal(plan.cube_position[0, :, :2], recording.trial.planned)


def test_what_is_infeasible_and_executed_is_captioned_as_it_moves(recorder: Recorder) -> None:
    """Where start and goal are given, a plan is executed whatever is found wrong with it."""
    problem = choose_problem(("TL", "BR"), "given", 0, 0)
    recording = recorder.record(replace(problem, labels=problem.labels[:, ::-1].copy()), "mine")
    assert not recording.trial.feasible
    assert recording.executed
    assert len(recording.qpos) == STEPS + 1
    assert "cm from the goal" in recording.status_at(0)
    assert recording.status_at(STEPS).endswith("no success")
