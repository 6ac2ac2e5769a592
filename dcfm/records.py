"""A record beside results: what they were made with, and hashes of their files, so that nothing is repeated or mixed.

It is removed before the work and written after it: a folder with a record is complete.
"""

import json
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final

from dcfm import locks
from dcfm.artefacts import file_hash, git_revision, write_text_atomically

log = logging.getLogger(__name__)

METHOD: Final = "method_settings"
"""What records and models call :func:`dcfm.methods.registry.own_settings`. Those of before they kept it are taken at
their word."""


class RecordError(ValueError):
    """Results that are damaged, or were made otherwise than is asked for."""


def command_line() -> str:
    """How this script was called, as it can be called again."""
    return shlex.join(["python", *sys.argv])


def made_by() -> dict[str, str | None]:
    """What every file of results begins with: the command, and the revision of the code that ran."""
    return {"command": command_line(), "git_revision": git_revision()}


def alone_in(folder: Path) -> AbstractContextManager[None]:
    """One process at a time works on a folder of results: another one waits, and then finds what is done. Two at once
    could leave one's record of the other's files."""
    folder = folder.resolve()  # `.` has no name
    waiting = partial(log.warning, "%s: process %s works on it; waiting for it", folder)
    return locks.alone(folder.with_name(f".{folder.name}.lock"), on_wait=waiting)


def begin(record: Path) -> None:
    """Remove a record: what it says will not hold while the work is being done."""
    record.unlink(missing_ok=True)


def finish(record: Path, asked: Mapping[str, Any], files: Sequence[str], kept: Mapping[str, Any] | None = None) -> None:
    """Write a record beside the files that the work gave.

    Args:
        record: path of the record.
        asked: what was asked for, plain values.
        files: names of files in the record's folder.
        kept: further plain values.
    """
    hashes = {name: file_hash(record.parent / name) for name in files}
    text = json.dumps({"asked": dict(asked), "files": hashes, **(kept or {})}, indent=2, allow_nan=False)
    write_text_atomically(record, text + "\n")


def read(record: Path, only: Sequence[str] | None = None) -> dict[str, Any] | None:
    """A record, or ``None`` where the work is not done.

    Args:
        record: its path.
        only: the files of those that it is of to look at; all of them, if not given.

    Raises:
        RecordError: it is damaged, or its files are missing or were changed.
    """
    if not record.is_file():
        return None
    remedy = f"remove {record.parent} and run again, or copy it again"
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        files, _ = found["files"].items(), found["asked"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{record} is damaged ({error!r}); {remedy}") from error
    for name, expected in files:
        if only is not None and name not in only:
            continue
        path = record.parent / name
        if not path.is_file() or file_hash(path) != expected:
            raise RecordError(f"{path} is missing or not the file that {record.name} was written for; {remedy}")
    return found


def check_method(metrics: Path, method: str, *, redo: bool = False) -> None:
    """Raise :class:`RecordError` if a folder's metrics are of another method, whose weights may be the same (DDM's and
    DFD's are); with ``redo``, remove all records in the folder and below, so that everything is made again."""
    try:
        there = json.loads(metrics.read_text(encoding="utf-8")).get("method")
    except (OSError, ValueError, AttributeError):
        return  # nothing there, or nothing that its record holds for
    if there in (None, method):
        return
    if not redo:
        raise RecordError(
            f"{metrics.parent} has the results of {there}, and {method} is asked for; give another out=, or redo=true"
        )
    for record in metrics.parent.rglob("*record.json"):
        begin(record)


def differences(asked: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What was asked for and what a record says, where the two differ; one text a key. Of :data:`METHOD` a record of
    before says nothing."""
    plain = json.loads(json.dumps(dict(asked)))
    return [
        f"{key}: {found.get(key)!r} there, {plain.get(key)!r} asked for"
        for key in {**plain, **found}
        if found.get(key) != plain.get(key) and not (key == METHOD and key not in found)
    ]


def matching(
    record: Path, asked: Mapping[str, Any], *, redo: bool = False, elsewhere: str = "out="
) -> dict[str, Any] | None:
    """A record that was made as asked for; ``None`` where there is none, or, with ``redo``, another one. ``elsewhere``
    is the key that decides where it lies.

    Raises:
        RecordError: the record is damaged, or it was made otherwise and is not to be made again.
    """
    found = read(record)
    if found is None or not (wrong := differences(asked, found["asked"])):
        return found
    if redo:
        return None
    raise RecordError(
        f"{record.parent} was made otherwise ({'; '.join(wrong)}); give redo=true to make it again, the settings that "
        f"it was made with, or another {elsewhere}"
    )


def read_json(path: Path, remedy: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """What :func:`write_json` wrote.

    Args:
        path: of the file.
        remedy: what to do where it is damaged.
        keys: what it must have.

    Raises:
        ValueError: it is damaged; with the remedy.
        OSError: there is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}")
        if missing := sorted(set(keys) - set(found)):
            raise ValueError(f"it lacks {', '.join(missing)}")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); {remedy}") from error
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Plain data, finite numbers only, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
