"""Classifiers trained alike on synthetic and on real pictures; the real one is the ceiling, and judges how to sample.

Both learn from ``each`` pictures of every feasible set of findings, less the held-out ones that thresholds are fixed
on; of real pictures, these are of other patients. Of real pictures of the training patients, sets that fewer have are
filled up by repeating them; withheld sets are among them. The real classifier knows more than any silo: it is what
utility could be, and no method is trained with it.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from dcfm import records
from dcfm.artefacts import MANIFEST, MODEL, git_revision
from dcfm.attributes import is_among
from dcfm.records import write_json
from dcfm.trainers.loop import Progress, ResumeError
from dcfm.weights import fingerprint
from dcfm_xray.classifier import (
    Classifier,
    Trained,
    load_classifier,
    logits,
    save_classifier,
    thresholds_at,
    train_classifier,
)
from dcfm_xray.evaluation_settings import EvaluationError, EvaluationSettings
from dcfm_xray.findings import FINDINGS
from dcfm_xray.problem import WARNING, Pictures, Problem, feasible_sets, read_once
from dcfm_xray.silos import SplitError, split_patients
from dcfm_xray.synthesis import residual_grain
from dcfm_xray.utility import utility

log = logging.getLogger(__name__)

CLASSIFIER: Final = "classifier"
METRICS: Final = "metrics.json"
RECORD: Final = "record.json"
REAL: Final = "real"
"""In place of a method: real pictures of the training patients."""

LARGE: Final = 224
"""Pixels along an edge from which the stem ``large`` is meant."""

_ITS_SETTINGS: Final = ("each", "held_out", "specificity", "seed", "draws", "classifier")
"""Those that the real classifier and its metrics depend on; evaluations with others may share them."""


def fit_classifier(
    pictures: Pictures,
    held: Bool[Tensor, " n"],
    settings: EvaluationSettings,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    redo: bool = False,
    elsewhere: str = "out=",
    progress: Progress | None = None,
) -> Trained:
    """Train on some pictures, fix thresholds on the held-out ones, write to ``folder``; what is there is taken.

    Args:
        pictures: with their labels.
        held: those that thresholds are fixed on.
        settings: how classifiers are trained.
        folder: of the artefact; an interrupted training goes on from here.
        device: of the training, and of the network that is returned.
        redo: train again what was trained on other pictures or with other settings, or begun so.
        elsewhere: the key that decides where ``folder`` is, for messages.
        progress: of the training.

    Raises:
        dcfm.records.RecordError: what is there was made of other pictures or settings, and ``redo`` is not given.
        dcfm.trainers.loop.ResumeError: likewise, of a training that was interrupted.
        ValueError: a finding that all held-out pictures have.
    """
    asked = {
        "pictures": fingerprint([{"images": pictures.images, "labels": pictures.labels, "held": held}]),
        "classifier": asdict(settings.classifier),
        "specificity": settings.specificity,
        "seed": settings.seed,
    }
    record = folder / RECORD
    if records.matching(record, asked, redo=redo, elsewhere=elsewhere) is not None:
        return load_classifier(folder, device=device)
    if (size := pictures.images.shape[-1]) >= LARGE and settings.classifier.stem == "small":
        log.warning(
            "pictures have %d pixels along an edge, stem=small is for 64: at 256 it takes about 70 ms a picture on a "
            "core, large 23; give stem=large",
            size,
        )
    records.begin(record)
    checkpoint = folder / "training.safetensors"
    train = partial(
        train_classifier,
        pictures.images[~held],
        pictures.labels[~held],
        settings.classifier,
        seed=settings.seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    network = _resumed(train, checkpoint, redo)
    scores = logits(network.to(device), pictures.images[held])
    thresholds = thresholds_at(scores, pictures.labels[held], settings.specificity)
    save_classifier(folder, network, thresholds, settings.classifier)
    checkpoint.unlink(missing_ok=True)
    records.finish(record, asked, [MODEL, MANIFEST])
    return load_classifier(folder, device=device)


def _resumed(train: Callable[[], Classifier], checkpoint: Path, redo: bool) -> Classifier:
    """Train, from the checkpoint where there is one; with ``redo`` from nothing if it is of another training."""
    try:
        return train()
    except ResumeError:
        if not redo:
            raise
    checkpoint.unlink()
    return train()


def groups_of(known: Int[Tensor, "m 14"]) -> dict[str, Int[Tensor, "_ 14"]]:
    """The feasible sets: those that some silo holds, those that none does, and all."""
    feasible = feasible_sets()
    inside = is_among(feasible, known)
    return {"known": feasible[inside], "novel": feasible[~inside], "all": feasible}


def balanced_rows(
    labels: Int[Tensor, "n 14"],
    patients: Int[Tensor, " n"],
    rows: Int[Tensor, " m"],
    sets: Int[Tensor, "k 14"],
    settings: EvaluationSettings,
    generator: torch.Generator,
) -> tuple[Int[Tensor, " chosen"], Bool[Tensor, " chosen"]]:
    """Equally many rows of each set, and which of them are held out; no patient is on both sides.

    Of a set with fewer rows to train on than are asked for, rows repeat. Held-out rows do not; there may be fewer of
    them, and none of a set that no held-out patient has, such as one of a single patient.

    Raises:
        EvaluationError: no row has any of the sets, or all rows are of one patient.
    """
    try:
        is_held = _held_patients(labels[rows], patients[rows], sets, settings.held_out, generator)
    except SplitError as error:
        raise EvaluationError(f"no patient can be held out for thresholds: {error}; bring more patients") from error
    chosen, held = [], []
    for label in sets:
        place = (labels[rows] == label).all(1).nonzero()[:, 0]
        place = place[torch.randperm(len(place), generator=generator)]
        out, own = rows[place[is_held[place]]], rows[place[~is_held[place]]]
        for part, number, flag in (
            (out, min(settings.held_out_each, len(out)), True),
            (own, settings.each - settings.held_out_each, False),
        ):
            if len(part):
                repeated = part.repeat(-(-number // len(part)))[:number]
                chosen.append(repeated)
                held.append(torch.full((len(repeated),), flag))
    if not chosen or not torch.cat(held).any():
        raise EvaluationError("too few training images have feasible sets of findings; no classifier can be trained")
    return torch.cat(chosen), torch.cat(held)


def _held_patients(
    labels: Int[Tensor, "m 14"],
    patients: Int[Tensor, " m"],
    sets: Int[Tensor, "k 14"],
    share: float,
    generator: torch.Generator,
) -> Bool[Tensor, " m"]:
    """True for the rows of held-out patients, about a share of all, such that each set that is there keeps a row."""
    held = split_patients(patients, share, generator)
    for label in sets:
        own = (labels == label).all(1)
        if own.any() and held[own].all():
            # A classifier that never sees a rare set is no ceiling; thresholds need negatives, of which there are many.
            held &= patients != patients[own][0]
    return held


def judged(
    trained: Trained, test: Pictures, sets: Mapping[str, Int[Tensor, "_ 14"]], settings: EvaluationSettings
) -> dict[str, Any]:
    """What a classifier finds in test images: its utility as its thresholds are, and with thresholds at which each
    finding has one specificity on these images.

    Its own thresholds were fixed on pictures that have every set equally often (real ones as far as there are enough),
    which test images do not: there their specificity is another, of each classifier another one. The second utility
    compares at equal ones. It takes the thresholds from the test images' own negatives, as a point of a ROC curve does.
    """
    scores = logits(trained.network, test.images)
    predicted = scores > trained.thresholds
    negatives = test.labels == 0
    common = {"draws": settings.draws, "seed": settings.seed}
    found: dict[str, Any] = {
        "specificity_on_test": {
            finding: float((~predicted[negatives[:, i], i]).float().mean()) if negatives[:, i].any() else None
            for i, finding in enumerate(FINDINGS)
        },
        "utility": utility(predicted, test.labels, test.patients, sets, **common),
        "utility_at_equal_specificity": None,
    }
    if negatives.any(0).all():
        equal = scores > thresholds_at(scores, test.labels, settings.specificity)
        found["utility_at_equal_specificity"] = utility(equal, test.labels, test.patients, sets, **common)
    return found


def real_classifier(
    problem: Problem,
    settings: EvaluationSettings,
    folder: Path,
    *,
    command: str,
    device: torch.device | str = "cpu",
    redo: bool = False,
    progress: Progress | None = None,
) -> tuple[Trained, dict[str, Any]]:
    """The classifier trained on real pictures of the training patients, and its utility on those of the test patients.

    Args:
        problem: made again from the model's settings.
        settings: how classifiers are trained.
        folder: of its artefact and ``metrics.json``; what is there is taken.
        command: for the record.
        device: of the training, and of the network that is returned.
        redo: make again what was made of other pictures or with other settings.
        progress: of the training.

    Returns:
        The classifier, and the content of ``metrics.json``.

    Raises:
        dcfm.records.RecordError: what is there was made otherwise, and ``redo`` is not given.
        ValueError: too few pictures.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    source = problem.source
    rows, held = balanced_rows(source.labels, source.patients, problem.training(), feasible_sets(), settings, generator)
    distinct, place = torch.unique(rows, return_inverse=True)
    read = read_once(problem.source, distinct, problem.codec.size)
    if read.unreadable:
        readable = torch.isin(distinct, read.rows)
        usable = readable[place]
        place, held = (readable.long().cumsum(0) - 1)[place[usable]], held[usable]
    pictures = read.pictures.rows(place)
    where, own = folder / CLASSIFIER, "real="
    trained = fit_classifier(
        pictures, held, settings, where, device=device, redo=redo, elsewhere=own, progress=progress
    )
    test = problem.test()
    asked = {
        "classifier_sha256": trained.metadata["files"][MODEL],
        "test": problem.test_fingerprint,
        "autoencoder": problem.codec.fingerprint,
        "draws": settings.draws,
        "seed": settings.seed,
        "known": problem.known.tolist(),
    }
    record = folder / RECORD
    if (found := records.matching(record, asked, redo=redo, elsewhere=own)) is None:
        records.begin(record)
        sets = groups_of(problem.known)
        content = {
            "what": "the classifier trained on real pictures, on test images; intervals 95 %, bootstrap over "
            + ("patients" if source.knows_patients else "images, whose patients the source does not name"),
            "warning": WARNING,
            "command": command,
            "git_revision": git_revision(),
            "method": REAL,
            "data": problem.source.name,
            "size": problem.codec.size,
            "settings": {name: json.loads(json.dumps(asdict(settings)))[name] for name in _ITS_SETTINGS},
            "classifier_sha256": trained.metadata["files"][MODEL],
            "training_images": int((~held).sum()),
            "held_out_images": int(held.sum()),
            "distinct_training_images": len(place[~held].unique()),
            "unreadable_training_images": list(read.unreadable),
            "test_images": len(test),
            "unreadable_test_images": list(problem.unreadable_test_images),
            "grain": residual_grain(problem.codec, read.pictures.images, device),
            **judged(trained, test, sets, settings),
        }
        write_json(folder / METRICS, content)
        records.finish(record, asked, [METRICS], {"content": content})
        return trained, content
    return trained, dict(found["content"])
