"""The files of an evaluation, each written whole or not at all."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import UInt8

from dcfm import records
from dcfm.artefacts import atomically
from dcfm.npz import DAMAGED
from dcfm_images.evaluation_settings import EvaluationError
from dcfm_images.pictures import Pictures

log = logging.getLogger(__name__)

METRICS: Final = "metrics.json"
RECORD: Final = "record.json"
SELECTION: Final = "selection.json"
SELECTION_RECORD: Final = "selection.record.json"
PICTURES: Final = "pictures.npz"
POINTS: Final = {"curve": "evaluations", "snapshots": "training_steps", "guidance": "guidance"}
"""Kinds of curves, and what their points are against."""
SAME: Final = (
    "method",
    "weights_sha256",
    "reader_sha256",
    "reference_sha256",
    "features",
    "seed",
    "solver",
    "bootstrap",
)
"""What a curve's points have in common with the metrics beside them."""
VARIED: Final = {"curve": "evaluations", "snapshots": "training_steps", "guidance": "sampling"}
"""What differs along a kind of curve; neither evaluations nor sampling differ but where they stand here."""
KEPT: Final = 10
"""Pictures of each combination in :data:`PICTURES`."""


def read_metrics(out: Path) -> dict[str, Any]:
    """The content of ``metrics.json`` in a folder of results."""
    return dict(json.loads((out / METRICS).read_text(encoding="utf-8")))


def read_points(out: Path, kind: str) -> list[dict[str, Any]]:
    """The points of ``curve``, ``snapshots`` or ``guidance`` in a folder of results, in order; none if it has none.

    Those that are damaged, or of another model, other silos, noise or sampling than the folder's metrics, or of fewer
    pictures than others, are left out with a warning: ``redo`` makes again what is asked for alone.
    """
    points: list[dict[str, Any]] = []
    whose = read_metrics(out) if (out / METRICS).is_file() else {}
    same = [*SAME, *({"evaluations", "sampling"} - {VARIED[kind]})]
    for record in (out / kind).glob("*.record.json"):
        path = record.with_name(record.name.replace(".record", ""))
        try:
            if records.read(record) is None:
                continue
        except records.RecordError as error:
            log.warning("a point of %s is left out: %s", kind, error)
            continue
        point = json.loads(path.read_text(encoding="utf-8"))
        if other := [key for key in same if point.get(key) != whose.get(key)]:
            log.warning("%s is left out: its %s is not that of %s; make it again", path, other[0], out / METRICS)
            continue
        points.append(point)
    most = max((point["each"] for point in points), default=0)
    alike = [point for point in points if point["each"] == most]  # a distance falls with the number of pictures
    if fewer := len(points) - len(alike):
        log.warning("%s: %d points are left out, of fewer pictures than others (each=%d)", kind, fewer, most)
    return sorted(alike, key=lambda point: point[POINTS[kind]])


def write_pictures(path: Path, made: Mapping[str, Pictures], each: int) -> None:
    """The first pictures of every combination, known ones first; they come in runs of one combination."""
    images, labels = [], []
    for pictures in made.values():
        run = len(pictures) // len(pictures.labels.unique(dim=0))
        rows = torch.arange(len(pictures)).reshape(-1, run)[:, :each].flatten()
        images.append(pictures.images[rows])
        labels.append(pictures.labels[rows])
    with atomically(path) as temporary:
        np.savez_compressed(temporary, images=torch.cat(images).numpy(), labels=torch.cat(labels).numpy())


def read_pictures(out: Path) -> dict[tuple[int, int], UInt8[np.ndarray, "n 3 height width"]]:
    """The kept pictures by combination.

    Raises:
        EvaluationError: the file is missing or damaged.
    """
    path = out / PICTURES
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:  # numpy leaves its own open on errors
            images, labels = found["images"], found["labels"]
    except DAMAGED as error:
        raise EvaluationError(f"{path} is missing or damaged ({error}); evaluate again") from error
    return {
        (int(digit), int(colour)): images[(labels == (digit, colour)).all(1)]
        for digit, colour in np.unique(labels, axis=0)
    }
