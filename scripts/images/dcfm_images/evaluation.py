"""Evaluating a trained model: choose how to sample on known combinations, sample known and novel ones, judge.

    out/selection.json       what was tried on known combinations and what was chosen
    out/metrics.json         all metrics (:mod:`dcfm_images.judging`) with the command, the seeds and the settings
    out/combinations.json    who holds how much of what, of the model's silos
    out/pictures.npz         the first pictures of every combination
    out/curve/<n>.json       the same metrics by evaluations of the field, of fewer pictures
    out/snapshots/<n>.json   by training steps
    out/guidance/<w>.json    and by the guidance of whole labels, whatever was chosen

Each has a record of what it was made with: what is there is not made again, and what was made with other weights or
settings is an error. The reference are the digits that the training's own split keeps from all silos; that split is
made again here and held against the hash of the training's data.
"""

import logging
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from dcfm import records
from dcfm.artefacts import MODEL, git_revision
from dcfm.configuration import writable
from dcfm.methods import registry
from dcfm.methods.method import FULL
from dcfm.methods.sampling import CANDIDATES, Sampling, candidates, only_candidate
from dcfm.progress import StageProgress, silent
from dcfm.records import METHOD, write_json
from dcfm.solvers import CountingField
from dcfm.weights import fingerprint
from dcfm_images.evaluation_settings import EvaluationError, EvaluationSettings
from dcfm_images.features import FeatureSpace, feature_space
from dcfm_images.judging import BOOTSTRAP, CELLS, Judge
from dcfm_images.lineage import kept_weights, problem_of, problem_with, restored
from dcfm_images.models import LoadedModel, load
from dcfm_images.pictures import Pictures, check_each, colour_digits
from dcfm_images.problem import SPACE, Problem
from dcfm_images.reader import LoadedReader, load_reader
from dcfm_images.results import (
    KEPT,
    METRICS,
    PICTURES,
    RECORD,
    SELECTION,
    SELECTION_RECORD,
    read_metrics,
    write_pictures,
)
from dcfm_images.sampling import Solver, choose, sample
from dcfm_images.training import COMBINATIONS

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model, what it is judged by, and where results go.

    Attributes:
        model: trained.
        trained_at: its folder.
        problem: its silos and reference.
        reader: reads digit and colour.
        out: folder of results.
        settings: how it is evaluated.
        command: for the record.
        redo: make again what was made otherwise.
        on_progress: see :data:`~dcfm.progress.StageProgress`.
    """

    model: LoadedModel
    trained_at: Path
    problem: Problem
    reader: LoadedReader
    out: Path
    settings: EvaluationSettings
    command: str
    redo: bool = False
    on_progress: StageProgress = silent

    def run(self) -> dict[str, Any]:
        """Do what is missing; returns the content of ``metrics.json``. One process at a time does."""
        with records.alone_in(self.out):
            return self._run()

    def _run(self) -> dict[str, Any]:
        records.check_method(self.out / METRICS, self.model.name, redo=self.redo)
        chosen = self.choose()
        sampling = CANDIDATES[chosen]
        asked = self.asked() | {"sampling": asdict(sampling)}
        record = self.out / RECORD
        if records.matching(record, asked, redo=self.redo) is None:
            records.begin(record)
            settings = self.settings
            solver = Solver(settings.solver, settings.evaluations)
            verdict, made = self._sampled(self.model, sampling, solver, settings.each, "sampling")
            content = self._header(chosen, solver, settings.each) | verdict
            write_pictures(self.out / PICTURES, made, min(KEPT, settings.each))
            write_json(self.out / METRICS, content)
            records.finish(record, asked, [METRICS, PICTURES])
        if not self.settings.chooses:  # a choice that lies there is not that of these results
            for name in (SELECTION_RECORD, SELECTION):
                (self.out / name).unlink(missing_ok=True)
        # Not in the record: results of before lack it, and it follows from the weights, which are in it.
        write_json(self.out / COMBINATIONS, self.problem.matrix())
        self._curves(chosen)
        return read_metrics(self.out)

    def _curves(self, chosen: str) -> None:
        settings, usual = self.settings, Solver(self.settings.solver, self.settings.evaluations)
        for evaluations in settings.curve:
            solver = Solver(settings.solver, evaluations)
            point = _Point("curve", f"{evaluations:03d}", "evaluations", solver.used)
            self._judge_point(point, chosen, CANDIDATES[chosen], solver, self.model)
        if settings.snapshots:
            for step, paths in kept_weights(self.model, self.trained_at)[:: -settings.snapshots][::-1]:
                model = replace(self.model, networks=restored(self.model, paths))
                point = _Point("snapshots", f"{step:07d}", "training_steps", step)
                self._judge_point(point, chosen, CANDIDATES[chosen], usual, model)
        for weight in settings.guidance:
            point = _Point("guidance", f"{weight:06.3f}", "guidance", weight)
            self._judge_point(point, f"full, w = {weight:g}", Sampling(FULL, weight), usual, self.model)

    def asked(self) -> dict[str, Any]:
        """What results must have been asked for to be those of this evaluation."""
        settings = self.settings
        return {
            **self._models(),
            **self._reference_hashes(),
            "each": settings.each,
            "seed": settings.seed,
            "solver": settings.solver,
            "evaluations": settings.evaluations,
            "features": settings.features,
            "draws": settings.draws,
            "bootstrap": BOOTSTRAP,
        }

    def _reference_hashes(self) -> dict[str, str]:
        """Of the real digits. Labels of digits that somebody held back are that somebody's, and may be corrected; of
        others they follow from the digits."""
        reference = self.problem.reference
        found = {"reference_sha256": fingerprint([{"images": reference.images}])}
        if not self.problem.silos:
            found["reference_labels_sha256"] = fingerprint([{"labels": reference.labels}])
        return found

    def _models(self) -> dict[str, Any]:
        """What draws, reads and compares. The weights of the space ``digits`` are the reader's, not named twice."""
        other = self.settings.features != "digits"
        return {
            "weights_sha256": self.model.metadata["files"][MODEL],
            METHOD: registry.own_settings(self.model.name),
            "reader_sha256": self.reader.weights_hash,
            **({"feature_weights_sha256": self.space.weights_hash} if other else {}),
        }

    def choose(self) -> str:
        """The name of the candidate that known combinations choose; ``selection.json`` is written if missing."""
        settings = self.settings
        if (only := only_candidate(settings.rules)) is not None:
            return only
        asked: dict[str, Any] = {
            **self._models(),
            "each": settings.selection_each,
            "seed": settings.selection_seed,
            "solver": settings.solver,
            "evaluations": settings.evaluations,
            "features": settings.features,
            "candidates": {name: asdict(c) for name, c in candidates(settings.rules).items()},
        }
        if not self.problem.silos:  # elsewhere the reference follows from the training
            asked |= self._reference_hashes()
        record = self.out / SELECTION_RECORD
        if (found := records.matching(record, asked, redo=self.redo)) is None:
            records.begin(record)
            reference = self._reference("known", settings.selection_each, settings.selection_seed)
            judge = Judge(self.space, self.reader.reader, {"known": reference}, settings.draws)
            selection = choose(
                self.model,
                judge,
                each=settings.selection_each,
                seed=settings.selection_seed,
                solver=Solver(settings.solver, settings.evaluations),
                rules=settings.rules,
                batch=settings.batch,
                on_candidate=lambda done, total: self.on_progress("choosing how to sample", done, total),
            )
            selection.to_json(self.out / SELECTION)
            records.finish(record, asked, [SELECTION], {"chosen": selection.chosen})
            return selection.chosen
        return str(found["chosen"])

    def _reference(self, cell: str, each: int, seed: int) -> Pictures:
        combinations = self.problem.known if cell == "known" else self.problem.novel
        return colour_digits(self.problem.reference, combinations, each, seed=seed)

    @cached_property
    def space(self) -> FeatureSpace:
        """In which pictures are compared, on the model's device."""
        return feature_space(self.settings.features, self.reader, self.model.device)

    def _judge(self, each: int) -> Judge:
        references = {cell: self._reference(cell, each, self.settings.seed) for cell in CELLS}
        return Judge(self.space, self.reader.reader, references, self.settings.draws, self.settings.seed)

    def _sampled(
        self, model: LoadedModel, sampling: Sampling, solver: Solver, each: int, what: str
    ) -> tuple[dict[str, Any], dict[str, Pictures]]:
        judge, made, verdict = self._judge(each), {}, {}
        networks = [CountingField(network) for network in model.networks]
        field = sampling.field(model.method, networks, model.histograms, SPACE.null)
        for cell in CELLS:
            combinations = self.problem.known if cell == "known" else self.problem.novel
            before = sum(network.rows for network in networks)
            made[cell] = sample(
                field,
                model.task.shape,
                combinations,
                each,
                seed=self.settings.seed,
                solver=solver,
                device=model.device,
                batch=self.settings.batch,
                on_progress=lambda done, total, cell=cell: self.on_progress(f"{what}, {cell}", done, total),
            )
            rows = sum(network.rows for network in networks) - before
            verdict[cell] = judge.judge(made[cell], cell) | {"network_evaluations": rows / len(made[cell])}
        return verdict, made

    def _header(self, chosen: str, solver: Solver, each: int) -> dict[str, Any]:
        model, training = self.model, self.model.config["training"]
        return {
            "what": "generated pictures against real ones of the same combinations, in equal numbers; intervals 95 %",
            "command": self.command,
            "git_revision": git_revision(),
            "method": model.name,
            "partition": model.partition,
            "training_seed": training["seed"],
            "trained_at_revision": model.metadata["git_revision"],
            "data": self.problem.reference.source,
            "data_sha256": model.metadata["data_hash"],
            "size": model.task.size,
            **self.asked(),
            "each": each,
            "sampling": chosen,
            "evaluations": solver.used,
            "feature_weights_sha256": self.space.weights_hash,
        }

    def _judge_point(self, point: "_Point", name: str, sampling: Sampling, solver: Solver, model: LoadedModel) -> None:
        """One point of a curve, if it is missing; ``name`` is the sampling's."""
        each, place = self.settings.curve_each, {point.key: point.value}
        asked = self.asked() | {"sampling": asdict(sampling), "each": each, **place}
        record = self.out / point.kind / f"{point.name}.record.json"
        if records.matching(record, asked, redo=self.redo) is not None:
            return
        records.begin(record)
        verdict, _ = self._sampled(model, sampling, solver, each, f"{point.kind} {point.value:g}")
        content = self._header(name, solver, each) | place | verdict
        write_json(self.out / point.kind / f"{point.name}.json", content)
        records.finish(record, asked, [f"{point.name}.json"])


