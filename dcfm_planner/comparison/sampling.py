"""How an entry is sampled: chosen by the share of feasible plans on known pairs, among the same candidates for all.

No rollout and no novel pair takes part: :func:`dcfm.selection.select` hands known pairs only, and the planner that is
scored raises where it is asked for another one.

Where a method answers known and novel pairs by different rules (DCFM-A's joint rule), known pairs are planned by both,
and the worse of the two counts: the one that novel pairs never take would say nothing of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Int
from torch import Tensor

from dcfm.methods import registry
from dcfm.methods.method import RULES
from dcfm.seeds import hashed
from dcfm.selection import KnownOnly, Selection, select
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
    return {name: sampling for name, sampling in CANDIDATES.items() if sampling.rule in rules}


def count_feasible(
    weights: str | Path, sampling: Sampling, known: Int[Tensor, "m k"], *, plans: int, seed: int, device: str = "auto"
) -> tuple[int, int]:
    """How many plans for known pairs are feasible, and of how many.

    Args:
        weights: of a planner.
        sampling: how it is sampled.
        known: the pairs.
        plans: a pair, each with noise of its own that is the same for every planner and sampling.
        seed: of the noise.
    """
    planner = load_planner(weights, device=device, sampling=sampling).planner
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
    notify = on_candidate or (lambda done, total: None)
    scored, allowed = 0, candidates(rules)
    method = registry.make(load_planner(weights, device=device).method)
    notify(scored, len(allowed))

    def score(sampling: Sampling, known: Int[Tensor, "m k"]) -> tuple[int, int]:
        nonlocal scored
        ways = dict.fromkeys((sampling, replace(sampling, rule=method.novel_rule(sampling.rule))))
        found = [count_feasible(weights, way, known, plans=plans, seed=seed, device=device) for way in ways]
        scored += 1
        notify(scored, len(allowed))
        return min(found)

    return select(
        allowed,
        score,
        torch.from_numpy(pair_labels(KNOWN_PAIRS)),
        settings={name: asdict(sampling) for name, sampling in allowed.items()},
        criterion=f"feasible plans, {plans} for each known pair, noise seed {seed}, nothing executed; by the rule for "
        "novel pairs too where that is another one, the worse of the two",
    )
