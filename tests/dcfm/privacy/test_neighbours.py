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
    assert found["nearer_to_training"]["p"] == pytest.approx(1 / 2001)  # never 0: what was observed is a draw too
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


@pytest.mark.parametrize(("often", "rare"), [(2000, 20), (20, 2000)])
def test_chance_is_1_in_100_whatever_the_shares_of_combinations(often: int, rare: int) -> None:
    """Of a combination with much training data everything lies nearer to it; the held-out data have other shares."""
    generator, shares = torch.Generator().manual_seed(3), []

    def drawn(counts: tuple[int, int]) -> Samples:
        y = torch.arange(2).repeat_interleave(torch.tensor(counts))[:, None]
        return Samples(torch.randn(sum(counts), 2, generator=generator), y)

    for _ in range(8):
        training, heldout = drawn((often, rare)), drawn((400, 400))
        shares.append(neighbour_test(drawn((800, 800)), training, heldout)["copies"]["value"])
    assert 0.006 < sum(shares) / len(shares) < 0.015  # of all held-out samples alike: 0.003 or less


def test_ties_are_no_leak(generator: torch.Generator) -> None:
    """On a coarse grid every generated sample is equally near to samples of both halves."""
    grid = torch.cartesian_prod(torch.arange(20.0), torch.arange(20.0))
    y = torch.zeros(len(grid), 1, dtype=torch.long)
    training, heldout = (Samples(grid[torch.randperm(400, generator=generator)], y) for _ in range(2))
    found = neighbour_test(Samples(grid, y), training, heldout)
    near = found["nearer_to_training"]
    assert found["copies"]["value"] == 0  # as near as the held-out samples is not nearer
    assert found["copies_of_as_many"] == {"training": 0, "held_out": 0}
    assert near["value"] == pytest.approx(0.5, abs=0.08)
    assert near["low"] < 0.5 < near["high"]
    assert near["p"] > 0.025


def line(places: list[float], y: list[int] | None = None) -> Samples:
    """Points on a line, of one combination where none is given."""
    return Samples(torch.tensor(places)[:, None], torch.tensor(y or [0] * len(places))[:, None])


def test_one_witness_proves_nothing() -> None:
    """Of one real sample on each side, the nearest is the training sample half of the time."""
    near = neighbour_test(line([0.1]), line([0.0]), line([9.0]))["nearer_to_training"]
    assert near["value"] == 1
    assert near["p"] == pytest.approx(0.5, abs=0.05)


def test_chance_is_that_of_fair_coins() -> None:
    """A hundred combinations with one real sample on each side: 95 % of Binomial(100, 1/2) are from 40 to 60."""
    y = list(range(100))
    near = neighbour_test(line([0.1] * 100, y), line([0.0] * 100, y), line([9.0] * 100, y))["nearer_to_training"]
    assert near["by_chance"] == pytest.approx([0.4, 0.6], abs=0.011)


def test_chance_is_within_combinations() -> None:
    """Each real sample of the only combination generated is one neighbour: half are training samples in any draw."""
    near = neighbour_test(line([0.0, 9.0]), line([0.0, 0.0], [0, 1]), line([9.0, 9.0], [0, 1]))["nearer_to_training"]
    assert near["by_chance"] == [0.5, 0.5]
    assert near["p"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_samples_with_one_neighbour_are_one_witness(seed: int) -> None:
    """Four real samples, fifty generated at each: the interval is that of four."""
    near = neighbour_test(line([0.0, 1.0, 2.0, 3.0] * 50), line([0.0, 1.0]), line([2.0, 3.0]), seed=seed)
    found = near["nearer_to_training"]
    assert found["value"] == 0.5
    assert 0 <= found["low"] < 0.1
    assert 0.9 < found["high"] <= 1


def test_a_share_of_one_is_one_in_every_draw() -> None:
    found = neighbour_test(line([0.0] * 9 + [1.0]), line([0.0, 1.0]), line([8.0, 9.0]))["nearer_to_training"]
    assert (found["low"], found["value"], found["high"]) == pytest.approx((1, 1, 1))


def test_distances_are_to_all_training_samples() -> None:
    """Also to those that are not compared, where fewer are held out."""
    found = neighbour_test(line([291.0, 291.0]), line([10.0 * i for i in range(100)]), line([500.5]))
    assert found["median_distance"] == {"generated_to_training": 1.0, "heldout_to_training": 0.5}


def test_chance_is_the_seeds(generator: torch.Generator) -> None:
    sets = [normal(60, generator) for _ in range(3)]
    assert neighbour_test(*sets, seed=1) == neighbour_test(*sets, seed=1) != neighbour_test(*sets, seed=0)


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


def test_balancing_draws_at_random(generator: torch.Generator) -> None:
    """Not the first ones, such as the first recordings."""
    chosen, _ = balanced(line([float(i) for i in range(1000)]), line([0.0] * 100), generator)
    assert float(chosen.x.mean()) == pytest.approx(499.5, abs=5 * 289 / 100**0.5)


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


def test_p_is_of_sources_where_samples_have_some() -> None:
    """Ten like images of each of a few patients are hardly more evidence than one of each."""
    generator, small, widths = torch.Generator().manual_seed(5), 0, []
    for seed in range(40):
        real = [torch.randn(8, 2, generator=generator).repeat_interleave(10, 0) for _ in range(2)]
        real = [x + 0.3 * torch.randn(80, 2, generator=generator) for x in real]
        made = Samples(torch.randn(300, 2, generator=generator), torch.zeros(300, 1, dtype=torch.long))
        y, patients = torch.zeros(80, 1, dtype=torch.long), torch.arange(8).repeat_interleave(10)
        several = [Samples(x, y, patients + 8 * side) for side, x in enumerate(real)]
        alone = [Samples(x, y) for x in real]
        one, other = (neighbour_test(made, *both, seed=seed)["nearer_to_training"] for both in (several, alone))
        small += one["p"] < 0.1
        wide, narrow = (found["by_chance"][1] - found["by_chance"][0] for found in (one, other))
        widths.append(wide / narrow)
    assert small <= 9  # 4 expected
    assert sum(widths) / len(widths) > 1.2


def test_sources_are_known_where_those_of_each_part_are() -> None:
    x, y = torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.long)
    named = Samples(x, y, torch.tensor([3, 4]))
    both = joined([named, named[torch.tensor([1])]])
    assert both.sources is not None
    assert both.sources.tolist() == [3, 4, 4]
    assert joined([named, Samples(x, y)]).sources is None
