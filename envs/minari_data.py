"""Play data to and from Minari, the data sets of Gymnasium's makers; exact in both directions.

A row of play data is a state and the action taken in it. Minari wants one observation more than there are actions, so
that an episode of ``n`` rows becomes ``n - 1`` transitions and nothing has to be invented; the last row's action, whose
outcome the play data do not hold, travels in the infos as ``action``, one row an observation. Rewards are 0: play has
none. An episode that ends in ``terminals`` is truncated there (the oracle never stops by itself); the end of the data
in mid-episode is neither.

A data set from elsewhere has no such infos: of its episodes, the rows that have an action are taken.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from gymnasium.spaces import Box

from dcfm_envs.play_data import PlayData, PlayDataError, checked
from dcfm_envs.scene import ACTION_SIZE, CONTROL_PERIOD, STATE_SIZE

if TYPE_CHECKING:
    from minari.data_collector import EpisodeBuffer

INSTALL: Final = "pip install 'dcfm[data]' (Minari with HDF5)"

_ROOT: Final = "MINARI_DATASETS_PATH"
_NAME: Final = re.compile(r"([\w-]+/)*[\w-]+-v\d+")


def _minari() -> Any:
    try:
        import h5py  # noqa: F401 - the storage that is used
        import minari
    except ImportError as error:
        raise PlayDataError(f"Minari cannot be imported ({error}); {INSTALL}") from error
    return minari


@contextmanager
def _root(folder: Path) -> Iterator[None]:
    """Minari keeps data sets under a folder that only the environment tells."""
    before = os.environ.get(_ROOT)
    os.environ[_ROOT] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ROOT]
        else:
            os.environ[_ROOT] = before


def export_minari(play: PlayData, name: str, out: Path | None = None) -> Path:
    """Write play data as a Minari data set, whole or not at all.

    Args:
        play: what to write.
        name: the data set's id, e.g. ``cube-single-play-v0`` or ``mine/cube-single-play-v0``.
        out: the folder of data sets; ``None`` for Minari's own, where ``minari.load_dataset(name)`` finds it.

    Returns:
        The data set's folder, ``out/name``.

    Raises:
        PlayDataError: Minari is missing, the name is none, the data set exists, or an episode has a single row.
    """
    minari = _minari()
    if not _NAME.fullmatch(name):
        raise PlayDataError(f"name={name!r} is no id of a Minari data set; give one like cube-single-play-v0")
    folder = minari.storage.get_dataset_path("") if out is None else out
    target = folder / name
    if target.exists():
        raise PlayDataError(f"{target} exists; delete it, or choose another name= (such as another -v number) or out=")
    buffers = [
        _buffer(minari, play, first, last, number) for number, (first, last) in enumerate(play.episodes().tolist())
    ]
    # Absolute: Minari puts a relative root before its paths more than once.
    incoming = folder.absolute() / f".incoming-{uuid.uuid4().hex[:8]}"
    try:
        with _root(incoming), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="minari")  # that author and code are not given
            minari.create_dataset_from_buffers(
                name,
                buffers,
                observation_space=Box(-np.inf, np.inf, (STATE_SIZE,), np.float32),
                action_space=Box(-1.0, 1.0, (ACTION_SIZE,), np.float32),
                algorithm_name="OGBench's cube oracle, play",
                description=(
                    f"Play data of OGBench's cube-single, {CONTROL_PERIOD} s a step, without rewards (all 0); "
                    "infos/action holds the action of every observation, the last one's too"
                ),
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(incoming / name, target)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return target


def _buffer(minari: Any, play: PlayData, first: int, last: int, number: int) -> EpisodeBuffer:
    steps = last - first - 1
    if steps < 1:
        raise PlayDataError(
            f"episode {number} (row {first}) has a single row, and Minari needs a transition; remove it"
        )
    ends = np.zeros(steps, dtype=bool)
    ends[-1] = play.terminals[last - 1]
    return minari.data_collector.EpisodeBuffer(
        id=number,
        observations=play.observations[first:last],
        actions=play.actions[first : last - 1],
        rewards=np.zeros(steps, dtype=np.float32),
        terminations=np.zeros(steps, dtype=bool),
        truncations=ends,
        infos={"action": play.actions[first:last]},
    )


def import_minari(source: str | os.PathLike[str]) -> PlayData:
    """Read a Minari data set as play data; nothing is downloaded, and nothing in it is executed.

    Args:
        source: the data set's folder (that of ``data``, or ``data`` itself), or the id of a local data set.

    Raises:
        PlayDataError: Minari is missing, there is no such data set, it cannot be read, or it is not one of cube-single
            (see :func:`dcfm_envs.play_data.checked`).
    """
    minari = _minari()
    folder = Path(source)
    if not folder.is_dir():
        folder = minari.storage.get_dataset_path(str(source))
    folder = folder / "data" if (folder / "data").is_dir() else folder
    if not (folder / "metadata.json").is_file():
        raise PlayDataError(
            f"{source} is neither a folder with a Minari data set nor the id of a local one (there is no "
            f"{folder / 'metadata.json'}); list them by `minari list local`, fetch one by `minari download`"
        )
    try:
        spaces = {"observation_space", "action_space"} - json.loads((folder / "metadata.json").read_bytes()).keys()
        if spaces:  # Minari would make the environment that the metadata name, which runs code of the data's choice
            raise ValueError(f"its metadata have no {' and no '.join(sorted(spaces))}")
        episodes = list(minari.MinariDataset(folder).iterate_episodes())
    except Exception as error:  # HDF5, JSON, Arrow and Minari's assertions each have their own kinds
        raise PlayDataError(
            f"{source} cannot be read as a Minari data set ({error!r}); copy or export it again"
        ) from error
    if not episodes:
        raise PlayDataError(f"{source} holds no episodes; export it again")
    rows = [_rows(source, episode, episode is episodes[-1]) for episode in episodes]
    arrays = {key: np.concatenate([part[key] for part in rows]) for key in rows[0]}
    return checked(arrays, f"minari:{source}")


def _rows(source: str | os.PathLike[str], episode: Any, latest: bool) -> dict[str, np.ndarray]:
    if not isinstance(episode.observations, np.ndarray) or not isinstance(episode.actions, np.ndarray):
        raise PlayDataError(
            f"{source}: observations or actions are not plain arrays; these are not data of cube-single"
        )
    actions = (episode.infos or {}).get("action")
    if not (
        isinstance(actions, np.ndarray)
        and len(actions) == len(episode.observations)
        and np.array_equal(actions[: len(episode.actions)], episode.actions)  # others may log what led to a state
    ):
        actions = episode.actions
    terminals = np.zeros(len(actions), dtype=bool)
    if len(actions):
        terminals[-1] = bool(episode.truncations[-1] or episode.terminations[-1]) or not latest
    return {"observations": episode.observations[: len(actions)], "actions": actions, "terminals": terminals}
