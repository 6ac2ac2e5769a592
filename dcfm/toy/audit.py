"""The toy under audit (:mod:`dcfm.privacy.audit`): trained here, since its non-members cost nothing."""

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from dcfm.configuration import typed
from dcfm.decentralized import Federation
from dcfm.methods import registry
from dcfm.privacy.audit import Subject, check_counts, make_targets
from dcfm.privacy.neighbours import Samples
from dcfm.task import frozen_networks
from dcfm.toy.problem import ProblemSettings, make_problem
from dcfm.toy.task import ToyTask
from dcfm.toy.training import read_training


@dataclass
class _Keys:
    """The keys under ``toy`` and their types."""

    method: str
    attributes: int
    partition: str
    silos: int
    samples: int
    heldout: int
    seed: int


def read(config: DictConfig) -> Subject:
    """Train the toy that a configuration of configs/subject/toy.yaml describes, or pick it up from ``out/trainings``.

    Raises:
        ValueError: a setting that cannot be.
    """
    given = typed(config.toy, _Keys, "subject/toy")
    check_counts("toy", heldout=given.heldout)
    problem = make_problem(
        ProblemSettings(given.partition, given.attributes, given.silos, samples=given.samples, seed=given.seed)
    )
    training = read_training(OmegaConf.to_container(config.training, resolve=True))  # type: ignore[arg-type]
    method = registry.make(given.method)
    task = ToyTask(problem.mixture.attributes, training.width, training.depth)
    torch.set_num_threads(1)
    federation = Federation(task, problem.silos, Path(config.out) / "trainings", given.seed, workers=0)
    weights = method.train(federation, training.recipe(), method.exchange(federation))
    networks = frozen_networks(method.task(task), weights)
    labels = problem.observed.repeat_interleave(given.heldout, dim=0)
    fresh = problem.mixture.sample(labels, torch.Generator().manual_seed(given.seed + 7_000_003))
    facts = {"method": given.method, "samples_of_each_combination": given.samples, "parameters": _size(networks[0])}
    return Subject(make_targets(networks, problem.silos, Samples(fresh, labels)), facts, steps=10)


def _size(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
