"""scripts/export_data.py: to Minari and back is the same file, to LeRobot a folder; bad input is one line."""

from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from dcfm_envs.play_data import load_play
from dcfm_planner.segments import cut
from tests.commands import run_script


def run(*overrides: str) -> CompletedProcess[str]:
    return run_script("scripts/export_data.py", *overrides)


@pytest.fixture
def play(tmp_path: Path) -> Path:
    """Two pick-and-places, in an episode each, whose cube is lifted, carried and put down."""
    steps = 120
    height = np.interp(np.arange(steps), [0, 31, 40, 60, 68, steps], [0.02, 0.02, 0.15, 0.15, 0.02, 0.02])
    observations = np.zeros((2 * steps, 28), np.float32)
    observations[:, [15, 22, 26]] = 1
    observations[:, 19] = np.tile(np.interp(np.arange(steps), [40, 60], [0.8, -0.8]), 2)
    observations[:, 20] = np.repeat([1.2, -1.2], steps)
    observations[:, 21] = 10 * np.tile(height, 2)
    actions = np.random.default_rng(0).uniform(-1, 1, (2 * steps, 5)).astype(np.float32)
    path = tmp_path / "mine-v0.npz"
    np.savez(path, observations=observations, actions=actions, terminals=np.arange(2 * steps) % steps == steps - 1)
    return path


def test_to_minari_and_back(play: Path, tmp_path: Path) -> None:
    there = run("format=minari", f"data={play}", f"out={tmp_path}/minari")
    assert there.returncode == 0, there.stderr
    assert there.stdout == f"wrote {tmp_path}/minari/mine-v0: 2 episodes, 240 steps\n"
    back = run("format=npz", f"data=minari:{tmp_path}/minari/mine-v0", f"out={tmp_path}/back", "name=again")
    assert back.returncode == 0, back.stderr
    old, new = load_play(play), load_play(tmp_path / "back/again.npz")
    for name in ("observations", "actions", "terminals"):
        assert getattr(old, name).tobytes() == getattr(new, name).tobytes()
    a, b = cut(old), cut(new)
    assert len(a) == 2
    for name in ("trajectories", "labels", "lengths", "rows"):
        assert getattr(a, name).equal(getattr(b, name))


def test_bad_input_is_one_line(play: Path, tmp_path: Path) -> None:
    done = run("format=rlds", f"data={play}", f"out={tmp_path}/new")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the formats are minari, lerobot, npz" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
