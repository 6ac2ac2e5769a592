"""dcfm/jobs.py: trainings in processes of their own."""

from collections.abc import Iterator
from itertools import repeat
from operator import truediv
from pathlib import Path
from time import sleep

import pytest

from dcfm.jobs import pool


def _done(number: int, folder: Path) -> int:
    sleep(0.05)
    (folder / str(number)).touch()
    return number


def test_arguments_are_drawn_a_few_jobs_ahead(tmp_path: Path) -> None:
    """They may be all peers' weights, of which only some fit into memory at once."""
    ahead = []

    def numbers() -> Iterator[int]:
        for number in range(8):
            ahead.append(number - len(list(tmp_path.iterdir())))
            yield number

    with pool(1) as run:
        assert run(_done, numbers(), repeat(tmp_path)) == list(range(8))
    assert max(ahead) <= 2


def test_an_error_of_one_job_ends_the_others() -> None:
    with pool(2) as run, pytest.raises(ZeroDivisionError):
        run(truediv, [1.0] * 100, [1.0, 0.0, *[1.0] * 98])
