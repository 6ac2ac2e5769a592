"""Play data of the cube scene, collected with OGBench's own plan oracle, in OGBench's own file format.

An episode is a file of its own until all are there: collection can be killed and started again at any point, runs in
any number of processes, and gives the same bytes however it was cut up, because an episode's randomness comes from
``(seed, episode)`` alone.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dcfm.workers import end_with_parent
from dcfm_envs.play_data import UNREADABLE
from dcfm_envs.rendering import without_pictures
from dcfm_envs.scene import ACTION_SIZE, STATE_SIZE

EPISODE_STEPS = 1001
"""Steps of an episode, as in OGBench's public play data."""

ORACLE_NOISE = 0.1
ORACLE_NOISE_SMOOTHING = 0.5

EPISODE_KEYS = ("observations", "actions", "terminals", "qpos", "qvel")
"""Keys of OGBench's own files; ``oracle_starts`` goes to a file beside them."""


@dataclass(frozen=True)
class CollectionPlan:
    """What to collect: ``train`` + ``val`` episodes of ``steps`` steps each, from ``seed``."""

    train: int
    val: int
    seed: int = 0
    steps: int = EPISODE_STEPS

    def __post_init__(self) -> None:
        if self.train < 1 or self.val < 0 or self.steps < 2 or self.seed < 0:
            raise ValueError(
                f"cannot collect train={self.train}, val={self.val} episodes of {self.steps} steps with seed "
                f"{self.seed}: train must be at least 1, val and seed at least 0, steps at least 2"
            )


@contextmanager
def seeded_global_numpy(seed: int) -> Iterator[None]:
    """Seed NumPy's global state for the block and put back what was there: OGBench's oracle draws from it.

    The only place of the project that touches NumPy's global state.
    """
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


def collect_episode(seed: int, episode: int, steps: int = EPISODE_STEPS) -> dict[str, np.ndarray]:
    """One episode of consecutive pick-and-places, a new random target after each.

    Returns ``observations (steps, 28)``, ``actions (steps, 5)``, ``terminals (steps,)``, ``qpos``, ``qvel`` and
    ``oracle_starts``, the steps at which the oracle began a pick-and-place (the first is 0).
    """
    with without_pictures():
        from ogbench.manipspace.envs.cube_env import CubeEnv
        from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

    env_seed, oracle_seed = np.random.SeedSequence([seed, episode]).generate_state(2)
    env: Any = CubeEnv(env_type="single", mode="data_collection", terminate_at_goal=False, visualize_info=False)
    oracle = CubePlanOracle(env=env, noise=ORACLE_NOISE, noise_smoothing=ORACLE_NOISE_SMOOTHING)
    rows: dict[str, list[Any]] = {key: [] for key in EPISODE_KEYS}
    starts = [0]
    with seeded_global_numpy(int(oracle_seed)):
        observation, info = env.reset(seed=int(env_seed))
        oracle.reset(observation, info)
        for step in range(steps):
            action = oracle.select_action(observation, info)
            following, _, _, _, info = env.step(action)
            row = (observation, action, step == steps - 1, info["prev_qpos"], info["prev_qvel"])
            for key, value in zip(EPISODE_KEYS, row, strict=True):
                rows[key].append(value)
            observation = following
            if oracle.done and step < steps - 1:
                starts.append(step + 1)
                oracle.reset(*env.set_new_target())
    arrays = {key: np.asarray(rows[key], dtype=bool if key == "terminals" else np.float32) for key in rows}
    return arrays | {"oracle_starts": np.asarray(starts, dtype=np.int64)}


def save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed npz whole or not at all: under a temporary name first, then renamed."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")  # two processes may collect the same
    try:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _episode_path(folder: Path, episode: int) -> Path:
    return folder / f"episode_{episode:06d}.npz"


def _is_whole(path: Path, steps: int) -> bool:
    """Whether all that :func:`_merge` needs can be read: damage to a key shows only where the key is."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            shapes = {key: file[key].shape for key in (*EPISODE_KEYS, "oracle_starts")}
    except (*UNREADABLE, KeyError):
        return False
    fits = shapes["observations"] == (steps, STATE_SIZE) and shapes["actions"] == (steps, ACTION_SIZE)
    return fits and all(shapes[key][:1] == (steps,) for key in EPISODE_KEYS)


def _begin_worker() -> None:
    """Ctrl-C reaches the whole process group, and the parent alone decides what to do; its end is a worker's too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _collect_to_file(folder: str, seed: int, episode: int, steps: int) -> int:
    save_npz(_episode_path(Path(folder), episode), collect_episode(seed, episode, steps))
    return episode


def episodes_folder(plan: CollectionPlan, out: Path, name: str) -> Path:
    """Where the episodes of a collection into ``out/name.npz`` wait."""
    return out / f"{name}-seed{plan.seed}-steps{plan.steps}.episodes"


