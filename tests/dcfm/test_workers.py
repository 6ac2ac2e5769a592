"""A worker ends with the process that started it, even if that one was killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dcfm.workers import end_with_parent, usable_cores

PARENT = """
import multiprocessing, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from dcfm.workers import begin_worker

def work(path):
    for beat in range(6000):
        Path(path).write_text(str(beat))
        time.sleep(0.1)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    with ProcessPoolExecutor(1, mp_context=context, initializer=begin_worker) as pool:
        pool.submit(work, sys.argv[1]).result()
"""


def test_cores_are_those_that_a_process_may_use() -> None:
    assert usable_cores() >= 1
    if hasattr(os, "sched_setaffinity"):
        code = "import os; from dcfm.workers import usable_cores; os.sched_setaffinity(0, {0}); print(usable_cores())"
        code = code.replace("{0}", str({min(os.sched_getaffinity(0))}))
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("how", ["spawn", "fork"])
def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path: Path, how: str) -> None:
    script, beat = tmp_path / "parent.py", tmp_path / "beat"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script), str(beat), how], env=dict(os.environ, OMP_NUM_THREADS="1"))
    wait_until(beat.exists)
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    def still() -> bool:
        before = beat.read_text()
        time.sleep(2)
        return beat.read_text() == before

    wait_until(still)
    assert int(beat.read_text()) < 5000  # it did not come to its own end


def test_a_process_of_its_own_goes_on() -> None:
    assert multiprocessing.parent_process() is None
    end_with_parent()
