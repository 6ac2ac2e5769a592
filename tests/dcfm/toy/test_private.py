"""dcfm/toy/private.py: a cell's record is of its noise, its silos and its combinations."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcfm.artefacts import load
from dcfm.privacy.accounting import spent
from dcfm.privacy.settings import PrivacyConfig
from dcfm.task import frozen_networks
from dcfm.toy.private import PrivateCell, train_and_score
from dcfm.toy.problem import ProblemSettings, make_problem
from dcfm.toy.score import Sampling, hits, sample
from dcfm.toy.task import ToyTask
from dcfm.toy.training import Phase, Training

PLAIN = Phase(steps=4, weight=0.0)
TRAINING = Training(8, 1, 16, stage_one=PLAIN, student=PLAIN, fedavg=replace(PLAIN, steps=3), fedavg_rounds=2)
PROBLEM = ProblemSettings(attributes=3, silos=3, samples=40, seed=2)


@pytest.mark.parametrize(("method", "steps"), [("dcfm_b", 4), ("fedflow_l", 2 * 3)])
def test_epsilon_is_that_of_the_silo_that_spends_most(method: str, steps: int, tmp_path: Path) -> None:
    """The one with fewest samples, whose part in a batch is the largest; of all rounds together."""
    record = train_and_score(PrivateCell(method, 1.5, 0.5, 1e-4, PROBLEM, TRAINING, Sampling(5, 1)), tmp_path)
    sizes = [len(silo) for silo in make_problem(PROBLEM).silos]
    assert min(sizes) < max(sizes)
    privacy = PrivacyConfig(1.5, 0.5, 1e-4, secret=False)
    assert record["epsilon"] == spent(privacy, min(sizes), 16, steps).epsilon
    assert (record["method"], record["noise"], record["seed"]) == (method, 1.5, 2)


def test_shares_are_of_the_combinations_that_they_name(tmp_path: Path) -> None:
    """As the network that was trained for the cell gives them."""
    learning = replace(TRAINING, stage_one=replace(PLAIN, steps=60, learning_rate=0.02), student=PLAIN, warmup=1)
    cell = PrivateCell("dcfm_b", None, 1.0, 1e-5, ProblemSettings(samples=60), learning, Sampling(2000, 4))
    record, problem, task = train_and_score(cell, tmp_path), make_problem(cell.problem), ToyTask(2, 8, 1)
    (network,) = frozen_networks(task, [load(tmp_path / "trainings/dcfm_b").weights])
    for name, rows, others in (
        ("known", problem.observed, problem.missing),
        ("novel", problem.missing, problem.observed),
    ):
        inside, outside = (
            float(
                hits(problem.mixture, y, sample(network, y, cell.sampling, torch.Generator().manual_seed(1)))
                .double()
                .mean()
            )
            for y in (rows, others)
        )
        assert record[name] == pytest.approx(inside, abs=0.03)
        assert record[name] != pytest.approx(outside, abs=0.03)
