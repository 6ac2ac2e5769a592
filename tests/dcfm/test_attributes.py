import subprocess
import sys
from fractions import Fraction

import pytest
import torch

from dcfm.attributes import AttributeSpace, CoverageError, MaskRates, apply_mask, draw_masks

COLOURS = AttributeSpace(("shape", "colour"), (("disc", "square"), ("red", "green", "blue")))


class TestSpace:
    def test_combinations_and_null(self) -> None:
        assert COLOURS.combinations().tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
        assert COLOURS.null.tolist() == [2, 3]
        assert COLOURS.size == 2
        assert AttributeSpace.from_cardinalities(2, 3).cardinalities == COLOURS.cardinalities == (2, 3)

    def test_draws_are_uniform(self, generator: torch.Generator) -> None:
        drawn = COLOURS.draw_combinations(6000, generator)
        found, counts = torch.unique(drawn, dim=0, return_counts=True)
        assert torch.equal(found, COLOURS.combinations())
        assert torch.allclose(counts / 6000, torch.tensor(1 / 6), atol=0.02)

    def test_describes_labels(self) -> None:
        assert COLOURS.describe([1, 3]) == "shape=square colour=null"

    def test_known_and_novel(self) -> None:
        known, novel = COLOURS.split(torch.tensor([[1, 0], [0, 2], [1, 0]]))
        assert known.tolist() == [[0, 2], [1, 0]]
        assert novel.tolist() == [[0, 0], [0, 1], [1, 1], [1, 2]]

    @pytest.mark.parametrize(
        ("names", "values", "message"),
        [
            ((), (), "at least one attribute"),
            (("a",), (("x", "y"), ("x", "y")), "one tuple of value names each"),
            (("a", "a"), (("x", "y"), ("x", "y")), "must be unique"),
            (("a",), (("x", "x"),), "must be unique"),
            (("a",), (("x",),), "at least two"),
        ],
    )
    def test_bad_spaces(self, names: tuple, values: tuple, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            AttributeSpace(names, values)

    def test_bad_labels(self) -> None:
        COLOURS.check_labels(torch.tensor([[2, 3]]), null_allowed=True)
        with pytest.raises(ValueError, match=r"label 1 has colour=3; allowed are 0 to 2 \(3 is the null token"):
            COLOURS.check_labels(torch.tensor([[0, 0], [0, 3]]))
        with pytest.raises(ValueError, match="shape=-1"):
            COLOURS.check_labels(torch.tensor([[-1, 0]]), null_allowed=True)
        with pytest.raises(ValueError, match="colour=4; allowed are 0 to 3"):
            COLOURS.check_labels(torch.tensor([[2, 4]]), null_allowed=True)
        with pytest.raises(ValueError, match=r"shape \(1, 3\); expected \(n, 2\)"):
            COLOURS.check_labels(torch.tensor([[0, 0, 0]]))

    def test_labels_that_are_no_whole_numbers(self) -> None:
        """In a process without the tests' checks of types, as users have it."""
        tried = "from dcfm.attributes import *; AttributeSpace.from_cardinalities(2).check_labels(torch.tensor([[{}]]))"
        for value in ("0.6", "True"):
            command = [sys.executable, "-c", tried.format(value)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=200)
            assert "ValueError: labels are torch." in done.stderr
            assert "give whole numbers" in done.stderr


class TestCoverage:
    @pytest.mark.parametrize(
        ("cardinalities", "minimum"),
        [
            ((2, 2), Fraction(3, 4)),
            ((4, 4), Fraction(7, 16)),
            ((10, 10), Fraction(19, 100)),
            ((2,) * 14, Fraction(15, 2**14)),
        ],
    )
    def test_minimum_of_equation_2(self, cardinalities: tuple[int, ...], minimum: Fraction) -> None:
        assert AttributeSpace.from_cardinalities(*cardinalities).minimum_coverage == minimum

    def test_full_space_has_full_rank(self) -> None:
        space = AttributeSpace.from_cardinalities(2, 3, 4)
        assert space.coverage(space.combinations()) == 1
        assert space.main_effects_rank(space.combinations()) == space.main_effects == 1 + 1 + 2 + 3

    @pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
    def test_whole_numbers_of_any_type_cover(self, dtype: torch.dtype) -> None:
        space = AttributeSpace.from_cardinalities(2, 3)
        space.check_coverage(space.combinations().to(dtype))
        assert space.main_effects_rank(space.combinations().to(dtype)) == space.main_effects

    def test_a_cross_is_just_enough(self) -> None:
        """One row and one column of the grid: exactly C_min, and every combination of the cross is needed."""
        space = AttributeSpace.from_cardinalities(4, 4)
        cross = torch.tensor([[0, j] for j in range(4)] + [[i, 0] for i in range(1, 4)])
        assert space.coverage(cross.repeat(2, 1)) == space.minimum_coverage
        space.check_coverage(cross)
        for left_out in range(len(cross)):
            with pytest.raises(CoverageError):
                space.check_coverage(cross[torch.arange(len(cross)) != left_out])

    def test_enough_combinations_that_do_not_span(self) -> None:
        """Two full 2 x 2 blocks on the diagonal: C = 8/16 >= 7/16, all values occur, yet the blocks' offset is free."""
        space = AttributeSpace.from_cardinalities(4, 4)
        blocks = torch.tensor([[i + s, j + s] for s in (0, 2) for i in range(2) for j in range(2)])
        assert space.coverage(blocks) == Fraction(1, 2)
        assert space.marginal_coverage(blocks) == (1, 1)
        assert space.main_effects_rank(blocks) == space.main_effects - 1
        with pytest.raises(CoverageError, match="rank 6, needed is 7"):
            space.check_coverage(blocks)

    def test_a_value_that_nobody_holds(self) -> None:
        observed = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
        assert COLOURS.marginal_coverage(observed) == (1, Fraction(2, 3))
        with pytest.raises(CoverageError, match="no silo holds colour = blue"):
            COLOURS.check_coverage(observed)

    def test_too_few_combinations(self) -> None:
        with pytest.raises(CoverageError, match="C = 1/2 of the combinations; at least C_min = 3/4"):
            AttributeSpace.from_cardinalities(2, 2).check_coverage(torch.tensor([[0, 0], [1, 1]]))


class TestMasks:
    RATES = MaskRates(full=0.4, marg=0.3, uncond=0.1, pair=0.2)

    def test_frequencies_of_equation_8(self, generator: torch.Generator) -> None:
        number, size = 40_000, 4
        masks = draw_masks(number, size, self.RATES, generator)
        kept = torch.bincount(masks.sum(1), minlength=size + 1) / number
        assert torch.allclose(kept, torch.tensor([0.1, 0.3, 0.2, 0.0, 0.4]), atol=0.01)
        singles = masks[masks.sum(1) == 1].float().mean(0)
        assert torch.allclose(singles, torch.tensor(1 / size), atol=0.02)
        pairs, counts = torch.unique(masks[masks.sum(1) == 2], dim=0, return_counts=True)
        assert len(pairs) == 6
        assert torch.allclose(counts / counts.sum(), torch.tensor(1 / 6), atol=0.02)

    @pytest.mark.parametrize(("rates", "kept"), [((1, 0, 0), 2), ((0, 1, 0), 1), ((0, 0, 1), 0)])
    def test_pure_masks(self, rates: tuple[int, ...], kept: int, generator: torch.Generator) -> None:
        assert (draw_masks(100, 2, MaskRates(*map(float, rates)), generator).sum(1) == kept).all()

    def test_masked_entries_become_null(self) -> None:
        y, mask = torch.tensor([[1, 2], [0, 0]]), torch.tensor([[True, False], [False, True]])
        assert apply_mask(y, mask, COLOURS.null).tolist() == [[1, 3], [2, 0]]

    @pytest.mark.parametrize("rates", [(0.5, 0.5, 0.5), (1.1, -0.1, 0.0), (float("nan"), 0.5, 0.5)])
    def test_bad_rates(self, rates: tuple[float, ...]) -> None:
        with pytest.raises(ValueError, match="non-negative and add up to 1"):
            MaskRates(*rates)

    def test_no_pairs_of_one_attribute(self, generator: torch.Generator) -> None:
        with pytest.raises(ValueError, match="at least two attributes"):
            draw_masks(3, 1, self.RATES, generator)
