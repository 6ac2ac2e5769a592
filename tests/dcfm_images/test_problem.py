"""The split: every value observed, full rank, one colour a digit, reference apart, impossible ones refused."""

from pathlib import Path

import pytest
import torch

from dcfm.attributes import AttributeSpace, CoverageError
from dcfm_images.digits import Digits, load_digits
from dcfm_images.problem import SPACE, choose_observed, make_problem


def test_the_space_is_the_papers() -> None:
    assert SPACE.cardinalities == (10, 10)
    assert float(SPACE.minimum_coverage) == 0.19


@pytest.mark.parametrize("number", [19, 30, 50, 99])
@pytest.mark.parametrize("seed", range(3))
def test_observed_combinations_identify_all_main_effects(number: int, seed: int) -> None:
    chosen = choose_observed(SPACE, number, torch.Generator().manual_seed(seed))
    assert len(torch.unique(chosen, dim=0)) == number
    SPACE.check_coverage(chosen)
    assert torch.equal(chosen, choose_observed(SPACE, number, torch.Generator().manual_seed(seed)))


def test_the_choice_is_uniform_where_any_choice_would_do() -> None:
    """Of a 2 x 2 space any three combinations will do: each is left out equally often."""
    space = AttributeSpace.from_cardinalities(2, 2)
    generator = torch.Generator().manual_seed(0)
    left_out = torch.zeros(4)
    for _ in range(120):
        _, novel = space.split(choose_observed(space, 3, generator))
        left_out[int(novel[0, 0] * 2 + novel[0, 1])] += 1
    assert (left_out - 30).abs().max() < 4 * (120 * 0.25 * 0.75) ** 0.5


@pytest.mark.parametrize("number", [0, 18, 100, 101])
def test_too_few_or_too_many_are_refused(number: int) -> None:
    with pytest.raises(CoverageError, match=rf"observed={number} of 100 .* at least 19"):
        choose_observed(SPACE, number, torch.Generator())


@pytest.mark.parametrize("kind", ["iid", "noniid", "disjoint"])
def test_silos_hold_known_combinations_only_and_share_no_digit_with_the_reference(digits: Digits, kind: str) -> None:
    # Mark every digit, so that it can be told where it went.
    digits.images[:, 7, :] = 0
    digits.images[:, 7, 0] = torch.arange(300).div(256, rounding_mode="floor").to(torch.uint8)
    digits.images[:, 7, 1] = (torch.arange(300) % 256).to(torch.uint8)

    def marks(images: torch.Tensor) -> list[int]:
        return (images[:, 7, 0].long() * 256 + images[:, 7, 1]).tolist()

    problem = make_problem(digits, silos=3, kind=kind, alpha=0.5, observed=50, reference=0.2, seed=1)
    held = torch.cat([silo.labels for silo in problem.silos])
    placed = sum((marks(silo.data) for silo in problem.silos), marks(problem.reference.images))
    assert sorted(placed) == list(range(300))  # once each: one colour a digit
    assert torch.equal(torch.unique(held, dim=0), problem.known)
    assert (len(problem.known), len(problem.novel), len(problem.reference)) == (50, 50, 60)
    assert torch.equal(torch.bincount(problem.reference.labels), torch.full((10,), 6))
    for silo in problem.silos:
        assert silo.data.dtype == torch.uint8
        assert torch.equal(digits.labels[marks(silo.data)], silo.labels[:, 0])
    again = make_problem(digits, silos=3, kind=kind, alpha=0.5, observed=50, reference=0.2, seed=1)
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(problem.silos, again.silos, strict=True))
    other = make_problem(digits, silos=3, kind=kind, alpha=0.5, observed=50, reference=0.2, seed=2)
    assert not torch.equal(other.known, problem.known)


def test_colours_are_dealt_evenly(digits: Digits) -> None:
    problem = make_problem(digits, silos=1, kind="iid", observed=40)
    (histogram,) = (silo.histogram(SPACE) for silo in problem.silos)
    for digit in range(10):
        counts = histogram.counts[histogram.combinations[:, 0] == digit]
        assert counts.max() - counts.min() <= 1


def test_the_matrix_says_who_holds_what(digits: Digits) -> None:
    problem = make_problem(digits, silos=3, kind="noniid", alpha=0.5)
    matrix = problem.matrix()
    counts = torch.tensor(matrix["counts"])
    assert counts.shape == (3, 10, 10)
    assert counts.sum((1, 2)).tolist() == [len(silo) for silo in problem.silos]
    assert (counts.sum(0) > 0).nonzero().tolist() == matrix["known"]
    text = problem.describe().splitlines()
    assert len(text) == 13
    assert sum(line.count("·") for line in text[2:12]) == 50
    for digit, line in enumerate(text[2:12]):
        label, *cells = line.split()
        held = counts[:, digit]
        told = [f"{int((n > 0).sum())}:{int(n.sum())}" if n.any() else "·" for n in held.T]
        assert (label, cells) == (str(digit), told)


def test_too_few_digits(digits: Digits) -> None:
    with pytest.raises(ValueError, match="cannot feed 400 silos"):
        make_problem(digits, silos=400, kind="iid")
    few = digits[torch.arange(30)]  # three a class
    with pytest.raises(ValueError, match=r"give another share than reference=0\.2, or observe fewer"):
        make_problem(few, silos=2, kind="iid", observed=90)
    without = digits[(digits.labels != 4).nonzero()[:, 0]]
    with pytest.raises(ValueError, match="0 digits 4 feed"):
        make_problem(without, silos=2, kind="iid")
    with pytest.raises(ValueError, match="left without data; use at most 50 silos"):
        make_problem(digits, silos=60, kind="disjoint")


def test_bad_words(digits: Digits) -> None:
    with pytest.raises(ValueError, match="the partitions are iid, noniid, disjoint"):
        make_problem(digits, silos=2, kind="non-iid")
    with pytest.raises(ValueError, match="between 0 and 1"):
        make_problem(digits, silos=2, reference=1.0)


def test_real_digits_feed_ten_silos() -> None:
    digits = load_digits(Path("nowhere"), 14, source="embedded")
    problem = make_problem(digits, silos=10, kind="noniid", alpha=0.1)
    assert min(len(silo) for silo in problem.silos) > 0
    assert sum(len(silo) for silo in problem.silos) == 4000
