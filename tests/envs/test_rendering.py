"""Pictures: drawn in a process of its own where a GL works, one clear error where none does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcfm_envs import rendering
from dcfm_envs.rendering import RenderingError, find_gl_backend, prepare_rendering, without_pictures

RECORD = """
import sys, warnings
import gymnasium
import dcfm_envs
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo

assert "mujoco" not in sys.modules, "importing dcfm_envs must leave MUJOCO_GL to be chosen"
env = gymnasium.make(dcfm_envs.CUBE_SINGLE, render_mode="rgb_array")
warnings.simplefilter("error")
check_env(env.unwrapped)
warnings.simplefilter("default")
film = RecordVideo(env, sys.argv[1], episode_trigger=lambda episode: True)
film.reset(seed=0)
for _ in range(5):
    film.step(film.action_space.sample())
picture = film.render()
assert picture.shape == (256, 256, 3) and picture.std() > 5, "the picture is blank"
film.close()
"""


def test_the_checker_and_a_film(tmp_path: Path) -> None:
    """``check_env`` with pictures, and ``RecordVideo``, in a process in which nobody chose a GL."""
    pytest.importorskip("moviepy", reason="Gymnasium's RecordVideo needs moviepy")
    environment = {key: value for key, value in os.environ.items() if key != "MUJOCO_GL"}
    run = subprocess.run(
        [sys.executable, "-c", RECORD, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "mujoco cannot draw on this machine" in run.stderr:
        pytest.skip("no GL works on this machine")
    assert run.returncode == 0, run.stderr
    film = next(tmp_path.glob("*.mp4"))
    assert film.stat().st_size > 1000


EVALUATE_THEN_DRAW = """
import os, sys
import gymnasium
import dcfm_envs
from dcfm_envs.collection import collect_episode
from dcfm_planner.domains.maze import environment
from dcfm_planner.evaluation.ogbench import make_environment
from dcfm_planner.evaluation.simulation import Simulations

places = {"maze": environment, "simulations": lambda: Simulations(1), "ogbench": make_environment,
          "collection": lambda: collect_episode(0, 0, 2)}
assert "mujoco" not in sys.modules
for name, begin in places.items():
    begin()
    assert os.environ.pop("MUJOCO_GL", None) is None, f"{name} leaves drawing switched off for child processes"
plain = gymnasium.make(dcfm_envs.CUBE_SINGLE)
plain.reset(seed=0)
env = gymnasium.make(dcfm_envs.CUBE_SINGLE, render_mode="rgb_array")
env.reset(seed=0)
assert env.render().std() > 5, "the picture is blank"
"""

PLAIN_THEN_DRAW = """
import gymnasium
import dcfm_envs

plain = gymnasium.make(dcfm_envs.CUBE_SINGLE)
plain.reset(seed=0)
env = gymnasium.make(dcfm_envs.CUBE_SINGLE, render_mode="rgb_array")
try:
    env.unwrapped.render()
except gymnasium.error.ResetNeeded:
    env.reset(seed=0)
assert env.render().std() > 5, "the picture is blank"
film = gymnasium.make(dcfm_envs.CUBE_SINGLE, render_mode="rgb_array_list")
film.reset(seed=0)
film.step(film.action_space.sample())
assert len(film.render()) == 2
"""


@pytest.mark.parametrize("program", [EVALUATE_THEN_DRAW, PLAIN_THEN_DRAW], ids=["evaluated", "plain"])
def test_pictures_may_come_later(program: str) -> None:
    """Whatever imports mujoco to draw nothing leaves the variable as it was, and pictures can be drawn afterwards."""
    environment = {key: value for key, value in os.environ.items() if key != "MUJOCO_GL"}
    command = [sys.executable, "-W", "ignore", "-c", program]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if "mujoco cannot draw on this machine" in run.stderr:
        pytest.skip("no GL works on this machine")
    assert run.returncode == 0, run.stderr


def test_a_choice_of_the_user_s_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with without_pictures():
        assert os.environ["MUJOCO_GL"] == "egl"
    assert os.environ["MUJOCO_GL"] == "egl"
    monkeypatch.delenv("MUJOCO_GL")
    with without_pictures():
        assert os.environ["MUJOCO_GL"] == "disable"
    assert "MUJOCO_GL" not in os.environ


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Machines made up: why each backend fails, empty where it works."""
    failures = {"egl": "no EGL", "osmesa": "no OSMesa", "glfw": "no screen"}
    monkeypatch.setattr(rendering, "_failure", lambda backend, timeout: failures[backend])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    return failures


def test_the_first_that_draws_is_taken(backends: dict[str, str]) -> None:
    backends["osmesa"] = backends["glfw"] = ""
    assert find_gl_backend() == "osmesa"


def test_the_user_s_choice_is_not_overridden(backends: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    backends["egl"] = ""
    monkeypatch.setenv("MUJOCO_GL", "OSMesa")
    with pytest.raises(RenderingError, match="MUJOCO_GL=osmesa: no OSMesa"):
        find_gl_backend()


def test_nothing_draws(backends: dict[str, str]) -> None:
    with pytest.raises(RenderingError, match=r"egl: no EGL; .*osmesa: no OSMesa; .*no screen.*apt-get install"):
        find_gl_backend()


def test_switched_off(backends: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(RenderingError, match="MUJOCO_GL=disable switches them off: unset"):
        find_gl_backend()


def test_the_choice_is_set_before_mujoco_is_imported(backends: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    backends["egl"] = ""
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    assert prepare_rendering() == os.environ["MUJOCO_GL"] == "egl"


def test_too_late(backends: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """mujoco is imported already: with drawing off, or with its default, which needs a screen."""

    class Mujoco:
        GLContext = object

    monkeypatch.setitem(sys.modules, "mujoco", object())  # type: ignore[arg-type]
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(RenderingError, match="switched off"):
        prepare_rendering()
    backends["egl"] = ""
    monkeypatch.setitem(sys.modules, "mujoco", Mujoco)  # type: ignore[arg-type]
    assert prepare_rendering() == "egl"
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.delitem(sys.modules, "mujoco.rendering.classic.gl_context", raising=False)
    monkeypatch.delitem(sys.modules, "mujoco.gl_context", raising=False)
    with pytest.raises(RenderingError, match=r"this version cannot choose again: start Python with MUJOCO_GL=egl"):
        prepare_rendering()


def test_a_backend_that_hangs_or_fails_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_PROBE", "import time; time.sleep(60)")
    assert "within 0.2 s" in rendering._failure("hangs", 0.2)
    monkeypatch.setattr(rendering, "_PROBE", "raise RuntimeError('no such display')")
    assert rendering._failure("fails", 10.0) == "RuntimeError: no such display"
    monkeypatch.setattr(rendering, "_PROBE", "raise SystemExit('it drew a black picture')")
    assert rendering._failure("black", 10.0) == "it drew a black picture"
    monkeypatch.setattr(rendering, "_PROBE", "")
    assert rendering._failure("works", 10.0) == ""
