"""Locks: one process at a time, waiting, giving up, and none that outlives its process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcfm.locks import Taken, alone

HOLD = """
import sys, time
from pathlib import Path
from dcfm.locks import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path: Path, seconds: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_next_one_waits_and_says_for_whom(tmp_path: Path) -> None:
    path, heard = tmp_path / "deeper/lock", []
    with holder(path, 1.0) as other, alone(path, on_wait=heard.append):
        assert other.wait(10) == 0  # it had let go before
        assert path.read_text() == str(os.getpid())
    assert heard == [str(other.pid)]
    with alone(path, 0.0, heard.append):
        pass
    assert len(heard) == 1


def test_patience_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, 60) as other:
        with pytest.raises(Taken, match=rf"process {other.pid} holds"), alone(path, 0.2):
            pytest.fail("it was held")
        other.kill()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, 60) as other:
        other.kill()
        other.wait(10)
        with alone(path, 20.0):
            assert path.read_text() == str(os.getpid())


def test_an_error_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyError), alone(path):
        raise KeyError
    with alone(path, 0.0):
        pass
