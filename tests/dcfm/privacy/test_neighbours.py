"""Nearest neighbours: copies are found, honest generators are not accused, combinations are kept apart."""

import pytest
import torch

from dcfm.privacy.neighbours import Samples, balanced, joined, nearest, neighbour_test


def normal(number: int, generator: torch.Generator) -> Samples:
    y = torch.arange(number).remainder(3)[:, None]
    return Samples(torch.randn(number, 2, 2, generator=generator) + 10.0 * y[:, :, None], y)


def test_a_copier_is_found(generator: torch.Generator) -> None:
    training, heldout = normal(300, generator), normal(150, generator)
    copied = Samples(training.x[:120] + 1e-4, training.y[:120])
    found = neighbour_test(copied, training, heldout)
    assert found["copies"]["value"] == 1.0
    assert found["nearer_to_training"]["value"] > 0.6  # only half of the training data is compared
    assert found["nearer_to_training"]["p"] < 0.01
    assert (found["training"], found["training_compared"], found["held_out"]) == (300, 150, 150)


def test_an_honest_generator_is_not_accused(generator: torch.Generator) -> None:
    found = neighbour_test(normal(600, generator), normal(300, generator), normal(300, generator))
    near = found["nearer_to_training"]
    assert near["by_chance"][0] < near["value"] < near["by_chance"][1]
    assert near["low"] < 0.5 < near["high"]
    assert near["p"] > 0.025
    assert found["copies"]["low"] < 0.02


def test_ties_are_no_leak(generator: torch.Generator) -> None:
    """On a coarse grid every generated sample is equally near to samples of both halves."""
    grid = torch.cartesian_prod(torch.arange(20.0), torch.arange(20.0))
    y = torch.zeros(len(grid), 1, dtype=torch.long)
    training, heldout = (Samples(grid[torch.randperm(400, generator=generator)], y) for _ in range(2))
    near = neighbour_test(Samples(grid, y), training, heldout)["nearer_to_training"]
    assert near["value"] == pytest.approx(0.5, abs=0.08)
    assert near["low"] < 0.5 < near["high"]
    assert near["p"] > 0.025


def test_a_timid_generator_is_no_copier(generator: torch.Generator) -> None:
    """Samples near the middle are near to all real ones: many "copies", but as many of held-out samples."""
    training, heldout, timid = (normal(300, generator) for _ in range(3))
    timid = Samples(10.0 * timid.y[:, :, None] + 0.3 * (timid.x - 10.0 * timid.y[:, :, None]), timid.y)
    found = neighbour_test(timid, training, heldout)
    both = found["copies_of_as_many"]
    assert both["training"] == pytest.approx(both["held_out"], abs=0.1)
    assert found["nearer_to_training"]["p"] > 0.025
    copied = neighbour_test(training, training, heldout)["copies_of_as_many"]
    assert copied["training"] > copied["held_out"] + 0.5


def test_neighbours_are_of_the_same_combination() -> None:
    a = Samples(torch.zeros(1, 1), torch.tensor([[0]]))
    b = Samples(torch.tensor([[0.1], [3.0]]), torch.tensor([[1], [0]]))
    distance, place = nearest(a, b)
    assert (float(distance), int(place)) == (3.0, 1)


def test_balancing_takes_as_many_of_each_combination(generator: torch.Generator) -> None:
    first = Samples(torch.arange(6.0)[:, None], torch.tensor([[0], [0], [0], [1], [2], [2]]))
    second = Samples(torch.arange(4.0)[:, None], torch.tensor([[0], [1], [1], [1]]))
    a, b = balanced(first, second, generator)
    assert a.y.tolist() == b.y.tolist() == [[0], [1]]


def test_nothing_in_common_is_an_error(generator: torch.Generator) -> None:
    one, two = (Samples(torch.zeros(2, 1), torch.full((2, 1), v)) for v in (0, 1))
    with pytest.raises(ValueError, match="no combination occurs both"):
        neighbour_test(one, one, two)
    with pytest.raises(ValueError, match="no generated sample"):
        neighbour_test(two, one, one)


def test_neighbours_of_one_source_are_one_witness(generator: torch.Generator) -> None:
    y = torch.zeros(400, 1, dtype=torch.long)
    training, heldout, generated = (torch.randn(400, 3, generator=generator) for _ in range(3))
    few = torch.arange(400).remainder(8)
    alone = neighbour_test(Samples(generated, y), Samples(training, y), Samples(heldout, y))["nearer_to_training"]
    grouped = neighbour_test(Samples(generated, y), Samples(training, y, few), Samples(heldout, y, few + 8))[
        "nearer_to_training"
    ]
    assert grouped["value"] == alone["value"]
    # 16 sources instead of some 270 different neighbours.
    assert grouped["high"] - grouped["low"] > 2.5 * (alone["high"] - alone["low"])


def test_sources_are_known_where_those_of_each_part_are() -> None:
    x, y = torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.long)
    named = Samples(x, y, torch.tensor([3, 4]))
    both = joined([named, named[torch.tensor([1])]])
    assert both.sources is not None
    assert both.sources.tolist() == [3, 4, 4]
    assert joined([named, Samples(x, y)]).sources is None
