"""What a trained model came from: its source, split and silos, made again from its own settings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dcfm.progress import StageProgress
from dcfm.published import check_dealt, of_federation
from dcfm.runs import trained_on
from dcfm.silos import LabelHistogram
from dcfm_xray.dealing import Dealing
from dcfm_xray.evaluation_settings import EvaluationError
from dcfm_xray.findings import SPACE
from dcfm_xray.models import LoadedModel
from dcfm_xray.problem import Problem
from dcfm_xray.training import CACHE, COMBINATIONS

SCRIPT: Final = "scripts/xray/train.py"
"""Trains what can be judged."""


def problem_of(
    model: LoadedModel,
    trained_at: Path,
    *,
    path: Path | None = None,
    autoencoder: Path | None = None,
    pretrained: Path | None = None,
    on_progress: StageProgress | None = None,
) -> Problem:
    """The problem that a model was trained on, with the caches that lie beside it, or caches made again there.

    Args:
        model: trained.
        trained_at: its folder, ``<out of the training>/published/<method>``.
        path, autoencoder, pretrained: where these lie now, if not where the training had them.
        on_progress: of encoding, where the caches are gone.

    Raises:
        dcfm.published.ModelError: it was trained in a federation whose silos were not dealt so.
        EvaluationError: the silos made here are not those that it was trained on, so that its test set is unknown.
        ValueError: data or autoencoder are not there any more.
    """
    changes = {"path": path, "autoencoder": autoencoder, "pretrained": pretrained}
    settings = {**model.config["training"], **{key: str(value) for key, value in changes.items() if value is not None}}
    if settings["source"] == "phantom" and path is None:
        settings["path"] = None  # earlier trainings took one for phantoms, and left it alone
    if of_federation(model):
        return _dealt(model, settings, trained_at.parent.parent, on_progress)
    dealing = _dealing(settings)
    parts = dealing.parts(model.task)
    claimed = trained_at.parent.parent / COMBINATIONS
    private = "privacy" in (model.metadata["metrics"] or {})  # of others the hash of the latents tells
    if private and claimed.is_file() and json.loads(claimed.read_text())["autoencoder"] != parts[1].fingerprint:
        raise EvaluationError(
            "the autoencoder found is not the one whose latents the model was trained on, and would decode its samples "
            "wrongly; give the autoencoder= or pretrained= of its training"
        )
    problem = dealing.problem(parts, trained_at.parent.parent / CACHE, on_progress)
    if not trained_on(model, problem.silos):
        raise EvaluationError(
            "the data or the autoencoder found gives other silos than those that the model was trained on, so images "
            "that it never saw are not known; give the path=, autoencoder= or pretrained= of its training and, on "
            f"another processor, whose last digits differ, its {CACHE}/ folder too"
        )
    return problem


def _dealing(settings: Mapping[str, Any]) -> Dealing:
    """How a training dealt. Of what its model says of it these plain values alone are read: what else it names is not
    made here, whoever wrote it."""
    return Dealing.of({**settings, "workers": 0}, "xray/train")


def _dealt(model: LoadedModel, settings: Mapping[str, Any], out: Path, on_progress: StageProgress | None) -> Problem:
    """What the settings of a federation deal on this machine, if its silos were dealt so."""
    dealing = _dealing({**settings, "images": settings["phantoms"]})
    parts = dealing.parts(model.task)
    source, _, split = parts
    # Before anything is encoded. An image that cannot be decoded is in no silo, so there may be fewer than labels.
    labels = [LabelHistogram.from_labels(source.labels[rows], SPACE.cardinalities) for rows in split.silos]
    if len(labels) != len(model.histograms) or any(
        (silo.counts > here.count(silo.combinations)).any() for here, silo in zip(labels, model.histograms, strict=True)
    ):
        check_dealt(model, labels, SCRIPT)
    problem = dealing.problem(parts, out / CACHE, on_progress)
    check_dealt(model, [silo.histogram(SPACE) for silo in problem.silos], SCRIPT)
    return problem
