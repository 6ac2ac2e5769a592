"""X-rays over the Flower app: the result is that of the in-process federation; a hospital makes its own silo file."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dcfm.federated.settings import composed
from dcfm.federated.silo_files import read_silo
from dcfm.federated.tasks import FederatedTask, read_task
from dcfm.published import ModelError
from dcfm.silos import LabelHistogram
from dcfm_xray import models
from dcfm_xray.evaluation import evaluate
from dcfm_xray.evaluation_settings import EvaluationSettings
from dcfm_xray.federated import FederatedXray, write_hospital
from dcfm_xray.lineage import problem_of
from dcfm_xray.real import groups_of
from dcfm_xray.sources import PhantomSource
from tests.dcfm.federated.equality import assert_run_equals_in_process
from tests.dcfm_xray.conftest import SMALL
from tests.dcfm_xray.test_evaluation import SETTINGS

TINY = (*(w for w in SMALL if not w.startswith(("images", "device"))), "task=xray", "phantoms=1500", "arrival=5")


def test_equals_the_in_process_federation(small_autoencoder: Path, tmp_path: Path) -> None:
    words = (*TINY, f"autoencoder={small_autoencoder}")
    published = assert_run_equals_in_process(words, tmp_path)
    loaded = models.load(published, "cpu")
    assert loaded.task.shape == (2, 4, 4)
    assert len(loaded.known) > 14
    problem, dealt = problem_of(loaded, published), read_task(composed((*words, f"out={tmp_path / 'again'}"))).deal()
    assert all(torch.equal(a.data, b.data) for a, b in zip(problem.silos, dealt, strict=True))
    assert not set(problem.source.patients[problem.split.test].tolist()) & set(
        problem.source.patients[torch.cat(problem.split.silos)].tolist()
    )
    found = evaluate(published, tmp_path / "results", SETTINGS, command="test", device="cpu")
    assert found["test_images"] == len(problem.split.test)
    assert found["utility"]["novel"]["sets"] == len(groups_of(loaded.known)["novel"]) >= 16  # ten pairs and six triples


def test_hospitals_with_data_of_their_own_are_not_judged_and_nothing_is_encoded_for_it(
    small_autoencoder: Path, tmp_path: Path
) -> None:
    published = assert_run_equals_in_process((*TINY, f"autoencoder={small_autoencoder}"), tmp_path)
    elsewhere = tmp_path / "elsewhere/published/dcfm_b"
    loaded = models.load(published, "cpu")
    networks = [network.state_dict() for network in loaded.networks]
    own = [LabelHistogram(h.combinations, h.counts + 1, h.cardinalities) for h in loaded.histograms]
    training = loaded.config["training"]
    models.publish(elsewhere, networks, own, loaded.task, method="dcfm_b", partition="noniid", training=training)
    with pytest.raises(ModelError, match=r"federation \(protocol=dcfm_b\).*scripts/xray/train\.py"):
        evaluate(elsewhere, tmp_path / "results", EvaluationSettings(), command="test", device="cpu")
    assert not (tmp_path / "elsewhere/cache").exists()


def test_a_hospital_makes_its_own_file(small_autoencoder: Path, tmp_path: Path) -> None:
    problem = read_task(composed([*TINY, f"autoencoder={small_autoencoder}"]))
    assert isinstance(problem, FederatedXray)
    source = PhantomSource(12, 7)
    silo = read_silo(write_hospital(tmp_path / "data.safetensors", source, problem.codec()), "hospital")
    assert silo.data.dtype == torch.float16
    assert silo.data.shape == (12, *problem.task.shape)
    assert torch.equal(silo.labels, source.labels)


def test_hospitals_files_in_one_folder_and_from_a_plain_script(small_autoencoder: Path, tmp_path: Path) -> None:
    """One without ``if __name__ == "__main__"``, which a process that it starts would run again."""
    script = tmp_path / "hospitals.py"
    script.write_text(
        f"""from pathlib import Path
from dcfm_xray.encoders import load_codec
from dcfm_xray.federated import write_hospital
from dcfm_xray.sources import PhantomSource
codec = load_codec(Path({str(small_autoencoder)!r}), None, 32)
for i in (1, 2):
    write_hospital(Path({str(tmp_path)!r}) / f"hospital{{i}}.safetensors", PhantomSource(4 * i, i), codec)
"""
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [len(read_silo(tmp_path / f"hospital{i}.safetensors", "hospital").data) for i in (1, 2)] == [4, 8]


def test_presets_and_bad_settings() -> None:
    assert isinstance(read_task(composed(["task=xray", "xray/preset=full"])), FederatedTask)
    for word, message in (
        ("partition=dirichlet", "the partitions are"),
        ("shard=0", "at least 1"),
        ("phantoms=x", "pha"),
    ):
        with pytest.raises(ValueError, match=message):
            read_task(composed(["task=xray", word]))
    with pytest.raises(ValueError, match=r"set task\.latent"):
        read_task(composed(["task=xray", "task.latent=3"])).deal()
