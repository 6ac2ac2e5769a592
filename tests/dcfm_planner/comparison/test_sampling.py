"""The choice of how a planner is sampled counts the answers that novel pairs would get."""

from dataclasses import replace

import pytest
import torch

from dcfm.methods import registry
from dcfm_planner.comparison.sampling import CANDIDATES, choose, count_feasible
from dcfm_planner.quadrants import KNOWN_PAIRS, pair_labels


@pytest.mark.parametrize(("method", "seed", "both"), [("dcfm_a", 9, True), ("dcfm_b", 7, False)])
def test_the_worse_of_two_answers_counts(method: str, seed: int, both: bool) -> None:
    """DCFM-A's joint rule composes what nobody holds; a student answers every pair alike."""
    weights, known = f"cube-single/noniid/{method}", torch.from_numpy(pair_labels(KNOWN_PAIRS))
    joint = CANDIDATES["joint"]
    composed = replace(joint, rule="composed")
    k, other = (count_feasible(weights, way, known, plans=1, seed=seed, device="cpu")[0] for way in (joint, composed))
    assert k > other  # or this test could not fail
    selection = choose(weights, plans=1, seed=seed, device="cpu", rules=["joint"])
    assert selection.scores["joint"] == (min(k, other) if both else k, len(known))


def test_only_dcfm_a_answers_novel_pairs_otherwise() -> None:
    changed = {(name, rule) for name in registry.names() for rule in ("joint", "composed", "full")}
    changed = {(name, rule) for name, rule in changed if registry.make(name).novel_rule(rule) != rule}
    assert changed == {("dcfm_a", "joint")}
