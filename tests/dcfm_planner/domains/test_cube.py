"""The cube's data: collected where a file is absent, and never over a file that is somebody else's. Its trials."""

from pathlib import Path

import numpy as np
import pytest

from dcfm_envs import collection
from dcfm_planner.controllers import TrackEffector
from dcfm_planner.domains.cube import CUBE, DATA, CubeSingle
from dcfm_planner.evaluation.problems import make_problems
from dcfm_planner.evaluation.run import EvaluationSettings
from dcfm_planner.evaluation.simulation import Simulations
from dcfm_planner.execution import ExecutionOptions
from dcfm_planner.planner import Planner


def test_a_name_that_may_be_misspelt_is_not_collected(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_text("somebody's")
    with pytest.raises(
        ValueError, match=r"mien\.npz: no such file \(npz files in .*: mine\.npz\); give .* name=mien out="
    ):
        CUBE.segments(str(tmp_path / "mien.npz"), 96)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.npz"]


@pytest.mark.parametrize(
    ("name", "begun", "domain"),
    [
        (DATA, None, CubeSingle(border_margin=0.0)),
        ("mine.npz", None, CubeSingle(train=3)),
        ("mine.npz", "mine-seed0-steps1001.episodes", CUBE),
    ],
)
def test_what_is_meant_to_be_collected_is(
    name: str, begun: str | None, domain: CubeSingle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Collecting(Exception):
        pass

    def collect(plan: collection.CollectionPlan, out: Path, **given: object) -> None:
        raise Collecting(out / f"{given['name']}.npz")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(collection, "collect", collect)
    if begun is not None:
        (tmp_path / begun).mkdir()
    with pytest.raises(Collecting) as found:
        domain.segments(name, 96)
    assert found.value.args == (Path(name),)


@pytest.mark.parametrize("name", ["play", "play.npy", "play.v0"])
def test_only_an_npz_is_collected(name: str, tmp_path: Path) -> None:
    kept = tmp_path / "play.npz"
    kept.write_text("somebody's")
    with pytest.raises(ValueError, match=r"files that end in \.npz; give a file that is there"):
        CubeSingle(train=1, val=0).segments(str(tmp_path / name), 96)
    assert [path.name for path in tmp_path.iterdir()] == ["play.npz"]
    assert kept.read_text() == "somebody's"


def test_files_beside_play_data_are_not_collected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data=.*mine-val\.npz: there is no such file, and none on -marks or -val"):
        CubeSingle(train=1, val=0).segments(str(tmp_path / "mine-val.npz"), 96)
    assert not list(tmp_path.iterdir())


def test_validation_data_of_another_collection_is_not_replaced(tmp_path: Path) -> None:
    other = tmp_path / "play-val.npz"
    other.write_text("somebody's")
    with pytest.raises(ValueError, match=r"play-val\.npz is there and was not collected"):
        CubeSingle(train=1, val=1).segments(str(tmp_path / "play.npz"), 96)
    assert [path.name for path in tmp_path.iterdir()] == ["play-val.npz"]


def test_what_settings_ask_for_is_what_is_tried(
    noise_planner: Planner, simulations: Simulations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcfm_planner.evaluation.trials.Simulations", lambda batch: simulations)
    options = ExecutionOptions(replan_every=5)
    asked = EvaluationSettings("none", trials=12, seed=3, max_steps=6, lookahead=4, options=options)
    bench = CubeSingle().evaluation().bench(noise_planner, asked, 2)
    assert (bench.max_steps, bench.options, bench.controller) == (6, options, TrackEffector(4))
    for cell, expected in make_problems("paper", 12, 3).items():
        np.testing.assert_array_equal(asked.make_problems()[cell].noise_seed, expected.noise_seed)
