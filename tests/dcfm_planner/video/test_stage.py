"""What is drawn is seen: in a process of its own, since this one draws nothing."""

import os
import subprocess
import sys

import pytest

DRAW = """
from dcfm_envs.rendering import prepare_rendering
prepare_rendering()
import numpy as np
from dcfm_envs.cube_single import CubeSingle
from dcfm_planner.video.stage import PLANNED_CUBE, PLANNED_EFFECTOR, Stage

env = CubeSingle()
env.reset(seed=0, options={"cube_position": [0.5, 0.2], "goal_position": [0.35, -0.15]})
qpos = env.data.qpos.copy()
stage = Stage(env.model, 160, 120)

def draw(what=lambda sketch: None, qpos=qpos):
    with stage.at(qpos) as sketch:
        what(sketch)
        return sketch.picture().astype(int)

def nearness(picture, colour):  # pixels whose hue is that colour's
    lit = picture / np.maximum(picture.max(axis=-1, keepdims=True), 1)
    wanted = np.array(colour[:3]) / max(colour[:3])
    return int(((np.abs(lit - wanted).max(axis=-1) < 0.15) & (picture.max(axis=-1) > 60)).sum())

plain = draw()
assert plain.shape == (120, 160, 3) and plain.std() > 5, "the picture is blank"
assert (draw() == plain).all(), "the same scene gives the same picture"
path = np.stack([np.linspace(0.5, 0.35, 40), np.linspace(0.2, -0.15, 40), np.full(40, 0.15)], axis=1)
for colour in (PLANNED_CUBE, PLANNED_EFFECTOR):
    drawn = draw(lambda sketch: sketch.path(path, colour, radius=0.008))
    assert (drawn != plain).any(axis=-1).sum() > 50, "the path changes pixels"
    assert nearness(drawn, colour) > nearness(plain, colour) + 20, "the path has its colour"
assert (draw(lambda sketch: sketch.path(path[:1], PLANNED_CUBE)) == plain).all(), "one point is no path"
goal = draw(lambda sketch: sketch.goal(np.array([0.35, -0.15, 0.02])))
assert ((goal - plain)[..., 1] > 20).sum() > 20, "the goal is green"
assert (draw(lambda sketch: sketch.quadrants()) != plain).any(axis=-1).sum() > 100
moved = qpos.copy()
moved[14:16] = 0.4, -0.1
assert (draw(qpos=moved) != plain).any(axis=-1).sum() > 20, "the cube is elsewhere"
assert (env.data.qpos == qpos).all(), "the simulation is left alone"
stage.close()
env.close()
"""


def test_paths_goal_and_quadrants_are_seen() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MUJOCO_GL"}
    command = [sys.executable, "-c", DRAW]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if "mujoco cannot draw on this machine" in run.stderr:
        pytest.skip("no GL works on this machine")
    assert run.returncode == 0, run.stderr
