import pytest
import torch
from torch import Tensor

from dcfm.attributes import AttributeSpace, CoverageError
from dcfm.silos import (
    PARTITIONS,
    LabelHistogram,
    Silo,
    check_names,
    check_silos,
    partition,
    partition_dirichlet,
    partition_disjoint,
    silos_hash,
)

SPACE = AttributeSpace.from_cardinalities(2, 3)
KNOWN = [[0, 0], [0, 1], [0, 2], [1, 0]]
LABELS = torch.tensor([[1, 2], [0, 0], [1, 2], [0, 1], [0, 0], [0, 0]])


@pytest.fixture
def histogram() -> LabelHistogram:
    return LabelHistogram.from_labels(LABELS, SPACE.cardinalities)


@pytest.fixture
def many_labels(generator: torch.Generator) -> Tensor:
    return SPACE.draw_combinations(600, generator)


def silo(name: str, labels: list[list[int]]) -> Silo:
    return Silo(name, torch.zeros(len(labels), 2), torch.tensor(labels))


class TestLabelHistogram:
    def test_counts(self, histogram: LabelHistogram) -> None:
        assert histogram.combinations.tolist() == [[0, 0], [0, 1], [1, 2]]
        assert histogram.counts.tolist() == [3, 1, 2]
        assert histogram.total == len(LABELS)
        assert histogram.marginal(0).tolist() == [4, 2]
        assert histogram.marginal(1).tolist() == [3, 1, 2]

    def test_count_of_labels_with_null_tokens(self, histogram: LabelHistogram) -> None:
        y = torch.tensor([[0, 0], [1, 0], [2, 2], [0, 3], [2, 3]])
        assert histogram.count(y).tolist() == [3, 0, 2, 4, 6]

    def test_samples_follow_the_counts(self, histogram: LabelHistogram, generator: torch.Generator) -> None:
        drawn = LabelHistogram.from_labels(histogram.sample(6000, generator), SPACE.cardinalities)
        assert torch.equal(drawn.combinations, histogram.combinations)
        assert torch.allclose(drawn.counts / 6000, histogram.counts / 6, atol=0.03)

    @pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
    def test_samples_follow_a_power_of_the_counts(
        self, power: float, histogram: LabelHistogram, generator: torch.Generator
    ) -> None:
        drawn = LabelHistogram.from_labels(histogram.sample(6000, generator, power), SPACE.cardinalities)
        expected = histogram.counts.double() ** power
        assert torch.allclose(drawn.counts / 6000, (expected / expected.sum()).float(), atol=0.03)

    def test_histograms_of_different_spaces_are_not_merged(self, histogram: LabelHistogram) -> None:
        with pytest.raises(ValueError, match="cannot be merged"):
            LabelHistogram.merge([histogram, LabelHistogram.from_labels(LABELS, (2, 4))])

    def test_merging_silos_equals_counting_the_union(self, histogram: LabelHistogram) -> None:
        parts = [LabelHistogram.from_labels(part, SPACE.cardinalities) for part in LABELS.split([1, 3, 2])]
        merged = LabelHistogram.merge(parts)
        assert torch.equal(merged.combinations, histogram.combinations)
        assert torch.equal(merged.counts, histogram.counts)

    def test_state_dict_round_trip(self, histogram: LabelHistogram) -> None:
        again = LabelHistogram.from_state_dict(histogram.state_dict())
        assert again.cardinalities == histogram.cardinalities
        assert torch.equal(again.combinations, histogram.combinations)
        assert torch.equal(again.counts, histogram.counts)

    @pytest.mark.parametrize(
        ("combinations", "counts", "message"),
        [
            ([[0, 3]], [1], "allowed are 0 to 2"),
            ([[0, 0]], [0], "a count is 0"),
            ([[0, 1], [0, 0]], [1, 1], "out of order"),
            ([[0, 1], [0, 1]], [1, 1], "repeat"),
        ],
    )
    def test_what_is_no_histogram(self, combinations: list[list[int]], counts: list[int], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            LabelHistogram(torch.tensor(combinations), torch.tensor(counts), SPACE.cardinalities)

    def test_samples_are_no_histogram(self, histogram: LabelHistogram) -> None:
        with pytest.raises(ValueError, match="is no histogram"):
            LabelHistogram.from_state_dict(histogram.state_dict() | {"data": torch.zeros(3)})
        with pytest.raises(ValueError, match="is no histogram"):
            LabelHistogram.from_state_dict(histogram.state_dict() | {"counts": torch.ones(3)})

    def test_no_labels(self) -> None:
        with pytest.raises(ValueError, match="m >= 1"):
            LabelHistogram.from_labels(torch.empty(0, 2, dtype=torch.long), SPACE.cardinalities)


class TestPartition:
    @pytest.mark.parametrize("kind", PARTITIONS)
    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_disjoint_covering_and_seeded(self, kind: str, n: int, many_labels: Tensor) -> None:
        silos, again = (partition(kind, many_labels, n, torch.Generator().manual_seed(1)) for _ in range(2))
        assert len(silos) == n
        assert torch.cat(silos).sort().values.tolist() == list(range(len(many_labels)))
        assert all((rows.diff() > 0).all() for rows in silos)
        assert all(torch.equal(a, b) for a, b in zip(silos, again, strict=True))
        other = partition(kind, many_labels, n, torch.Generator().manual_seed(2))
        assert n == 1 or any(not torch.equal(a, b) for a, b in zip(silos, other, strict=True))

    def test_iid_shares_are_alike(self, many_labels: Tensor, generator: torch.Generator) -> None:
        silos = partition("iid", many_labels, 3, generator)
        assert [len(rows) for rows in silos] == [200, 200, 200]
        shares = [LabelHistogram.from_labels(many_labels[rows], SPACE.cardinalities).counts / 200 for rows in silos]
        assert torch.stack(shares).sub(1 / 6).abs().max() < 0.1

    def test_small_alpha_gives_combinations_away_whole(self, generator: torch.Generator) -> None:
        labels = SPACE.combinations().repeat_interleave(500, dim=0)

        def largest_shares(alpha: float) -> Tensor:
            silos = partition_dirichlet(labels, 2, alpha, generator)
            counts = [LabelHistogram.from_labels(labels[r], SPACE.cardinalities).count(labels[::500]) for r in silos]
            return torch.stack(counts).amax(0) / 500

        assert largest_shares(1e-3).min() > 0.99
        assert largest_shares(1e4).max() < 0.55

    def test_dirichlet_proportions_have_their_moments(self, generator: torch.Generator) -> None:
        """The first of two shares is Beta(alpha, alpha): variance 1 / (4 (2 alpha + 1))."""
        alpha, combinations = 2.0, 400
        labels = torch.arange(combinations)[:, None].repeat_interleave(100, dim=0)
        first = partition_dirichlet(labels, 2, alpha, generator)[0]
        shares = torch.bincount(labels[first, 0], minlength=combinations) / 100
        assert shares.mean() == pytest.approx(1 / 2, abs=0.04)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.2)

    def test_dirichlet_shares_are_even_on_average_also_of_few_samples(self, generator: torch.Generator) -> None:
        """No silo is preferred where a combination's samples do not divide."""
        labels = torch.arange(400)[:, None].repeat_interleave(3, dim=0)
        first = partition_dirichlet(labels, 2, 1.0, generator)[0]
        assert len(first) / 1200 == pytest.approx(1 / 2, abs=0.06)

    def test_dirichlet_proportions_are_the_generators(self) -> None:
        labels = torch.zeros(1000, 1, dtype=torch.long)
        sizes = {len(partition_dirichlet(labels, 2, 10.0, torch.Generator().manual_seed(seed))[0]) for seed in range(5)}
        assert len(sizes) > 1

    def test_dirichlet_takes_a_combinations_samples_in_random_order(self, generator: torch.Generator) -> None:
        """Recordings lie one after the other: no silo gets the early ones."""
        for rows in partition_dirichlet(torch.zeros(1000, 1, dtype=torch.long), 2, 1e4, generator):
            assert rows.double().mean() == pytest.approx(499.5, abs=5 * 289 / 500**0.5)

    def test_noniid_is_by_dirichlet_with_a_tenth(self, many_labels: Tensor) -> None:
        usual = partition("noniid", many_labels, 2, torch.Generator().manual_seed(1))
        by_hand = partition_dirichlet(many_labels, 2, 0.1, torch.Generator().manual_seed(1))
        assert all(torch.equal(a, b) for a, b in zip(usual, by_hand, strict=True))

    def test_disjoint_keeps_combinations_whole_and_sizes_even(
        self, many_labels: Tensor, generator: torch.Generator
    ) -> None:
        silos = partition_disjoint(many_labels, 2, generator)
        held = [set(map(tuple, many_labels[rows].tolist())) for rows in silos]
        assert not held[0] & held[1]
        largest = LabelHistogram.from_labels(many_labels, SPACE.cardinalities).counts.max()
        assert abs(len(silos[0]) - len(silos[1])) <= largest

    @pytest.mark.parametrize("seed", range(5))
    def test_disjoint_deals_the_largest_first(self, seed: int) -> None:
        """5 and 4, then three 3s: as even as can be, whatever the order in which equal ones come."""
        labels = torch.arange(5)[:, None].repeat_interleave(torch.tensor([3, 5, 3, 4, 3]), dim=0)
        silos = partition_disjoint(labels, 2, torch.Generator().manual_seed(seed))
        assert sorted(map(len, silos)) == [8, 10]

    def test_unknown_kind(self, many_labels: Tensor, generator: torch.Generator) -> None:
        with pytest.raises(ValueError, match="'non-iid'; the partitions are iid, noniid, disjoint"):
            partition("non-iid", many_labels, 2, generator)

    @pytest.mark.parametrize(
        ("kind", "n", "remedy"),
        [("iid", 7, "fewer silos"), ("noniid", 7, "larger alpha"), ("disjoint", 4, "at most 3")],
    )
    def test_a_silo_left_without_data(self, kind: str, n: int, remedy: str, generator: torch.Generator) -> None:
        with pytest.raises(ValueError, match=f"left without data; .*{remedy}"):
            partition(kind, LABELS, n, generator)

    @pytest.mark.parametrize("kind", PARTITIONS)
    def test_no_silo(self, kind: str, generator: torch.Generator) -> None:
        with pytest.raises(ValueError, match="at least one"):
            partition(kind, LABELS, 0, generator)

    @pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
    def test_impossible_alpha(self, alpha: float, generator: torch.Generator) -> None:
        with pytest.raises(ValueError, match="positive number"):
            partition("noniid", LABELS, 2, generator, alpha=alpha)


