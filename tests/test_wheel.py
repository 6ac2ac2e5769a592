"""The wheel in an empty folder: all files of the packages, imports with no extra, a real trial with shipped weights."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TYPED = ("dcfm", "dcfm_planner", "dcfm_envs", "dcfm_images", "dcfm_xray")

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

IMPORTS = """
import importlib
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

seen, todo = set(), [("dcfm", "")]
while todo:
    name, extra = todo.pop()
    if (name, extra) in seen:
        continue
    seen.add((name, extra))
    for line in metadata.requires(name) or []:
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": extra}):
            todo += [(canonicalize_name(needed.name), also) for also in ("", *needed.extras)]
allowed = {name for name, extra in seen}
owners = metadata.packages_distributions().items()
others = {top for top, names in owners if allowed.isdisjoint(map(canonicalize_name, names))}
assert {"pytest", "flwr", "torchmetrics"} <= others, others


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in others:
            raise ModuleNotFoundError(f"no requirement of dcfm without extras brings {name}", name=name)


sys.meta_path.insert(0, Absent())
for name in sys.argv[2:]:
    found = importlib.import_module(name).__file__
    assert Path(found).is_relative_to(sys.argv[1]), found
print(sys.modules["dcfm"].__version__)
"""


def tracked() -> list[str]:
    """The files of the repository, and those that are to be added to it."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    return [name for name in done.stdout.splitlines() if (REPOSITORY / name).is_file()]


def version(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def run(code: str, site: Path, cwd: Path, *arguments: str) -> str:
    """Python in a folder of its own with the wheel's packages first on the path; returns what it prints."""
    cwd.mkdir(exist_ok=True)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= {"PYTHONPATH": str(site), "MUJOCO_GL": "disable", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(site), *arguments]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, so that no build folder appears in the repository
    for name in tracked():
        if name.split("/")[0] not in ("tests", ".ci"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True, capture_output=True, timeout=300)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


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
    assert {name for name in names if name.endswith("/py.typed")} == {f"{name}/py.typed" for name in TYPED}
    assert {f"dcfm-{version(wheel)}.dist-info/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= set(names)
    assert wheel.stat().st_size < 21e6


def test_every_file_of_the_packages_is_in_it_and_no_other(wheel: Path) -> None:
    told = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    places = {name: told["package-dir"].get(name, name) for name in told["packages"] if "." not in name}
    expected = {
        f"{package}{name.removeprefix(place)}"
        for package, place in places.items()
        for name in tracked()
        if name.startswith(f"{place}/")
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected


def test_every_module_is_imported_without_an_extra(wheel: Path, site: Path, tmp_path: Path) -> None:
    """But those of the federation, which are for the extra ``federated``."""
    files = (path.relative_to(site) for path in sorted(site.rglob("*.py")))
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    modules = [name for name in modules if not name.startswith("dcfm.federated.")]
    assert run(IMPORTS, site, tmp_path / "empty", *modules).split() == [version(wheel)]


def test_one_trial_from_an_empty_folder(site: Path, tmp_path: Path) -> None:
    printed = run(TRIAL, site, tmp_path / "empty")
    assert printed.split("\n")[-2] == "success True", printed
    assert not list((tmp_path / "empty").iterdir())
