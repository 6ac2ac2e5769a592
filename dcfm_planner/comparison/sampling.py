"""How an entry is sampled: chosen by the share of feasible plans on known pairs, among the same candidates for all.

No rollout and no novel pair takes part: :func:`dcfm.methods.sampling.choose` hands known pairs only, and the planner
that is scored raises where it is asked for another one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Int
from torch import Tensor

from dcfm.methods import registry, sampling
from dcfm.methods.method import RULES
from dcfm.seeds import hashed
from dcfm.selection import KnownOnly, Selection
from dcfm_planner.evaluation.run import CHUNK
from dcfm_planner.feasibility import check
from dcfm_planner.models import Sampling, load_planner
from dcfm_planner.quadrants import KNOWN_PAIRS, SPACE, pair_labels

CANDIDATES: Final = {
    "joint": Sampling(rule="joint", guidance=(1.0, 1.0)),
    "composed, w = 1": Sampling(rule="composed", guidance=(1.0, 1.0)),
    "composed, w = 1.5": Sampling(rule="composed", guidance=(1.5, 1.5)),
}
"""By name, the plainest first: of equals the first is chosen."""


def candidates(rules: Sequence[str]) -> dict[str, Sampling]:
    """Those of :data:`CANDIDATES` that sample by one of these rules."""
    return {name: way for name, way in CANDIDATES.items() if way.rule in rules}


def count_feasible(
    weights: str | Path, way: Sampling, known: Int[Tensor, "m k"], *, plans: int, seed: int, device: str = "auto"
) -> tuple[int, int]:
    """How many plans for known pairs are feasible, and of how many.

    Args:
        weights: of a planner.
        way: how it is sampled.
        known: the pairs.
        plans: a pair, each with noise of its own that is the same for every planner and way.
        seed: of the noise.
    """
    planner = load_planner(weights, device=device, sampling=way).planner
    planner = replace(planner, field=KnownOnly(planner.field, known, SPACE.null))
    labels = known.repeat(plans, 1)
    seeds = [hashed(seed, i) for i in range(len(labels))]
    feasible = 0
    for rows in torch.arange(len(labels)).split(CHUNK):
        generators = [torch.Generator().manual_seed(seeds[row]) for row in rows.tolist()]
        plan = planner.sample(labels[rows], generators)
        feasible += sum(map(bool, check(plan, labels[rows].numpy())))
    return feasible, len(labels)


def choose(
    weights: str | Path,
    *,
    plans: int,
    seed: int,
    device: str = "auto",
    rules: Sequence[str] = RULES,
    on_candidate: Callable[[int, int], None] | None = None,
) -> Selection:
    """Choose among :data:`CANDIDATES` for one planner.

    Args:
        weights: of the planner.
        plans: a known pair.
        seed: of the noise.
        rules: the candidates of these rules only.
        on_candidate: called with (candidates scored, candidates).
    """
    return sampling.choose(
        candidates(rules),
        registry.make(load_planner(weights, device=device).method),
        partial(count_feasible, weights, plans=plans, seed=seed, device=device),
        torch.from_numpy(pair_labels(KNOWN_PAIRS)),
        criterion=f"feasible plans, {plans} for each known pair, noise seed {seed}, nothing executed",
        on_candidate=on_candidate,
    )
