"""Coloured digits over the Flower app: the result is that of the in-process federation, and loads as its models do."""

from pathlib import Path

import pytest

from dcfm.federated.settings import composed
from dcfm.federated.tasks import FederatedTask, read_task
from dcfm.published import ModelError
from dcfm_images import models
from dcfm_images.lineage import problem_of
from tests.dcfm.federated.equality import assert_run_equals_in_process
from tests.dcfm_images.test_training import SMALL

TINY = (*(word for word in SMALL if not word.startswith(("workers", "device"))), "task=images", "arrival=5")


@pytest.mark.parametrize("protocol", ["dcfm_a", "dcfm_b"])
def test_equals_the_in_process_federation(protocol: str, folder: Path, tmp_path: Path) -> None:
    words = (*TINY, f"protocol={protocol}", f"folder={folder}", "seed=3")
    loaded = models.load(assert_run_equals_in_process(words, tmp_path), "cpu")
    assert loaded.task.size == 8
    assert len(loaded.known) == 50
    with pytest.raises(ModelError, match=r"federation.*scripts/images/train\.py"):
        problem_of(loaded, folder=folder)


def test_presets_and_bad_settings() -> None:
    assert isinstance(read_task(composed(["task=images", "images/preset=full"])), FederatedTask)
    for word, message in (("partition=dirichlet", "the digits' are"), ("observed=many", "configs/federated/task/im")):
        with pytest.raises(ValueError, match=message):
            read_task(composed(["task=images", word]))
    with pytest.raises(ValueError, match="at least 19 are needed"):
        read_task(composed(["task=images", "digits=embedded", "observed=18"])).deal()
