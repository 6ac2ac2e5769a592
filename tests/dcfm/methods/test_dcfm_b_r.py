"""DCFM-B+R: averaging that starts from the student, for as many updates in all as DCFM-B's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcfm.methods import registry
from dcfm.methods.dcfm_b_r import DcfmBR
from dcfm.methods.method import Recipe, without_independence
from dcfm.privacy.settings import PrivacyConfig
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.loop import LoopConfig
from dcfm.trainers.student import StudentConfig
from dcfm.weights import Weights, fingerprint
from tests.dcfm.federation import federation
from tests.dcfm.test_decentralized import LOCAL, PEERS, STUDENT

FEDAVG = FedAvgConfig(rounds=4, steps=2, batch=8, warmup=1, learning_rate=1e-3)
RECIPE = Recipe(LOCAL, LOCAL, PEERS, STUDENT, FEDAVG, LOCAL)


def distance(a: Weights, b: Weights) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def test_as_many_updates_as_dcfm_b() -> None:
    """Of three silos, with ``further`` a third of the student's steps, as in the presets."""
    recipe = Recipe(
        student=StudentConfig(LoopConfig(steps=3000, warmup=200)),
        further=LocalConfig(LoopConfig(steps=1000)),
        fedavg=FedAvgConfig(learning_rate=1e-3),
    )
    for share in (0.2, 0.5, 0.8):
        method = DcfmBR(share=share, rounds=4)
        student, averaging = method.student(recipe), method.averaging(recipe)
        assert student.loop.steps + 3 * averaging.rounds * averaging.steps == pytest.approx(3000, abs=3 * 4 / 2)
        assert averaging.objective == recipe.fedavg.objective
    assert DcfmBR().averaging(recipe).loop(0).learning_rate == pytest.approx(5e-4)
    # The rate falls on from one long round to the next.
    first, second = (DcfmBR().averaging(recipe).loop(number) for number in (0, 1))
    assert first.learning_rate * first.floor == pytest.approx(second.learning_rate)


def test_averaging_starts_from_the_student(tmp_path: Path) -> None:
    """With a rate of next to nothing the result is the student; with a real one it has moved."""
    run = federation(tmp_path / "still")
    still = DcfmBR(rate=1e-9)
    (result,) = still.train(run, RECIPE, still.exchange(run))
    local = run.stage_one(RECIPE.stage_one)
    student = run.dcfm_b(local, still.student(RECIPE), run.exchange(), "dcfm_b_r_student")
    assert distance(result, student) < 1e-6
    run = federation(tmp_path / "moves")
    (moved,) = DcfmBR().train(run, RECIPE, run.exchange())
    assert distance(moved, student) > 1e-4


def test_dcfm_b_of_the_same_folder_is_another_student(tmp_path: Path) -> None:
    """Stage I is shared; neither method takes the other's student, which has trained for other steps."""
    run = federation(tmp_path)
    (refined,) = registry.make("dcfm_b_r").train(run, RECIPE, run.exchange())
    (student,) = registry.make("dcfm_b").train(run, RECIPE, run.exchange())
    alone = federation(tmp_path / "alone")
    assert distance(student, registry.make("dcfm_b").train(alone, RECIPE, alone.exchange())[0]) == 0
    assert distance(refined, student) > 0


def test_another_start_is_another_averaging(tmp_path: Path) -> None:
    run = federation(tmp_path)
    torch.manual_seed(3)
    start = {name: value.clone() for name, value in run.task.network().state_dict().items()}
    from_start = run.fedavg("a", FEDAVG, run.exchange(), start)
    assert distance(from_start, run.fedavg("b", FEDAVG, run.exchange())) > 1e-3
    assert fingerprint([run.fedavg("a", FEDAVG, run.exchange(), start)]) == fingerprint([from_start])
    with pytest.raises(ValueError, match="other settings, data or predecessors"):
        run.fedavg("a", FEDAVG, run.exchange())


def test_privacy_of_stage_one_counts_in_what_the_rounds_have_spent(tmp_path: Path) -> None:
    plain = without_independence(LOCAL.objective)
    first = replace(LOCAL, objective=plain, privacy=PrivacyConfig(1.0))
    rounds = replace(FEDAVG, objective=plain, privacy=PrivacyConfig(1.0))
    run, method = federation(tmp_path), DcfmBR()
    with pytest.raises(ValueError, match=r"stage_one\.privacy is given and fedavg\.privacy is not"):
        method.train(run, replace(RECIPE, stage_one=first), run.exchange())
    recipe = replace(RECIPE, stage_one=first, fedavg=rounds)
    method.train(run, recipe, run.exchange())
    run.fedavg("alone", method.averaging(recipe), run.exchange())

    def cost(training: str, out: Path = tmp_path) -> dict[str, Any]:
        manifest = json.loads((out / training / "artefact.json").read_text(encoding="utf-8"))
        return manifest["metrics"]["privacy"]["silo0"]

    assert cost("dcfm_b_r")["epsilon"] > cost("alone")["epsilon"] > 0
    assert cost("dcfm_b_r")["secret"]
    # Noise that the server could draw again, in one part, is no secret of the whole.
    known = replace(recipe, stage_one=replace(first, privacy=PrivacyConfig(1.0, secret=False)))
    other = federation(tmp_path / "known")
    method.train(other, known, other.exchange())
    assert cost("dcfm_b_r", tmp_path / "known") == cost("dcfm_b_r") | {"secret": False}


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"share": 0.0}, {"share": 1.0}, {"rate": 0.0}])
def test_settings_that_cannot_be(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give at least one round"):
        DcfmBR(**settings)  # type: ignore[arg-type]
    with pytest.raises(registry.MethodError, match=r"method dcfm_b_r, .* cannot be made with"):
        registry.make("dcfm_b_r", **settings)
