"""Seeds made of a seed: all different, and taken by every generator."""

import torch

from dcfm.seeds import derived, hashed, training_seed


def test_seeds_of_trainings_are_all_different() -> None:
    seeds = {training_seed(s, i, part) for s in (0, 1, 2, 41) for i in range(300) for part in range(99)}
    assert len(seeds) == 4 * 300 * 99
    assert training_seed(0, 3) == 3
    assert len({training_seed(0, i, part) for i in range(10_007) for part in (0, 1, 98)}) == 3 * 10_007


def test_any_whole_number_makes_a_seed() -> None:
    """Dates, times, hashes, and what is derived of what was derived."""
    found = {derived(training_seed(s, 9, 3), 200, 7) for s in (0, -1, 20250101, 10**15, 2**62, 2**200 + 1)}
    assert len(found) == 6
    for seed in found:
        assert 0 <= seed < 2**63
        torch.manual_seed(seed)


def test_a_sequence_has_an_order() -> None:
    assert derived(5) == 5
    assert derived(0, 7) == 7
    assert len({derived(1, 2, 3), derived(1, 3, 2), derived(2, 1, 3), derived(derived(1, 2), 4)}) == 4


def test_seeds_of_labels_are_all_different() -> None:
    assert len({hashed(s, d, c) for s in range(3) for d in range(10) for c in range(10)}) == 300
    assert len({hashed(0, 1), hashed(1), hashed(1, 1), hashed(0, 2**40)}) == 4
    assert hashed(1, 0) == hashed(1)  # as NumPy pads them: keys are of one length
    torch.manual_seed(hashed(0, 9))
