"""An evaluation's settings are checked before any work, and its results do not depend on how work is shared."""

import numpy as np
import pytest

from dcfm_planner.evaluation import run
from dcfm_planner.evaluation.problems import Problems
from dcfm_planner.evaluation.run import EvaluationError, EvaluationSettings, evaluate
from dcfm_planner.evaluation.trials import Timing, Trial
from dcfm_planner.models import ModelError

WEIGHTS = "cube-single/noniid/dcfm_b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"controls": ("oracles",)}, "unknown controls 'oracles'; there are oracle, random, null, wrong, actions"),
        ({"controller": "pid"}, "unknown controller 'pid'; there are track, planned"),
        ({"workers": -1}, "workers=-1"),
        ({"max_steps": 201}, "max_steps=201: give 1 to 200"),
        ({"protocol": "p"}, "unknown protocol"),
        ({"trials": 0}, "trials=0"),
        ({"lookahead": -2}, "lookahead=-2"),
    ],
)
def test_settings_that_cannot_be(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationSettings(WEIGHTS, **change)


def test_unknown_weights_are_an_error_before_any_work() -> None:
    with pytest.raises(ModelError, match="neither a folder nor a shipped planner"):
        evaluate(EvaluationSettings("cube-single/noniid/dcfm_z"))
    assert issubclass(EvaluationError, ValueError)


class Bench:
    """Trials that take no time."""

    def run(self, problems: Problems, arms: tuple[str, ...]) -> tuple[list[Trial], Timing]:
        trials = [
            Trial(arm, problems.cell, int(i), "TL", "TL", "same", int(seed), feasible=True, reasons=())
            for arm in arms
            for i, seed in zip(problems.index, problems.noise_seed, strict=True)
        ]
        return trials, Timing(planning=1.0, plans=len(problems))


def test_chunks_come_back_whole_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "make_workbench", lambda settings: Bench())
    seen: list[tuple[int, int]] = []
    settings = EvaluationSettings(WEIGHTS, trials=25, workers=0, controls=("null",), device="cpu")
    results = evaluate(settings, lambda done, total: seen.append((done, total)))
    assert seen == [(0, 50), (20, 50), (25, 50), (45, 50), (50, 50)]
    order = [(trial.cell, trial.arm, trial.index) for trial in results.trials]
    assert order == [(c, a, i) for c in ("known", "novel") for a in ("planner", "null") for i in range(25)]
    np.testing.assert_array_equal(
        [t.noise_seed for t in results.trials[:25]], settings.make_problems()["known"].noise_seed
    )
    assert results.timing.plans == 50
    assert (results.method, results.partition) == ("dcfm_b", "noniid")
