"""From play data to silos, and from silos to published planners: what ``scripts/train_planner.py`` runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dcfm.decentralized import Federation, fingerprint
from dcfm.silos import Silo, partition
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.peers import PeerConfig
from dcfm.trainers.student import StudentConfig
from dcfm_planner.models import publish
from dcfm_planner.quadrants import NOVEL_PAIRS, pair_labels
from dcfm_planner.segments import SegmentSet
from dcfm_planner.task import PlannerTask


def without_novel(segments: SegmentSet) -> SegmentSet:
    """The segments of the twelve known pairs: the diagonal moves are in no silo."""
    novel = torch.from_numpy(pair_labels(NOVEL_PAIRS))
    known = ~(segments.labels[:, None] == novel).all(-1).any(1)
    return segments[known.nonzero()[:, 0]]


def deal(segments: SegmentSet, kind: str, silos: int, *, alpha: float, seed: int) -> list[Silo]:
    """Deal the known pairs' segments to silos (``iid``, ``noniid`` or ``disjoint``, see
    :func:`dcfm.silos.partition`)."""
    known = without_novel(segments)
    generator = torch.Generator().manual_seed(seed)
    rows = partition(kind, known.labels, silos, generator, alpha=alpha)
    return [Silo(f"robot{i}", known.trajectories[r], known.labels[r]) for i, r in enumerate(rows)]


def describe_silos(silos: Sequence[Silo], space: Any) -> str:
    """One line a silo: how many segments of which pair."""
    lines = []
    for silo in silos:
        histogram = silo.histogram(space)
        pairs = [
            f"{'-'.join(space.values[i][v] for i, v in enumerate(c))} {n}"
            for c, n in zip(histogram.combinations.tolist(), histogram.counts.tolist(), strict=True)
        ]
        lines.append(f"{silo.name}: {histogram.total} segments: {', '.join(pairs)}")
    return "\n".join(lines)


def train_and_publish(
    federation: Federation,
    methods: Sequence[str],
    stage_one: LocalConfig,
    peers: PeerConfig,
    student: StudentConfig,
    *,
    partition: str,
    training: Mapping[str, Any],
) -> dict[str, Path]:
    """Stage I, then the asked-for methods; returns the folder of each published planner.

    Everything that a method passed between silos is listed in ``out/<method>.ledger.jsonl``.
    """
    task = federation.task
    if not isinstance(task, PlannerTask):
        raise TypeError(f"a planner is trained on a PlannerTask, not on {type(task).__name__}")
    local = federation.stage_one(stage_one)
    data_hash = fingerprint([{"data": s.data, "labels": s.labels} for s in federation.silos])
    folders = {}
    for method in methods:
        exchange = federation.exchange()
        if method == "dcfm_a":
            experts = federation.dcfm_a(local, peers, exchange)
        else:
            experts = [federation.dcfm_b(local, student, exchange)]
        folders[method] = federation.out / "published" / method
        publish(
            folders[method],
            experts,
            federation.histograms,
            task,
            method=method,
            partition=partition,
            training=training,
            data_hash=data_hash,
        )
        exchange.ledger.to_jsonl(federation.out / f"{method}.ledger.jsonl")
    return folders
