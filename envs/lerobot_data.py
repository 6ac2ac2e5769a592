"""Play data as a LeRobot data set of format v3.0, written without the package ``lerobot``, which asks for older torch.

Source of the format: ``lerobot.datasets`` of lerobot 0.4.4 (Apache-2.0), whose ``LeRobotDataset`` reads what is written
here (docs/data.md).

==========================================  ===========================================================================
``meta/info.json``                          version, rate, features with types and names, where files lie
``meta/tasks.parquet``                      the one task
``meta/episodes/chunk-000/file-000.parquet``  one row an episode: length, first and last frame, file, statistics
``meta/stats.json``                         per feature: min, max, mean, std, count and quantiles
``data/chunk-000/file-000.parquet``         one row a frame; further files from 100 MB on
==========================================  ===========================================================================

A frame is a row of play data: ``observation.state`` (OGBench's 28 numbers, in its units), ``action`` and ``next.done``,
which is ``terminals``.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any, Final

import numpy as np

from dcfm_envs.play_data import PlayData, PlayDataError
from dcfm_envs.scene import ACTION_SIZE, CONTROL_PERIOD, STATE_SIZE, STATE_SLICES

INSTALL: Final = "pip install 'dcfm[data]' (pyarrow)"

VERSION: Final = "v3.0"
TASK: Final = "Play with the cube: pick it up and put it down elsewhere."
QUANTILES: Final = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}

_FILE: Final = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_CHUNK: Final = 1000
"""Files of a folder."""
_MEGABYTES: Final = 100
"""Of a file of frames, before compression."""
_ACTION_NAMES: Final = ("x", "y", "z", "yaw", "gripper")


def _features() -> dict[str, dict[str, Any]]:
    state = [f"{name}.{i}" for name, part in STATE_SLICES.items() for i in range(part.stop - part.start)]
    single = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64"}
    return {
        "observation.state": {"dtype": "float32", "shape": [STATE_SIZE], "names": state},
        "action": {"dtype": "float32", "shape": [ACTION_SIZE], "names": list(_ACTION_NAMES)},
        "next.done": {"dtype": "bool", "shape": [1], "names": None},
        **{name: {"dtype": kind, "shape": [1], "names": None} for name, kind in single.items()},
        "task_index": {"dtype": "int64", "shape": [1], "names": None},
    }


def _frames(play: PlayData) -> dict[str, np.ndarray]:
    bounds = play.episodes()
    lengths = bounds[:, 1] - bounds[:, 0]
    frame = np.arange(len(play)) - np.repeat(bounds[:, 0], lengths)
    return {
        "observation.state": play.observations,
        "action": play.actions,
        "next.done": play.terminals,
        "timestamp": (frame * CONTROL_PERIOD).astype(np.float32),
        "frame_index": frame.astype(np.int64),
        "episode_index": np.repeat(np.arange(len(bounds)), lengths),
        "index": np.arange(len(play)),
        "task_index": np.zeros(len(play), dtype=np.int64),
    }


def _statistics(values: np.ndarray) -> dict[str, list[Any]]:
    table = values.reshape(len(values), -1).astype(np.float64)
    low, high, exact = table.min(0), table.max(0), values.dtype.kind in "iub"
    found = {"min": low.astype(np.int64) if exact else low, "max": high.astype(np.int64) if exact else high}
    found |= {"mean": table.mean(0), "std": table.std(0)}
    found |= {name: np.quantile(table, q, axis=0) for name, q in QUANTILES.items()}
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(table)]}


def export_lerobot(play: PlayData, folder: Path) -> Path:
    """Write play data as a LeRobot data set, whole or not at all.

    Args:
        play: what to write.
        folder: the data set's, which must not exist; load it by ``LeRobotDataset(any_name, root=folder)``.

    Raises:
        PlayDataError: pyarrow is missing, the folder exists, or there are no rows.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise PlayDataError(f"pyarrow cannot be imported ({error}); {INSTALL}") from error
    if folder.exists():
        raise PlayDataError(f"{folder} exists; delete it, or choose another name= or out=")
    if not len(play):
        raise PlayDataError("there are no rows to export")
    features, frames, bounds = _features(), _frames(play), play.episodes()

    def column(values: np.ndarray) -> pa.Array:
        flat = pa.array(values.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1]) if values.ndim == 2 else flat

    per_file = max(1, _MEGABYTES * 2**20 // sum(v.nbytes // len(play) for v in frames.values()))
    places, start = [], 0  # of each episode: the file's number; a file begins with an episode
    for first, last in bounds.tolist():
        if places and last - start > per_file:
            start = first
        places.append(places[-1] + (start == first) if places else 0)
    incoming = folder.with_name(f".incoming-{uuid.uuid4().hex[:8]}")
    try:
        for number in range(places[-1] + 1):
            mine = bounds[np.asarray(places) == number]
            part = slice(int(mine[0, 0]), int(mine[-1, 1]))
            table = pa.table({name: column(values[part]) for name, values in frames.items()})
            path = incoming / "data" / _FILE.format(chunk_index=number // _CHUNK, file_index=number % _CHUNK)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path, compression="snappy")
        meta = incoming / "meta"
        episodes = meta / "episodes" / _FILE.format(chunk_index=0, file_index=0)
        episodes.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(_episodes(frames, bounds, places)), episodes, compression="snappy")
        _write_tasks(meta)
        statistics = {name: _statistics(values) for name, values in frames.items()}
        (meta / "stats.json").write_text(json.dumps(statistics, indent=4), encoding="utf-8")
        (meta / "info.json").write_text(json.dumps(_info(features, bounds, len(play)), indent=4), encoding="utf-8")
        os.replace(incoming, folder)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return folder


def _episodes(frames: dict[str, np.ndarray], bounds: np.ndarray, places: list[int]) -> list[dict[str, Any]]:
    rows = []
    for number, (first, last) in enumerate(bounds.tolist()):
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [TASK],
            "length": last - first,
            "data/chunk_index": places[number] // _CHUNK,
            "data/file_index": places[number] % _CHUNK,
            "dataset_from_index": first,
            "dataset_to_index": last,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for name, values in frames.items():
            row |= {f"stats/{name}/{key}": value for key, value in _statistics(values[first:last]).items()}
        rows.append(row)
    return rows


def _write_tasks(meta: Path) -> None:
    import pandas

    pandas.DataFrame({"task_index": [0]}, index=[TASK]).to_parquet(meta / "tasks.parquet")


def _info(features: dict[str, Any], bounds: np.ndarray, frames: int) -> dict[str, Any]:
    return {
        "codebase_version": VERSION,
        "robot_type": "ur5e",
        "total_episodes": len(bounds),
        "total_frames": frames,
        "total_tasks": 1,
        "chunks_size": _CHUNK,
        "data_files_size_in_mb": _MEGABYTES,
        "video_files_size_in_mb": 200,
        "fps": round(1 / CONTROL_PERIOD),
        "splits": {"train": f"0:{len(bounds)}"},
        "data_path": f"data/{_FILE}",
        "video_path": None,
        "features": features,
    }
