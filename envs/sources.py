"""Where play data come from: a file in OGBench's format, or ``minari:`` and a data set."""

from __future__ import annotations

from typing import Final

from dcfm_envs.minari_data import import_minari
from dcfm_envs.play_data import PlayData, load_play

MINARI: Final = "minari:"
"""What the name of a Minari data set begins with: ``minari:cube-single-play-v0``, ``minari:data/minari/mine``."""


def is_file(source: str) -> bool:
    """Whether a source is a file."""
    return not source.startswith(MINARI)


def open_play(source: str) -> PlayData:
    """Read and check play data.

    Args:
        source: the path of an npz file (:func:`dcfm_envs.play_data.load_play`), or ``minari:`` and the folder or id of
            a data set (:func:`dcfm_envs.minari_data.import_minari`).

    Raises:
        PlayDataError: there is none, or it cannot be used.
    """
    return load_play(source) if is_file(source) else import_minari(source.removeprefix(MINARI))
