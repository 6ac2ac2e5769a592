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
    found = sorted(folder.iterdir(), key=lambda path: path.name)
    plain = [path for path in found if not path.is_symlink() and not path.name.startswith(".")]
    here = [path for path in plain if path.is_file()]
    films = {path.stem for path in here if path.suffix.lower() in VIDEOS}
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
    if left and blocks:
        blocks.append(Folded(f"{len(left)} files not shown", [Text("\n".join(left))]))
    below = [
        section(path, path.name, largest)
        for path in plain
        if path.is_dir() and path.name not in _SKIPPED and not path.name.endswith(".snapshots")
    ]
    return Section(title, blocks, [inner for inner in below if inner.blocks or inner.sections])


def _curve(path: Path) -> Any:
    try:
        return curves.draw(path.stem, read_curve(path))
    except ValueError as error:
        raise ReportError(str(error)) from error
