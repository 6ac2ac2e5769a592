"""One process at a time: a file that a process holds until it ends, however it ends."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class Taken(ValueError):
    """Another process holds the file, and did so for longer than this one waits."""


@contextmanager
def alone(path: Path, patience: float | None = None, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold ``path``; what runs within runs in no other process that asks for the same.

    Args:
        path: of the file; made with its folder if missing, and left there.
        patience: seconds to wait for another process; ``None``: as long as it takes.
        on_wait: called once, if there is another process, with its number as far as it is known.

    Raises:
        Taken: another process still holds it after ``patience`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait(_holder(path))
        try:
            lock.acquire(timeout=-1 if patience is None else patience, poll_interval=0.5)
        except Timeout as error:
            raise Taken(f"process {_holder(path)} holds {path}") from error
    try:
        with contextlib.suppress(OSError):  # where a held file cannot be written to, its holder has no number
            path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "?"
    except OSError:
        return "?"
