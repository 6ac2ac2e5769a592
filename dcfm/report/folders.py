"""A folder of results as a section: its files in a fixed order, its loss curves, its subfolders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from dcfm.curves import LOSSES, TENSORBOARD, read_curve
from dcfm.report import curves, files
from dcfm.report.blocks import Folded, Section, Text
from dcfm.report.files import READERS, VIDEOS, ReportError

_SKIPPED: Final = ("hydra", "cache", "collect-settings", TENSORBOARD, LOSSES)
"""Subfolders that hold no results of their own."""


def section(folder: Path, title: str, largest: int) -> Section:
    """Everything that can be shown of a folder and those below it.

    Links are not followed: a report holds only what lies in the folder.

    Args:
        folder: of results.
        title: of the section.
        largest: bytes of a file above which it is only named.

    Raises:
        ReportError: a file is damaged.
    """
    shown, left = _walk(folder, title, largest)
    named = [Folded(f"{len(left)} files not shown", [Text("\n".join(left))])] if left else []
    return Section(title, [*shown.blocks, *named], shown.sections)


def _walk(folder: Path, title: str, largest: int) -> tuple[Section, list[str]]:
    """The folder's section, and the names of the files that are not in it, below it too."""
    found = sorted(folder.iterdir(), key=lambda path: path.name)
    plain = [path for path in found if not path.is_symlink() and not path.name.startswith(".")]
    here = [path for path in plain if path.is_file()]
    films = {path.stem for path in here if path.suffix.lower() in VIDEOS and path.stat().st_size <= largest}
    blocks: list[Any] = []
    left = [path.name for path in found if path.is_symlink()]
    for ending in READERS:
        for path in here:
            if path.suffix.lower() != ending or (ending == ".gif" and path.stem in films):
                continue
            if path.stat().st_size > largest:
                left.append(f"{path.name} ({path.stat().st_size / 1e6:.1f} MB)")
            else:
                blocks += files.read(path)
    if (folder / LOSSES).is_dir():
        blocks += [_curve(path) for path in sorted((folder / LOSSES).glob("*.csv")) if not path.is_symlink()]
    left += [path.name for path in here if path.suffix.lower() not in READERS]
    below = []
    for path in plain:
        if not path.is_dir() or path.name in _SKIPPED or path.name.endswith(".snapshots"):
            continue
        inner, names = _walk(path, path.name, largest)
        if inner.blocks or inner.sections:
            below.append(inner)
        left += [f"{path.name}/{name}" for name in names]
    return Section(title, blocks, below), left


def _curve(path: Path) -> Any:
    try:
        return curves.draw(path.stem, read_curve(path))
    except ValueError as error:
        raise ReportError(str(error)) from error
