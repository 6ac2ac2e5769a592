"""Evaluating a trained model: choose how to sample, synthesise a training set, train the classifier on it, judge.

    real/                    the classifier trained on real pictures, shared by all methods of a training
    out/selection.json       what was tried on known sets of findings and what was chosen
    out/synthetic.safetensors  the synthetic training set
    out/classifier/          the classifier trained on it alone
    out/metrics.json         utility (Eq. 18), precision, distances, with the command, the seeds and the settings
    out/pictures.npz         the first pictures of every set

What was tried is scored on known sets alone, but by the classifier trained on real pictures of all hospitals, withheld
sets among them: no hospital could choose so.

Each has a record of what it was made with: what is there is not made again, and what was made with other weights or
settings is an error.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from dcfm import records
from dcfm.artefacts import MODEL, atomically, git_revision, load_tensors, save_tensors
from dcfm.configuration import writable
from dcfm.methods import registry
from dcfm.methods.sampling import CANDIDATES, only_candidate
from dcfm.progress import StageProgress, silent
from dcfm.records import METHOD, write_json
from dcfm.solvers import evaluations
from dcfm.trainers.loop import Progress as StepProgress
from dcfm_xray.classifier import Trained, features
from dcfm_xray.distances import distances
from dcfm_xray.evaluation_settings import EvaluationSettings
from dcfm_xray.lineage import problem_of
from dcfm_xray.models import LoadedModel, load
from dcfm_xray.problem import WARNING, Pictures, Problem, feasible_sets, read_pictures
from dcfm_xray.real import (
    CLASSIFIER,
    METRICS,
    REAL,
    RECORD,
    balanced_rows,
    fit_classifier,
    groups_of,
    judged,
    real_classifier,
)
from dcfm_xray.synthesis import choose, synthesise

SELECTION: Final = "selection.json"
SELECTION_RECORD: Final = "selection.record.json"
SYNTHETIC: Final = "synthetic.safetensors"
SYNTHETIC_RECORD: Final = "synthetic.record.json"
PICTURES: Final = "pictures.npz"
KEPT: Final = 6
"""Pictures of each set in :data:`PICTURES`."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model, what it is judged by, and where results go.

    Attributes:
        model: trained.
        problem: its silos and test set.
        judge: the classifier trained on real pictures.
        out: folder of results.
        settings: how it is evaluated.
        command: for the record.
        grain: of synthetic pictures, in grey levels (:func:`~dcfm_xray.synthesis.add_grain`).
        redo: make again what was made otherwise.
        on_progress: see :data:`~dcfm.progress.StageProgress`.
    """

    model: LoadedModel
    problem: Problem
    judge: Trained
    out: Path
    settings: EvaluationSettings
    command: str
    grain: float = 0.0
    redo: bool = False
    on_progress: StageProgress = silent

    def run(self) -> dict[str, Any]:
        """Do what is missing; returns the content of ``metrics.json``. One process at a time does."""
        with records.alone_in(self.out):
            return self._run()

    def _run(self) -> dict[str, Any]:
        records.check_method(self.out / METRICS, self.model.name, redo=self.redo)
        chosen = self.choose()
        pictures = self.synthetic(chosen)
        device, settings = self.model.device, self.settings
        trained = fit_classifier(
            pictures,
            self.held(pictures),
            settings,
            self.out / CLASSIFIER,
            device=device,
            redo=self.redo,
            progress=steps_of("training the classifier", self.on_progress),
        )
        # Of the metrics alone: what is synthesised and trained on does not depend on what it is judged with.
        asked = self.asked() | {
            "sampling": chosen,
            "classifier_sha256": trained.metadata["files"][MODEL],
            "test_sha256": self.problem.test_fingerprint,
        }
        record = self.out / RECORD
        if records.matching(record, asked, redo=self.redo) is None:
            records.begin(record)
            write_json(self.out / METRICS, self._content(chosen, pictures, trained) | asked)
            write_pictures(self.out / PICTURES, pictures, min(KEPT, settings.each))
            records.finish(record, asked, [METRICS, PICTURES])
        if only_candidate(settings.rules) is not None:  # a choice that lies there is not that of these results
            for name in (SELECTION_RECORD, SELECTION):
                (self.out / name).unlink(missing_ok=True)
        return dict(json.loads((self.out / METRICS).read_text(encoding="utf-8")))

    def asked(self) -> dict[str, Any]:
        """What results must have been asked for to be those of this evaluation."""
        settings = json.loads(json.dumps(asdict(self.settings)))
        return {
            "weights_sha256": self.model.metadata["files"][MODEL],
            METHOD: registry.own_settings(self.model.name),
            "judge_sha256": self.judge.metadata["files"][MODEL],
            "data_sha256": self.model.metadata["data_hash"],
            "settings": settings,
            "grain": self.grain,
        }

    def choose(self) -> str:
        """The name of the candidate that known sets choose; ``selection.json`` is written if missing."""
        settings = self.settings
        if (only := only_candidate(settings.rules)) is not None:
            return only
        asked = self.asked()
        record = self.out / SELECTION_RECORD
        if (found := records.matching(record, asked, redo=self.redo)) is not None:
            return str(found["chosen"])
        records.begin(record)
        known = groups_of(self.problem.known)["known"]
        generator = torch.Generator().manual_seed(settings.selection_seed)
        rows = torch.cat(self.problem.split.silos)
        source = self.problem.source
        chosen, _ = balanced_rows(source.labels, source.patients, rows, known, settings, generator)
        chosen = torch.unique(chosen)
        limit = settings.selection_each * len(known)
        chosen = chosen[torch.randperm(len(chosen), generator=generator)[:limit]]
        reference = read_pictures(source, chosen, self.problem.codec.size).pictures

        def show(done: int, total: int) -> None:
            self.on_progress("choosing how to sample", done, total)

        selection = choose(self.model, self.problem.codec, self.judge, reference, known, settings, self.grain, show)
        selection.to_json(self.out / SELECTION)
        records.finish(record, asked, [SELECTION], {"chosen": selection.chosen})
        return selection.chosen

    def synthetic(self, chosen: str) -> Pictures:
        """The synthetic training set: equally many pictures of every feasible set; written if missing."""
        settings, path = self.settings, self.out / SYNTHETIC
        asked = self.asked() | {"sampling": chosen}
        record = self.out / SYNTHETIC_RECORD
        if records.matching(record, asked, redo=self.redo) is None:
            records.begin(record)
            made = synthesise(
                self.model.sampled(CANDIDATES[chosen]),
                self.problem.codec,
                feasible_sets(),
                settings.each,
                settings,
                seed=settings.seed,
                device=self.model.device,
                grain=self.grain,
                on_progress=lambda done, total: self.on_progress("synthesising", done, total),
            )
            self.out.mkdir(parents=True, exist_ok=True)
            save_tensors(path, {"images": made.images, "labels": made.labels})
            records.finish(record, asked, [SYNTHETIC])
        found = load_tensors(path)
        return Pictures(found["images"], found["labels"], torch.arange(len(found["labels"])))

    def held(self, pictures: Pictures) -> Bool[Tensor, " n"]:
        """The pictures that thresholds are fixed on: the last ones of every set."""
        place = torch.arange(len(pictures)) % self.settings.each
        return place >= self.settings.each - self.settings.held_out_each

    def _content(self, chosen: str, pictures: Pictures, trained: Trained) -> dict[str, Any]:
        model, settings = self.model, self.settings
        sets = groups_of(self.problem.known)
        self.on_progress("judging", 0, 0)
        test = self.problem.test()
        x, y = features(self.judge.network, pictures.images), features(self.judge.network, test.images)
        common = {"draws": settings.draws, "seed": settings.seed}
        training = model.config["training"]
        return {
            "what": "a classifier trained on synthetic pictures alone, judged on real test images; intervals 95 %",
            "warning": WARNING,
            "command": self.command,
            "git_revision": git_revision(),
            "method": model.name,
            "partition": model.partition,
            "training_seed": training["seed"],
            "withhold": training["withhold"],
            "trained_at_revision": model.metadata["git_revision"],
            "data": self.problem.source.name,
            "size": model.task.size,
            "synthetic_images": int((~self.held(pictures)).sum()),
            "held_out_synthetic_images": int(self.held(pictures).sum()),
            "test_images": len(test),
            "unreadable_test_images": list(self.problem.unreadable_test_images),
            "test_patients": len(test.patients.unique()) if self.problem.source.knows_patients else None,
            **judged(trained, test, sets, settings),
            "distances": {name: distances(pictures, x, test, y, group, **common) for name, group in sets.items()},
            "features": "the classifier trained on real pictures (judge_sha256)",
            "evaluations": evaluations(settings.solver, settings.steps),
            "sampling_chosen": chosen,
        }


def steps_of(what: str, on_progress: StageProgress) -> StepProgress:
    """The progress of a training as that of a stage."""

    def show(done: int, total: int, terms: dict[str, float]) -> None:
        on_progress(what, done, total)

    return show


def write_pictures(path: Path, pictures: Pictures, each: int) -> None:
    """The first pictures of every set, as arrays ``images`` and ``labels``; they come in runs of one set."""
    run = len(pictures) // len(pictures.labels.unique(dim=0))
    rows = torch.arange(len(pictures)).reshape(-1, run)[:, :each].flatten()
    with atomically(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, images=pictures.images[rows].numpy(), labels=pictures.labels[rows].numpy())


def evaluate(
    trained_at: Path,
    out: Path,
    settings: EvaluationSettings,
    *,
    command: str,
    device: str = "auto",
    path: Path | None = None,
    autoencoder: Path | None = None,
    pretrained: Path | None = None,
    real: Path | None = None,
    redo: bool = False,
    on_progress: StageProgress = silent,
    announce: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Evaluate the model in a folder; see the module.

    Args:
        trained_at: ``out/published/<method>`` of a training.
        out: folder of results.
        settings: how.
        command: for the record.
        device: ``auto``, ``cpu``, ``cuda``.
        path, autoencoder, pretrained: see :func:`~dcfm_xray.lineage.problem_of`.
        real: folder of the classifier trained on real pictures; ``real`` beside ``published`` if ``None``.
        redo: make again what was made with other weights or settings, the classifier trained on real pictures too.
        on_progress: see :data:`~dcfm.progress.StageProgress`.
        announce: called with the real classifier's metrics before the model is judged.

    Returns:
        The content of ``metrics.json``.

    Raises:
        ValueError: what cannot be, before anything is sampled.
    """
    trained_at = trained_at.resolve()  # cache and real/ lie two folders up, also of model=.
    model = load(trained_at, device)
    writable(out)
    problem = problem_of(
        model, trained_at, path=path, autoencoder=autoencoder, pretrained=pretrained, on_progress=on_progress
    )
    shared = real or trained_at.parent.parent / REAL
    with records.alone_in(shared):  # by all methods' evaluations
        judge, ceiling = real_classifier(
            problem,
            settings,
            shared,
            command=command,
            device=model.device,
            redo=redo,
            progress=steps_of("training the real classifier", on_progress),
        )
    if announce is not None:
        announce(ceiling)
    grain = float(ceiling["grain"]) if settings.grain else 0.0
    return Evaluation(model, problem, judge, out, settings, command, grain, redo, on_progress).run()
