"""Reading play data in OGBench's file format: the public ``cube-single-play-v0.npz`` and what ``collection`` writes.

Nothing in a file is executed: arrays of objects are refused, and everything is checked before it is used.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from dcfm_envs.scene import ACTION_SIZE, STATE_SIZE, STATE_SLICES, broken_yaw

REQUIRED_KEYS: Final = ("observations", "actions", "terminals")

UNREADABLE: Final = (OSError, EOFError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged npz file can raise, wherever the damage is."""

_REMEDY: Final = "collect a fresh one (python scripts/collect.py) or download OGBench's cube-single-play-v0.npz again"


class PlayDataError(ValueError):
    """A file of play data cannot be used; the text names the file, what is wrong and what to do."""


@dataclass(frozen=True)
class PlayData:
    """Consecutive episodes of play, one row a control step.

    Attributes:
        observations: OGBench's state vectors *before* each action, in OGBench's units (``dcfm_envs.scene``).
        actions: what was then done, in [-1, 1].
        terminals: true in the last row of each episode.
    """

    observations: Float32[np.ndarray, "n 28"]
    actions: Float32[np.ndarray, "n 5"]
    terminals: Bool[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.observations)

    def episodes(self) -> Int[np.ndarray, "episodes 2"]:
        """First row and one past the last row of each episode; rows after the last terminal are one more episode."""
        if not len(self):
            return np.zeros((0, 2), dtype=np.int64)
        stops = np.flatnonzero(self.terminals) + 1
        if not len(stops) or stops[-1] != len(self):
            stops = np.append(stops, len(self))
        return np.stack([np.concatenate([[0], stops[:-1]]), stops], axis=1).astype(np.int64)

    def part(self, name: str) -> Float[np.ndarray, "n width"]:
        """The columns of a quantity of ``dcfm_envs.scene.STATE_SLICES``, in OGBench's units."""
        if name not in STATE_SLICES:
            raise ValueError(f"unknown quantity {name!r}; a state has {', '.join(STATE_SLICES)}")
        return self.observations[:, STATE_SLICES[name]]


def _array(path: Path, file: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    try:
        return file[key]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise PlayDataError(
            f"{path}: {key!r} is an array of objects, and reading one could run code; store plain numbers or {_REMEDY}"
        ) from error


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise PlayDataError(f"{path}: no such file; {_REMEDY}")
    if not zipfile.is_zipfile(path):  # NumPy would take it for a pickle, and say so
        raise PlayDataError(f"{path} is truncated or not an npz file; {_REMEDY}")
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = [key for key in REQUIRED_KEYS if key not in file.files]
            if missing:
                raise PlayDataError(
                    f"{path} has no {', '.join(missing)}; it holds {', '.join(file.files) or 'nothing'}, and play data "
                    f"needs {', '.join(REQUIRED_KEYS)}; {_REMEDY}"
                )
            return {key: _array(path, file, key) for key in REQUIRED_KEYS}
    except PlayDataError:
        raise
    except UNREADABLE as error:
        raise PlayDataError(f"{path} is truncated or not an npz file ({error}); {_REMEDY}") from error


def _check(path: str | os.PathLike[str], arrays: dict[str, np.ndarray]) -> None:
    rows = len(arrays["observations"]) if arrays["observations"].ndim else 0
    shapes = {"observations": (rows, STATE_SIZE), "actions": (rows, ACTION_SIZE), "terminals": (rows,)}
    for key, shape in shapes.items():
        array = arrays[key]
        if array.dtype.kind not in "fiub":
            raise PlayDataError(f"{path}: {key!r} holds {array.dtype}, not numbers; {_REMEDY}")
        if array.shape != shape:
            raise PlayDataError(
                f"{path}: {key!r} has shape {array.shape} where {shape} is needed (states of {STATE_SIZE} numbers, "
                f"actions of {ACTION_SIZE}, one row a step: OGBench's cube-single); {_REMEDY}"
            )
        if not rows:
            raise PlayDataError(f"{path} holds no steps; {_REMEDY}")
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise PlayDataError(f"{path}: {key!r} holds NaN or infinite values, first in row {row}; {_REMEDY}")
    if (worst := float(np.abs(arrays["actions"]).max())) > 1.0 + 1e-3:
        raise PlayDataError(f"{path}: an action is {worst:g}, and OGBench's actions lie in [-1, 1]; {_REMEDY}")
    if (broken := broken_yaw(arrays["observations"])) is not None:
        raise PlayDataError(
            f"{path}: these are not states of OGBench's cube-single ({broken} in the observations); {_REMEDY}"
        )


def load_play(path: str | os.PathLike[str]) -> PlayData:
    """Read and check a file of play data.

    Args:
        path: an npz file with ``observations (n, 28)``, ``actions (n, 5)`` and ``terminals (n,)``; further keys
            (``qpos``, ``qvel``) are left unread.

    Raises:
        PlayDataError: the file is absent, truncated or not npz; a key is missing; a shape is wrong; a value is NaN,
            infinite, an object or an action outside [-1, 1]; the states are not those of cube-single.
    """
    return checked(_read(Path(path)), path)


def checked(arrays: dict[str, np.ndarray], source: str | os.PathLike[str]) -> PlayData:
    """Play data from arrays of any origin.

    Args:
        arrays: those of :data:`REQUIRED_KEYS`.
        source: where they are from, for the error's text.

    Raises:
        PlayDataError: see :func:`load_play`, from the shapes on.
    """
    _check(source, arrays)
    return PlayData(
        observations=arrays["observations"].astype(np.float32, copy=False),
        actions=arrays["actions"].astype(np.float32, copy=False),
        terminals=arrays["terminals"].astype(bool, copy=False),
    )