@dataclass(frozen=True)
class _Point:
    """A point of a curve: its folder, its file's name, and what it is against."""

    kind: str
    name: str
    key: str
    value: int | float


def check(settings: EvaluationSettings, problem: Problem, reader: LoadedReader, device: torch.device) -> None:
    """Raise ``ValueError`` if models of a problem cannot be evaluated so: too few pictures for the feature space, a
    space that is not installed, or too few digits in the reference. No model is needed for that."""
    settings.check_numbers(min(len(problem.known), len(problem.novel)))
    size = problem.reference.images.shape[-1]
    if reader.sizes and not min(reader.sizes) <= size <= max(reader.sizes):
        log.warning(
            "pictures have %d pixels along an edge, the reader learned from %d to %d: the row of real digits tells how "
            "well it reads others",
            size,
            min(reader.sizes),
            max(reader.sizes),
        )
    feature_space(settings.features, reader, device)
    asked = {"each": settings.each}
    if settings.chooses:
        asked["selection_each"] = settings.selection_each
    if settings.has_points:
        asked["curve_each"] = settings.curve_each
    for key, each in asked.items():
        check_each(problem.reference, SPACE.combinations(), each, key)


def evaluate(
    trained_at: Path,
    out: Path,
    settings: EvaluationSettings,
    *,
    command: str,
    device: str = "auto",
    digits: str | None = None,
    folder: Path | None = None,
    held_back: Path | None = None,
    reader: Path | None = None,
    redo: bool = False,
    on_progress: StageProgress = silent,
) -> dict[str, Any]:
    """Evaluate the model in a folder; see the module.

    Args:
        trained_at: ``out/published/<method>`` of a training.
        out: folder of results.
        settings: how.
        command: for the record.
        device: ``auto``, ``cpu``, ``cuda``.
        digits, folder: see :func:`~dcfm_images.lineage.problem_of`.
        held_back: digits for a model of a federation, see :func:`~dcfm_images.lineage.problem_with`.
        reader: folder of another reader than the shipped one.
        redo: make again what was made with other weights or settings.
        on_progress: see :data:`~dcfm.progress.StageProgress`.

    Returns:
        The content of ``metrics.json``.

    Raises:
        ValueError: what cannot be, before anything is sampled.
    """
    model = load(trained_at, device)
    loaded = load_reader(reader, device=model.device)
    if held_back is not None:
        if digits is not None or folder is not None:
            raise EvaluationError(
                f"held_back={held_back} are all the real digits that are looked at; leave out digits={digits} and "
                f"folder={folder}"
            )
        problem = problem_with(model, held_back)
    else:
        otherwise = "give digits= and folder= as they were, or held_back=, digits that no silo had (docs/federation.md)"
        problem = problem_of(model, digits=digits, folder=folder, otherwise=otherwise)
    check(settings, problem, loaded, model.device)
    if settings.snapshots:
        kept_weights(model, trained_at)
    writable(out)
    return Evaluation(model, trained_at, problem, loaded, out, settings, command, redo, on_progress).run()
