"""dcfm/jobs.py: trainings in processes of their own."""

from collections.abc import Iterator
from itertools import repeat
from operator import truediv
from pathlib import Path
from time import sleep

import pytest

from dcfm.attributes import MaskRates
from dcfm.jobs import pool, spent_in_all
from dcfm.privacy.accounting import epsilon
from dcfm.privacy.settings import PrivacyConfig
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.loop import LoopConfig
from dcfm.trainers.objective import ObjectiveConfig
from tests.dcfm.federation import federation


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


def test_a_warmup_longer_than_the_training_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The learning rate that was set is never reached then."""
    for steps in (4, 40):
        run = federation(tmp_path / str(steps))
        objective = ObjectiveConfig(MaskRates(0.8, 0.1, 0.1))
        run.stage_one(LocalConfig(LoopConfig(steps=steps, batch=8, warmup=20, learning_rate=1e-3), objective))
    told = [record.getMessage() for record in caplog.records if "warmup" in record.getMessage()]
    assert len(told) == 2  # a silo
    assert told[0].startswith(
        "stage1 silo0: the learning rate rises over warmup=20 steps, and steps=4 reach 0.0002 of 0.001"
    )


def test_what_a_training_spent_counts_what_it_comes_from() -> None:
    """At the earlier one's own noise, batch and steps; the noise is secret if that of both is."""
    last, open_noise = PrivacyConfig(2.0), PrivacyConfig(4.0, secret=False)
    before = LocalConfig(LoopConfig(steps=30, batch=20), privacy=open_noise)
    plain = LocalConfig(LoopConfig(steps=30, batch=20))
    alone, both = (spent_in_all(last, 100, 10, 50, earlier) for earlier in ([plain], [plain, before]))
    assert (alone["secret"], both["secret"]) == (True, False)
    assert spent_in_all(open_noise, 100, 10, 50, [])["secret"] is False
    assert alone["epsilon"] == epsilon([(2.0, 0.1, 50)], last.delta)
    assert both["epsilon"] == pytest.approx(epsilon([(2.0, 0.1, 50), (4.0, 0.2, 30)], last.delta))
