"""The control: real digits of the silos, coloured as asked for, judged like generated pictures.

What they score is the floor of every distance at this number of pictures, and the ceiling of accuracy by this reader.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dcfm import records
from dcfm.artefacts import git_revision
from dcfm.records import write_json
from dcfm.weights import fingerprint
from dcfm_images.digits import Digits
from dcfm_images.evaluation_settings import EvaluationSettings
from dcfm_images.features import feature_space
from dcfm_images.judging import BOOTSTRAP, CELLS, Judge
from dcfm_images.pictures import colour_digits
from dcfm_images.problem import Problem
from dcfm_images.reader import LoadedReader
from dcfm_images.results import KEPT, METRICS, PICTURES, RECORD, read_metrics, write_pictures
from dcfm_images.table_settings import REAL


def silo_digits(problem: Problem) -> Digits:
    """All silos' digits, grey: none of them is in the reference."""
    images = torch.cat([silo.data for silo in problem.silos])
    labels = torch.cat([silo.labels[:, 0] for silo in problem.silos])
    return Digits(images, labels, problem.reference.source)


def evaluate_real(
    problem: Problem,
    reader: LoadedReader,
    out: Path,
    settings: EvaluationSettings,
    *,
    command: str,
    device: torch.device | str = "cpu",
    redo: bool = False,
) -> dict[str, Any]:
    """Judge real digits of the silos as if they were generated; returns the content of ``metrics.json``. One process at
    a time does.

    Args:
        problem: its silos' digits are judged, against its reference.
        reader: reads digit and colour.
        out: folder of results.
        settings: how.
        command: for the record.
        device: of the feature space.
        redo: make again what was made otherwise.

    Raises:
        ValueError: results that are there were made otherwise, or too few digits.
    """
    pool = silo_digits(problem)
    space = feature_space(settings.features, reader, device)
    asked: Mapping[str, Any] = {
        "weights_sha256": None,
        "reader_sha256": reader.weights_hash,
        "feature_weights_sha256": space.weights_hash,
        "reference_sha256": fingerprint([{"images": problem.reference.images}]),
        "pool_sha256": fingerprint([{"images": pool.images}]),
        "each": settings.each,
        "seed": settings.seed,
        "features": settings.features,
        "draws": settings.draws,
        "bootstrap": BOOTSTRAP,
    }
    record = out / RECORD
    with records.alone_in(out):
        if records.matching(record, asked, redo=redo) is None:
            records.begin(record)
            wanted = {"known": problem.known, "novel": problem.novel}
            references = {
                c: colour_digits(problem.reference, wanted[c], settings.each, seed=settings.seed) for c in CELLS
            }
            judge = Judge(space, reader.reader, references, settings.draws, settings.seed)
            made = {c: colour_digits(pool, wanted[c], settings.each, seed=settings.seed + 1) for c in CELLS}
            content = {
                "what": "real digits of the silos, coloured, judged like generated pictures; intervals 95 %",
                "command": command,
                "git_revision": git_revision(),
                "method": REAL,
                "data": problem.reference.source,
                **asked,
            }
            write_json(out / METRICS, content | {cell: judge.judge(made[cell], cell) for cell in CELLS})
            write_pictures(out / PICTURES, made, min(KEPT, settings.each))
            records.finish(record, asked, [METRICS, PICTURES])
        return read_metrics(out)
