"""What a model says of its training is data: nothing that it names is made or called."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from dcfm_xray.evaluation_settings import EvaluationError
from dcfm_xray.lineage import problem_of
from dcfm_xray.models import load, publish
from dcfm_xray.training import CACHE, COMBINATIONS, prepare, write_combinations

Make = Callable[..., DictConfig]


@pytest.mark.parametrize("federated", [False, True])
def test_a_model_s_settings_run_no_code(configuration: Make, tmp_path: Path, federated: bool) -> None:
    config = configuration(f"out={tmp_path / 'out'}")
    ready = prepare(config)
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    hostile = {"_target_": "os.mkdir", "path": str(tmp_path / "made")}
    histograms = [silo.histogram(ready.task.space) for silo in ready.problem(tmp_path / "cache").silos]

    def published(name: str, **changes: Any) -> Path:
        training = resolved | {"task": hostile, "stage_one": hostile, "student": hostile} | changes
        if federated:
            training |= {"protocol": "dcfm_b", "phantoms": training["images"]}
        networks = [ready.task.network().state_dict()]
        where = tmp_path / name / "published/dcfm_b"
        publish(where, networks, histograms, ready.task, method="dcfm_b", partition="noniid", training=training)
        return where

    where = published("plain")
    if federated:  # dealt so, so it is made again
        assert len(problem_of(load(where, "cpu"), where).silos) == len(histograms)
    else:
        with pytest.raises(ValueError, match="gives other silos"):
            problem_of(load(where, "cpu"), where)
    assert not (tmp_path / "made").exists()
    where = published("refers", path="${oc.env:HOME}", source="nih")
    with pytest.raises(ValueError, match="refer to something else"):
        problem_of(load(where, "cpu"), where)


def test_a_private_model_is_not_decoded_by_another_autoencoder(configuration: Make, tmp_path: Path) -> None:
    """It does not tell what it was trained on, and label counts are the same whatever encoded the images."""
    config = configuration(f"out={tmp_path}")
    ready = prepare(config)
    problem = ready.problem(tmp_path / CACHE)
    training = OmegaConf.to_container(config, resolve=True)
    where = tmp_path / "published/dcfm_b"
    publish(
        where,
        [ready.task.network().state_dict()],
        [silo.histogram(ready.task.space) for silo in problem.silos],
        ready.task,
        method="dcfm_b",
        partition="noniid",
        training=training,  # type: ignore[arg-type]
        metrics={"privacy": {}},
    )
    write_combinations(tmp_path, ready, problem)
    assert len(problem_of(load(where, "cpu"), where).silos) == len(problem.silos)
    claimed = tmp_path / COMBINATIONS
    claimed.write_text(claimed.read_text().replace(ready.codec.fingerprint, "another"))
    with pytest.raises(EvaluationError, match="not the one whose latents the model was trained on"):
        problem_of(load(where, "cpu"), where)
