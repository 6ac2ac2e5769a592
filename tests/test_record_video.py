"""scripts/record_video.py: films that can be read back, and one clear error for each bad input."""

import json
import os
import re
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
from hydra import compose, initialize_config_module

from dcfm_planner.evaluation.trials import Trial
from dcfm_planner.models import load_planner
from dcfm_planner.video.recording import Recording
from tests.commands import run_script, script_module
from tests.films import read_mp4


def run(*overrides: str, gl: str | None = None) -> CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "MUJOCO_GL"}
    environment |= {"MUJOCO_GL": gl} if gl else {}
    return run_script("scripts/record_video.py", "device=cpu", *overrides, environment=environment)


def test_films_of_two_methods_on_one_problem(tmp_path: Path) -> None:
    size = ("width=160", "height=120", "every=10", "max_steps=20")
    done = run("pairs=TL-BR", "methods=[dcfm_a,dcfm_b]", "protocol=given", f"out={tmp_path}", *size)
    if "mujoco cannot draw on this machine" in done.stderr:
        pytest.skip("no GL works on this machine")
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "videos.json").read_text())
    assert values["command"].startswith("python scripts/record_video.py device=cpu pairs=TL-BR")
    names = ["TL-BR-dcfm_a-noniid", "TL-BR-dcfm_b-noniid", "TL-BR-side-by-side"]
    assert list(values["films"]) == names
    assert {path.name for path in tmp_path.iterdir()} == {
        "videos.json",
        *(f"{name}.{ending}" for name in names for ending in ("mp4", "gif")),
    }
    assert values["films"][names[0]]["feasible"]
    assert values["films"][names[0]]["steps"] == 20
    sizes = {}
    for name in names:
        film = read_mp4(tmp_path / f"{name}.mp4")[0]
        assert len(film) == values["films"][name]["frames"] == 3 + 2 * 2  # 3 pictures, the ends held for 1 s at 2 Hz
        assert film[:, :120].std(axis=(1, 2, 3)).min() > 5, "a picture is blank"
        assert (film[0].astype(int) - film[-1]).any()
        assert imageio.imread(tmp_path / f"{name}.gif").std() > 5
        sizes[name] = film.shape[1:3]
    assert sizes[names[0]] == sizes[names[1]]
    assert sizes[names[2]] == (sizes[names[0]][0], 320)
    more = run("pairs=BR-BR", "methods=[dcfm_b]", "protocol=given", f"out={tmp_path}", "formats=[gif]", *size)
    assert more.returncode == 0, more.stderr
    added = json.loads((tmp_path / "videos.json").read_text())["films"]
    assert added == values["films"] | {"BR-BR-dcfm_b-noniid": added["BR-BR-dcfm_b-noniid"]}
    assert added["BR-BR-dcfm_b-noniid"]["files"] == ["BR-BR-dcfm_b-noniid.gif"]
    other = run("pairs=BR-BR", "methods=[dcfm_b]", "protocol=given", "rule=joint", f"out={tmp_path}", *size)
    assert other.returncode == 2
    assert "holds another film BR-BR-dcfm_b-noniid (rule=None there, joint now)" in other.stderr


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return script_module("scripts/record_video.py")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pairs=XX-TL", "pairs: XX-TL; give novel, known, all, or some of"),
        ("methods=[]", "methods=[]: give at least one"),
        ("methods=[mine]", "'mine' is neither a folder nor a shipped planner"),
        ("formats=[avi]", "give some of mp4, gif"),
        ("width=8", "at least 64 pixels"),
        ("every=0", "at least 1 of each"),
        ("protocol=mine", "the protocols are paper, given"),
        ("seed=many", "see configs/record_video.yaml"),
    ],
)
def test_bad_input_is_refused_before_any_work(override: str, message: str, script: ModuleType, tmp_path: Path) -> None:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose("record_video", overrides=["device=cpu", override, f"out={tmp_path / 'out'}"])
    with pytest.raises(ValueError, match=re.escape(message)):
        script.run(config)
    assert not (tmp_path / "out").exists()


def test_films_are_added_to_those_that_lie_there_and_no_other_film_is_replaced(
    script: ModuleType, tmp_path: Path
) -> None:
    def asked(*overrides: str, method: str = "dcfm_b") -> dict[str, Any]:
        with initialize_config_module("dcfm_configs", version_base="1.3"):
            given = script.typed(compose("record_video", overrides=list(overrides)), script.Settings, "record_video")
        planners = {"mine-noniid": load_planner(f"cube-single/noniid/{method}", device="cpu")}
        planners |= {"again": planners["mine-noniid"]} if "columns=1" in overrides else {}
        return script.to_make(given, [("TL", "BR")], planners)

    def lies_there(films: dict[str, Any], **told: Any) -> None:
        (tmp_path / "videos.json").write_text(json.dumps(told | {"films": films}))

    assert script.films_there(tmp_path, asked()) == {}
    lies_there(asked())
    assert script.films_there(tmp_path, asked()) == asked()
    with pytest.raises(ValueError, match=r"another film TL-BR-mine-noniid \(weights_sha256=\w{64} there, \w{64} now\)"):
        script.films_there(tmp_path, asked(method="dcfm_a"))
    with pytest.raises(ValueError, match=r"\(every=2 there, 4 now\); choose another out=, or remove it"):
        script.films_there(tmp_path, asked("every=4"))
    lies_there(asked("columns=1"))
    films = asked("columns=1")
    films["TL-BR-side-by-side"] |= {"columns": 2}
    with pytest.raises(ValueError, match=r"side-by-side \(columns=1 there, 2 now\)"):
        script.films_there(tmp_path, films)
    lies_there({"TL-BR-mine-noniid": {}, "other": {}}, seed=0)  # as older versions wrote it
    assert set(script.films_there(tmp_path, asked())) == {"TL-BR-mine-noniid", "other"}
    with pytest.raises(ValueError, match=r"\(seed=0 there, 1 now\)"):
        script.films_there(tmp_path, asked("seed=1"))
    with pytest.raises(ValueError, match=r"\(rule=None there, joint now\)"):  # which older ones had not
        script.films_there(tmp_path, asked("rule=joint"))
    (tmp_path / "videos.json").write_text("of older films")
    with pytest.raises(ValueError, match=r"videos\.json is damaged .* choose another out="):
        script.films_there(tmp_path, asked())


def test_a_distance_is_told_of_what_was_executed(script: ModuleType) -> None:
    """Feasible or not."""
    told = []
    for distance in (0.25, float("nan")):
        trial = Trial("planner", "novel", 0, "TL", "BR", "diagonal", 0, False, ("no",), distance=distance)
        told.append(script.describe(Recording("mine", trial, np.zeros((1, 21)), ()))["distance_m"])
    assert told == [0.25, None]


def test_without_a_gl_it_says_so_in_one_line(tmp_path: Path) -> None:
    """And what is told of older films stays."""
    (tmp_path / "videos.json").write_text("of older films")
    for gl, message in (("disable", "unset MUJOCO_GL"), ("nonsense", "apt-get install")):
        done = run(f"out={tmp_path}", gl=gl)
        assert done.returncode != 0
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert [path.read_text() for path in tmp_path.iterdir()] == ["of older films"]