def collect(
    plan: CollectionPlan,
    out: Path,
    *,
    name: str = "cube-single-play-v0",
    workers: int = 1,
    on_episode: Callable[[int, int], None] | None = None,
) -> tuple[Path, Path]:
    """Collect what ``plan`` asks for into ``out/name.npz`` and ``out/name-val.npz`` and return the two paths.

    Args:
        plan: number of episodes, their length and the seed.
        out: folder; made when absent. Episodes wait in :func:`episodes_folder` until all are there and stay there, so
            that a larger plan with the same seed goes on where this one ended.
        name: file name without ending; the oracle's marks go to ``name-marks.npz`` and ``name-val-marks.npz``.
        workers: processes; 0 collects in this process.
        on_episode: called with (done, total) at the start and after each episode.

    Train episodes are numbered from 0, validation episodes from 1,000,000, so that growing one never moves the other.

    Raises:
        ValueError: a name that is none, or a file that is to be written is there and does not come of this collection's
            episodes, or holds more of them; before any work.
    """
    if not name or "/" in name or name.endswith((".npz", "-marks", "-val")):
        raise ValueError(
            f"name={name!r}; give a file name without its ending, and not one on -marks or -val as the files beside it"
        )
    folder = episodes_folder(plan, out, name)
    splits = {"": range(plan.train), "-val": range(1_000_000, 1_000_000 + plan.val)}
    for suffix, numbers in splits.items():
        if len(numbers):
            _check_own(out / f"{name}{suffix}.npz", [_episode_path(folder, e) for e in numbers], plan.steps)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [episode for numbers in splits.values() for episode in numbers]
    missing = [e for e in wanted if not _is_whole(_episode_path(folder, e), plan.steps)]
    done = len(wanted) - len(missing)
    notify = on_episode or (lambda done, total: None)
    notify(done, len(wanted))
    if workers == 0:
        for episode in missing:
            _collect_to_file(str(folder), plan.seed, episode, plan.steps)
            done += 1
            notify(done, len(wanted))
    elif missing:
        with ProcessPoolExecutor(workers, initializer=_begin_worker) as pool:
            jobs = [pool.submit(_collect_to_file, str(folder), plan.seed, e, plan.steps) for e in missing]
            try:
                for job in as_completed(jobs):
                    job.result()
                    done += 1
                    notify(done, len(wanted))
            except BaseException:  # an interrupt, a full disk: what runs is finished, what waits is dropped
                pool.shutdown(cancel_futures=True)
                raise
    paths = []
    for suffix, numbers in splits.items():
        paths.append(out / f"{name}{suffix}.npz")
        if len(numbers):
            _merge([_episode_path(folder, e) for e in numbers], paths[-1], plan.steps)
    return paths[0], paths[1]


def _check_own(path: Path, parts: list[Path], steps: int) -> None:
    """Whether ``path`` and its marks may be written: absent, or of these episodes, as far as can be seen."""
    marks = _marks(path)
    if marks.exists() and _rows(marks, "starts") < 0:
        raise ValueError(f"{marks} is there and holds no marks: it would be lost. Give another name, or move it away")
    if not path.exists():
        return
    there = [(row * steps, part) for row, part in enumerate(parts) if part.exists()]
    whole = next(((row, part) for row, part in there if _is_whole(part, steps)), None)
    if not there or (whole is not None and not _begins_with(path, *whole)):
        raise ValueError(
            f"{path} is there and was not collected with this seed and these steps, or its episodes are gone: it would "
            "be lost. Give another name or folder, or move it away"
        )
    rows = _rows(path)
    if rows > len(parts) * steps:
        raise ValueError(
            f"{path} holds {rows} rows, and {len(parts)} episodes of {steps} steps are asked for: what is more would "
            "be lost. Ask for as many, give another name or folder, or move it away"
        )


def _marks(path: Path) -> Path:
    """The file of the oracle's marks beside one of play data."""
    return path.with_name(path.stem + "-marks.npz")


def _rows(path: Path, array: str = "observations") -> int:
    """Rows of one of a file's arrays; -1 if there is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return len(file[array])
    except (*UNREADABLE, LookupError):
        return -1


def _begins_with(path: Path, row: int, part: Path) -> bool:
    """Whether a file of play data holds an episode's observations from ``row`` on; a smaller one cannot, and may."""
    try:
        with np.load(path, allow_pickle=False) as file, np.load(part, allow_pickle=False) as episode:
            found, wanted = file["observations"][row:], episode["observations"]
    except (*UNREADABLE, LookupError):
        return False
    return not len(found) or np.array_equal(found[: len(wanted)], wanted)


def _merge(parts: list[Path], path: Path, steps: int) -> None:
    episodes = []
    for part in parts:
        with np.load(part, allow_pickle=False) as file:
            episodes.append({key: file[key] for key in file.files})
    save_npz(path, {key: np.concatenate([e[key] for e in episodes]) for key in EPISODE_KEYS})
    starts = [e["oracle_starts"] + i * steps for i, e in enumerate(episodes)]
    save_npz(_marks(path), {"starts": np.concatenate(starts)})
