"""Trained planners under audit (:mod:`dcfm.privacy.audit`): segments of the silos against those of new play data."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from dcfm.configuration import typed
from dcfm.privacy.audit import Subject, describe_model, make_targets
from dcfm.privacy.neighbours import Samples
from dcfm.published import ModelError, load_published, resolve_device
from dcfm.runs import trained_on
from dcfm.silos import LabelHistogram
from dcfm_envs.sources import is_file, open_play
from dcfm_planner.models import weights_folder
from dcfm_planner.quadrants import SPACE
from dcfm_planner.segments import cut
from dcfm_planner.task import PlannerTask
from dcfm_planner.training import deal, without_novel


@dataclass
class _Keys:
    """The keys under ``planner`` and their types."""

    model: str
    data: str
    heldout: str


def read(config: DictConfig) -> Subject:
    """The planner that a configuration of configs/subject/planner.yaml describes.

    Raises:
        ValueError: no such model or data, or data that its silos did not have.
    """
    given = typed(config.planner, _Keys, "subject/planner")
    folder = next((f for f in (Path(given.model), weights_folder() / given.model) if f.is_dir()), None)
    if folder is None:
        raise ModelError(f"planner.model={given.model!r} is neither a folder nor a shipped planner")
    for key, path in (("data", given.data), ("heldout", given.heldout)):
        if is_file(path) and not Path(path).is_file():
            raise ValueError(f"planner.{key}={path} is no file; collect it as docs/privacy.md says, or give its path")
    found = load_published(folder, lambda settings: PlannerTask(**settings), resolve_device("cpu"), what="a planner")
    training, horizon = found.config["training"], found.task.shape[0]
    segments = cut(open_play(given.data), horizon, training["border_margin"])
    silos = deal(segments, found.partition, len(found.histograms), alpha=training["alpha"], seed=training["seed"])
    different = sum(
        histogram_difference(silo.histogram(SPACE), told) for silo, told in zip(silos, found.histograms, strict=True)
    )
    total = sum(h.total for h in found.histograms)
    if different > total / 100:
        raise ValueError(
            f"{given.data} dealt to silos differs in {different} of {total} segments from what {given.model} was "
            "trained on; give planner.data the play data of its training"
        )
    new = without_novel(cut(open_play(given.heldout), horizon, training["border_margin"]))
    if len(found.networks) > 1 and not trained_on(found, silos):  # one sample less deals all others anew
        raise ValueError(
            f"{given.data} dealt to silos gives other data than {given.model} was trained on, so which expert saw "
            "which segment is not known; give planner.data the very play data of its training, or audit a model of one "
            "network"
        )
    facts = describe_model(given.model, found) | {"segments_that_differ_from_the_training": different}
    return Subject(make_targets(found.networks, silos, Samples(new.trajectories, new.labels)), facts, steps=5)


def histogram_difference(a: LabelHistogram, b: LabelHistogram) -> int:
    """``sum_y |n_a(y) - n_b(y)|``."""
    combinations = SPACE.combinations()
    return int((a.count(combinations) - b.count(combinations)).abs().sum())
