"""From trials to the numbers of the table: pairing, what is left out, intervals of one training and of several."""

from dataclasses import replace

import numpy as np
import pytest

from dcfm.comparison import ComparisonError, Entry
from dcfm.metrics.intervals import wilson
from dcfm_planner.comparison.collate import Difference, Share, collect
from dcfm_planner.comparison.settings import ComparisonSettings
from dcfm_planner.comparison.state import look

OURS, OTHER = Entry("noniid", "dcfm_b", 0), Entry("noniid", "ddm_l", 0)
PLANNER_KNOWN, PLANNER_NOVEL = ("planner", "known"), ("planner", "novel")


def test_shares_have_wilsons_interval(settings: ComparisonSettings, write) -> None:
    write(settings, OURS, {PLANNER_NOVEL: range(9)})
    found = collect(settings).evaluated["noniid", "paper", "dcfm_b"]
    share = found.share("novel")
    assert (share.k, share.n, share.interval) == (9, 12, "Wilson")
    assert (share.low, share.high) == wilson(9, 12)
    assert found.share("known").rate == 0.0


def test_solved_at_the_start_in_either_is_left_out(settings: ComparisonSettings, write) -> None:
    write(settings, OURS, {PLANNER_KNOWN: range(10)}, at_start=[0, 1])
    write(settings, OTHER, {PLANNER_KNOWN: [0, 3, 11]}, at_start=[1, 2])
    collated = collect(settings)
    ours, other = (collated.evaluated["noniid", "paper", method] for method in ("dcfm_b", "ddm_l"))
    assert (ours.share("known").k, ours.share("known").n) == (8, 10)
    found = ours.minus(other, "known")
    assert found.n == 9  # of twelve, problems 0, 1 and 2 are left out
    assert (found.first_only, found.second_only) == (6, 1)
    assert found.difference == pytest.approx((7 - 2) / 9)
    assert found.interval == "Newcombe"


def test_pairs_of_quadrants(settings: ComparisonSettings, write) -> None:
    write(settings, OURS, {PLANNER_NOVEL: [0, 4, 8, 1], PLANNER_KNOWN: range(12)})
    pairs = collect(settings).evaluated["noniid", "paper", "dcfm_b"].pairs()
    assert len(pairs) == 16
    assert (pairs["TL", "BR"].k, pairs["TL", "BR"].n) == (3, 3)  # every fourth problem from 0
    assert (pairs["TR", "BL"].k, pairs["TR", "BL"].n) == (1, 3)
    assert (pairs["TL", "TL"].k, pairs["TL", "TL"].n) == (1, 1)


def test_several_trainings_widen_and_pair_by_seed(settings: ComparisonSettings, write) -> None:
    several = replace(settings, seeds=(0, 1, 2))
    for seed, good in enumerate([2, 6, 11]):
        write(several, Entry("noniid", "dcfm_b", seed), {PLANNER_NOVEL: range(good)})
    write(several, Entry("noniid", "ddm_l", 1), {PLANNER_NOVEL: range(3)})
    collated = collect(several)
    ours, other = (collated.evaluated["noniid", "paper", method] for method in ("dcfm_b", "ddm_l"))
    share = ours.share("novel")
    assert (share.k, share.n, share.interval) == (19, 36, "hierarchical bootstrap")
    low, high = wilson(19 / 3, 12)
    assert share.low < low
    assert share.high > high
    assert ours.after(1).share("novel").k == 6
    found = ours.minus(other, "novel")  # the only common training
    assert (found.n, found.first_only, found.second_only) == (12, 3, 0)
    assert ours.minus(ours, "novel").interval == "hierarchical bootstrap"


def test_a_training_that_does_what_the_first_did_says_nothing_new(settings: ComparisonSettings, write) -> None:
    """Problems that succeed or fail in all trainings alike count once, in intervals and in tests."""
    several = replace(settings, seeds=(0, 1))
    for seed in several.seeds:
        write(several, Entry("noniid", "dcfm_b", seed), {PLANNER_NOVEL: range(9)})
        write(several, Entry("noniid", "ddm_l", seed), {PLANNER_NOVEL: range(3)})
    ours, other = (collect(several).evaluated["noniid", "paper", method] for method in ("dcfm_b", "ddm_l"))
    both, alone = ours.share("novel"), ours.after(0).share("novel")
    assert (both.k, both.n) == (18, 24)
    assert both.low <= alone.low < alone.high <= both.high
    found, once = ours.minus(other, "novel"), ours.after(0).minus(other.after(0), "novel")
    assert (found.n, found.first_only, found.difference) == (24, 12, once.difference)
    assert found.p == pytest.approx(once.p)
    assert found.low <= once.low < once.high <= found.high
    pair = ours.pairs()["TL", "BR"]
    assert (pair.k, pair.n) == (6, 6)
    assert (pair.low, pair.high) == wilson(3, 3)


def test_certain_success_still_has_an_interval(settings: ComparisonSettings, write) -> None:
    several = replace(settings, seeds=(0, 1))
    for seed in several.seeds:
        write(several, Entry("noniid", "dcfm_b", seed), {PLANNER_NOVEL: range(12)})
    share = collect(several).evaluated["noniid", "paper", "dcfm_b"].share("novel")
    assert (share.low, share.high) == wilson(12, 12)


def test_a_training_that_solved_all_at_the_start_says_nothing(settings: ComparisonSettings, write) -> None:
    write(settings, OURS, {PLANNER_KNOWN: range(7)})
    some = collect(settings).evaluated["noniid", "paper", "dcfm_b"].outcomes[0][PLANNER_KNOWN]
    none = replace(some, counted=np.zeros_like(some.counted))
    assert Share.of([some, none]) == Share.of([some])
    other = replace(some, success=some.success[::-1])
    assert Difference.of([(some, other), (none, other)]) == Difference.of([(some, other)])
    assert (Share.of([none]).n, Share.of([none]).rate) == (0, None)


def test_other_problems_cannot_be_compared(settings: ComparisonSettings, write) -> None:
    write(settings, OURS, {})
    one = collect(settings).evaluated["noniid", "paper", "dcfm_b"].outcomes[0]
    known, novel = one[PLANNER_KNOWN], one[PLANNER_NOVEL]
    with pytest.raises(ComparisonError, match="not asked the same problems"):
        Difference.of([(known, novel)])
    with pytest.raises(ComparisonError, match="not asked the same problems"):
        Difference.of([(known, replace(known, problem=known.problem + 1))])
    with pytest.raises(ComparisonError, match="not asked the same problems"):
        Difference.of([(known, replace(known, labels=known.labels[::-1]))])
    with pytest.raises(ComparisonError, match="not asked the same problems"):  # nor trainings put together
        Share.of([novel, replace(novel, problem=novel.problem + 1)])
    assert Difference.of([]).difference is None


def test_collecting_takes_what_is_there(settings: ComparisonSettings, write) -> None:
    assert collect(settings).evaluated == {}
    write(settings, OURS, {}, protocols=("paper",))
    assert set(collect(settings).evaluated) == {("noniid", "paper", "dcfm_b")}
    assert [e.method for e in collect(settings).at("noniid", "paper")] == ["dcfm_b"]
    assert look(settings, OURS).weights_hash is not None