class TestSilo:
    def test_tells_its_size_and_histogram_but_never_its_data(self) -> None:
        secret = Silo("clinic", torch.full((6, 2), 0.123), LABELS)
        assert len(secret) == 6
        assert secret.histogram(SPACE).total == 6
        assert repr(secret) == "Silo(name='clinic')"

    def test_bad_data(self) -> None:
        with pytest.raises(ValueError, match="'a' has no data"):
            Silo("a", torch.zeros(0, 2), torch.zeros(0, 2, dtype=torch.long))
        with pytest.raises(ValueError, match="3 samples and 6 labels"):
            Silo("a", torch.zeros(3, 2), LABELS)
        with pytest.raises(ValueError, match="1 of 6 samples hold NaN"):
            Silo("a", torch.zeros(6, 2).index_fill(0, torch.tensor([2]), float("nan")), LABELS)
        with pytest.raises(ValueError, match="2 of 6 samples hold NaN"):
            Silo("a", torch.tensor([0.0, float("inf"), 0.0, float("nan"), 0.0, 0.0]), LABELS)


def test_the_hash_is_of_data_and_labels() -> None:
    data = torch.zeros(6, 2)
    made = [Silo("a", data, LABELS), Silo("a", data + 1, LABELS), Silo("a", data, LABELS.flip(0))]
    assert len({silos_hash([each]) for each in made}) == 3
    assert silos_hash(made[:1]) == silos_hash([Silo("b", data.clone(), LABELS.clone())])


