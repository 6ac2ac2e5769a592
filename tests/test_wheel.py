"""The wheel alone, in an empty folder: what it puts into site-packages, and one real trial with shipped weights."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

TRIAL = """
import sys
from pathlib import Path

import gymnasium

import dcfm_envs
import dcfm_planner
from dcfm_planner import PlannerAgent

assert Path(dcfm_planner.__file__).is_relative_to(sys.argv[1]), dcfm_planner.__file__
assert Path(dcfm_envs.__file__).is_relative_to(sys.argv[1]), dcfm_envs.__file__
agent = PlannerAgent.load("cube-single/noniid/dcfm_b", device="cpu")
env = gymnasium.make("dcfm/CubeSingle-v0")
start = {"cube_position": [0.48, 0.15], "goal_position": [0.36, -0.15]}
observation, info = env.reset(seed=0, options=start)
agent.reset(observation, info, seed=0)
for _ in range(200):
    observation, _, _, truncated, info = env.step(agent.act(observation))
    if truncated:
        break
print("success", bool(info["success"]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, so that no build folder appears in the repository
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in files:
        if (REPOSITORY / name).is_file() and name.split("/")[0] not in ("tests", ".ci"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True, capture_output=True, timeout=300)
    (path,) = folder.glob("*.whl")
    return path


def test_top_level_names_and_size(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "dcfm",
        "dcfm_planner",
        "dcfm_envs",
        "dcfm_configs",
        "dcfm_images",
        "dcfm_xray",
    }
    assert "dcfm_planner/weights/cube-single/noniid/dcfm_b/model.safetensors" in names
    assert "dcfm_planner/weights/cube-single/noniid/dcfm_b/README.md" in names  # the model card
    assert "dcfm_images/weights/reader/model.safetensors" in names
    assert "dcfm_xray/label_sets.csv" in names
    assert "dcfm_xray/weights/autoencoder/model.safetensors" in names
    assert {
        "dcfm_configs/plan_eval.yaml",
        "dcfm_configs/images/preset/quick.yaml",
        "dcfm_configs/xray/preset/quick.yaml",
    } <= set(names)
    assert wheel.stat().st_size < 21e6


def test_one_trial_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= {"PYTHONPATH": str(site), "MUJOCO_GL": "disable", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, str(site)], cwd=empty, env=env, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "success True", done.stdout
    assert not list(empty.iterdir())
