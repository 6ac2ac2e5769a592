"""Collection is seeded, resumable and whole: how it was cut up leaves no trace in the bytes."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dcfm_envs import collection
from dcfm_envs.collection import CollectionPlan, collect, collect_episode, save_npz, seeded_global_numpy
from dcfm_envs.play_data import load_play
from tests.dcfm.test_workers import wait_until

STEPS = 12


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two train episodes and one for validation, collected in one go."""
    out = tmp_path_factory.mktemp("whole")
    collect(CollectionPlan(train=2, val=1, seed=5, steps=STEPS), out, workers=0)
    return out


def contents(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def test_the_format_is_ogbench_s(whole: Path) -> None:
    arrays = contents(whole / "cube-single-play-v0.npz")
    shapes = {"observations": 28, "actions": 5, "qpos": 21, "qvel": 20}
    assert {key: arrays[key].shape for key in shapes} == {key: (2 * STEPS, n) for key, n in shapes.items()}
    assert all(arrays[key].dtype == np.float32 for key in shapes)
    np.testing.assert_array_equal(np.flatnonzero(arrays["terminals"]), [STEPS - 1, 2 * STEPS - 1])
    np.testing.assert_array_equal(contents(whole / "cube-single-play-v0-marks.npz")["starts"], [0, STEPS])
    assert len(load_play(whole / "cube-single-play-v0-val.npz")) == STEPS


def test_rows_are_states_before_their_actions(whole: Path) -> None:
    """Row t holds the state that action t was taken in: replaying the actions gives the later rows."""
    from dcfm_envs.cube_single import CubeSingle

    arrays = contents(whole / "cube-single-play-v0.npz")
    env = CubeSingle()
    env.reset(seed=0)
    observation = env.set_state(arrays["qpos"][0], arrays["qvel"][0])
    for t in range(STEPS - 1):
        np.testing.assert_allclose(observation, arrays["observations"][t], atol=1e-3)
        observation = env.step(arrays["actions"][t])[0]


def test_resumed_equals_uninterrupted(whole: Path, tmp_path: Path) -> None:
    """One episode first, one killed half-way, then more train episodes than at first: the same arrays."""
    collect(CollectionPlan(train=1, val=0, seed=5, steps=STEPS), tmp_path, workers=0)
    folder = next(tmp_path.glob("*.episodes"))
    first = folder / "episode_000000.npz"
    first.write_bytes(first.read_bytes()[:100])
    seen: list[tuple[int, int]] = []
    plan = CollectionPlan(train=2, val=1, seed=5, steps=STEPS)
    collect(plan, tmp_path, workers=0, on_episode=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    for name in ("cube-single-play-v0", "cube-single-play-v0-val", "cube-single-play-v0-marks"):
        for key, value in contents(whole / f"{name}.npz").items():
            np.testing.assert_array_equal(contents(tmp_path / f"{name}.npz")[key], value)


def test_more_train_episodes_leave_validation_as_it_was(whole: Path, tmp_path: Path) -> None:
    collect(CollectionPlan(train=1, val=1, seed=5, steps=STEPS), tmp_path, workers=0)
    for key, value in contents(whole / "cube-single-play-v0-val.npz").items():
        np.testing.assert_array_equal(contents(tmp_path / "cube-single-play-v0-val.npz")[key], value)


def damage(path: Path, key: str) -> None:
    """Spoil the first byte of one array in an npz file: no compressed block begins with eight ones."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        head = file.getinfo(f"{key}.npy").header_offset
    name, extra = (int.from_bytes(content[head + at : head + at + 2], "little") for at in (26, 28))
    content[head + 30 + name + extra] = 0xFF
    path.write_bytes(content)


def test_damaged_episodes_are_collected_again(whole: Path, tmp_path: Path) -> None:
    """Damage within an array shows when that array is read, and only merging needs them all."""
    (folder,) = whole.glob("*.episodes")
    shutil.copytree(folder, tmp_path / folder.name)
    first, second, val = sorted((tmp_path / folder.name).iterdir())
    damage(first, "observations")
    damage(second, "qvel")
    save_npz(val, {key: value for key, value in contents(val).items() if key != "oracle_starts"})
    collect(CollectionPlan(train=2, val=1, seed=5, steps=STEPS), tmp_path, workers=0)
    for path in (first, second, val):
        for key, value in contents(folder / path.name).items():
            np.testing.assert_array_equal(contents(path)[key], value)


@pytest.mark.parametrize("change", [{"actions": np.zeros((STEPS, 4), np.float32)}, {"qvel": np.zeros((1, 20))}])
def test_episodes_of_another_shape_are_collected_again(
    whole: Path, tmp_path: Path, change: dict[str, np.ndarray]
) -> None:
    (folder,) = whole.glob("*.episodes")
    shutil.copytree(folder, tmp_path / folder.name)
    first = tmp_path / folder.name / "episode_000000.npz"
    save_npz(first, contents(first) | change)
    collect(CollectionPlan(train=2, val=1, seed=5, steps=STEPS), tmp_path, workers=0)
    for key, value in contents(folder / first.name).items():
        np.testing.assert_array_equal(contents(first)[key], value)


def test_another_s_file_is_not_replaced(whole: Path, tmp_path: Path) -> None:
    """Another seed's file, one whose episodes are gone, and what is no play data at all."""
    plan = CollectionPlan(train=2, val=0, seed=5, steps=STEPS)
    (folder,) = whole.glob("*.episodes")
    shutil.copytree(folder, tmp_path / folder.name)
    file = tmp_path / "cube-single-play-v0.npz"
    other = contents(whole / file.name)
    other["observations"] = other["observations"] + 1
    save_npz(file, other)
    before = file.read_bytes()
    with pytest.raises(ValueError, match="not collected with this seed"):
        collect(plan, tmp_path, workers=0)
    shutil.rmtree(tmp_path / folder.name)
    with pytest.raises(ValueError, match="its episodes are gone"):
        collect(plan, tmp_path, workers=0)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == before
    shutil.copytree(folder, tmp_path / folder.name)
    file.write_text("somebody's")
    with pytest.raises(ValueError, match="would be lost"):
        collect(plan, tmp_path, workers=0)


def test_a_smaller_plan_takes_nothing_away(whole: Path, tmp_path: Path) -> None:
    (folder,) = whole.glob("*.episodes")
    shutil.copytree(folder, tmp_path / folder.name)
    file = tmp_path / "cube-single-play-v0.npz"
    shutil.copy(whole / file.name, file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=rf"holds {2 * STEPS} rows, and 1 episodes of {STEPS} steps are asked for"):
        collect(CollectionPlan(train=1, val=0, seed=5, steps=STEPS), tmp_path, workers=0)
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["", "a/b", "play.npz", "play-marks", "play-val"])
def test_names_that_another_file_would_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give a file name without its ending"):
        collect(CollectionPlan(train=1, val=0, steps=STEPS), tmp_path, name=name, workers=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("beside", [True, False], ids=["beside its data", "alone"])
def test_a_file_in_the_marks_place_is_not_replaced(whole: Path, tmp_path: Path, beside: bool) -> None:
    (folder,) = whole.glob("*.episodes")
    shutil.copytree(folder, tmp_path / folder.name)
    if beside:
        shutil.copy(whole / "cube-single-play-v0.npz", tmp_path)
    marks = tmp_path / "cube-single-play-v0-marks.npz"
    save_npz(marks, {"observations": np.zeros((3, 28))})
    with pytest.raises(ValueError, match="holds no marks: it would be lost"):
        collect(CollectionPlan(train=2, val=0, seed=5, steps=STEPS), tmp_path, workers=0)
    assert list(contents(marks)) == ["observations"]


def test_processes_change_nothing(whole: Path, tmp_path: Path) -> None:
    collect(CollectionPlan(train=1, val=0, seed=5, steps=STEPS), tmp_path, workers=1)
    arrays = contents(tmp_path / "cube-single-play-v0.npz")
    for key, value in contents(whole / "cube-single-play-v0.npz").items():
        np.testing.assert_array_equal(arrays[key], value[:STEPS])


KILLED = """
import multiprocessing, sys
from pathlib import Path
from dcfm_envs.collection import CollectionPlan, collect

def told(done, total):
    if done:
        Path(sys.argv[1], "worker").write_text(str(multiprocessing.active_children()[0].pid))

if __name__ == "__main__":
    collect(CollectionPlan(train=500, val=0, steps=300), Path(sys.argv[1]), workers=1, on_episode=told)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_collection_that_is_killed_leaves_no_worker(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    wait_until(lambda: (tmp_path / "worker").exists() and bool((tmp_path / "worker").read_text()))
    place = Path("/proc", (tmp_path / "worker").read_text(), "stat")

    def lives() -> bool:
        return place.exists() and place.read_text().rpartition(")")[2].split()[0] != "Z"

    assert lives()
    parent.kill()
    parent.wait()
    wait_until(lambda: not lives(), 30)


def test_nothing_is_collected_twice(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "collect_episode", lambda *_: pytest.fail("an episode was there already"))
    collect(CollectionPlan(train=2, val=1, seed=5, steps=STEPS), whole, workers=0)


def test_seeds_differ_and_the_global_state_stays() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    one, other = collect_episode(1, 0, 2), collect_episode(2, 0, 2)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert not np.array_equal(one["observations"], other["observations"])
    with pytest.raises(KeyError), seeded_global_numpy(3):
        raise KeyError
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_every_episode_has_a_scene_and_an_oracle_s_noise_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    noise: list[int] = []
    real = collection.seeded_global_numpy
    monkeypatch.setattr(collection, "seeded_global_numpy", lambda seed: noise.append(seed) or real(seed))
    scenes = [collect_episode(seed, episode, 2)["qpos"][0] for seed, episode in ((1, 0), (1, 1), (2, 0))]
    assert len(set(noise)) == 3
    assert len({tuple(scene[-7:-4].tolist()) for scene in scenes}) == 3  # the cube's place


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.npz"
    save_npz(path, {"a": np.arange(3)})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        save_npz(path, {"a": np.arange(4)})
    assert [p.name for p in tmp_path.iterdir()] == ["kept.npz"]
    np.testing.assert_array_equal(contents(path)["a"], np.arange(3))


@pytest.mark.parametrize(
    "arguments", [{"train": 0, "val": 1}, {"train": 1, "val": -1}, {"train": 1, "val": 0, "steps": 1}]
)
def test_impossible_plans(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="train must be at least 1"):
        CollectionPlan(**arguments)