class TestCheckSilos:
    def test_silos_that_only_together_suffice(self) -> None:
        merged = check_silos(SPACE, [silo("a", KNOWN[:2]), silo("b", KNOWN[1:])])
        assert merged.total == 5
        assert merged.combinations.tolist() == KNOWN

    def test_a_value_that_no_silo_holds(self) -> None:
        with pytest.raises(CoverageError, match="no silo holds a1 = 2"):
            check_silos(SPACE, [silo("a", [[0, 0], [1, 1]]), silo("b", [[0, 1], [1, 0]])])

    def test_labels_outside_the_space(self) -> None:
        with pytest.raises(ValueError, match="silo 'a': label 3 has a1=3"):
            check_silos(AttributeSpace.from_cardinalities(2, 3), [silo("a", [[0, 0], [1, 1], [0, 2], [0, 3]])])

    def test_silos_that_do_not_go_together(self) -> None:
        with pytest.raises(ValueError, match="name of its own"):
            check_silos(SPACE, [silo("a", KNOWN), silo("a", KNOWN)])
        with pytest.raises(ValueError, match="at least one"):
            check_silos(SPACE, [])
        with pytest.raises(ValueError, match="one shape"):
            check_silos(SPACE, [silo("a", KNOWN), Silo("b", torch.zeros(6, 3), LABELS)])

    @pytest.mark.parametrize("names", [["a", ""], ["a", ".."], ["a", "b/c"], ["a", "A"], ["site 1", "site-1"]])
    def test_names_that_folders_cannot_have_or_tell_apart(self, names: list[str]) -> None:
        with pytest.raises(ValueError, match="named"):
            check_names(names)

    def test_names_of_any_language(self) -> None:
        check_names(["Klinik Süd", "病院", "site-1", "site.2"])


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32])
def test_any_whole_numbers_are_labels(dtype: torch.dtype) -> None:
    made = Silo("a", torch.zeros(2, 2), torch.tensor([[0, 1], [1, 0]], dtype=dtype))
    assert made.labels.dtype == torch.long
