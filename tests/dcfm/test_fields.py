"""The algebra of fields against mixtures of Gaussians, whose velocities are exact for every label."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from dcfm.fields import (
    Composed,
    Guided,
    Held,
    Routed,
    composed_velocity,
    evaluate_labels,
    joint_weights,
    marginal_labels,
    value_weights,
)
from dcfm.path import velocity_from_score
from dcfm.silos import LabelHistogram
from dcfm.solvers import CountingField, integrate

LEFT_AND_BOTTOM = [[0, 1, 2], [0, 3]]
"""Two silos' components of the 2 x 3 grid: only together do they hold every value. Nobody holds (1, 1) and (1, 2)."""


def histogram(mixture, scale: float = 1000) -> LabelHistogram:
    return LabelHistogram(mixture.labels, (mixture.shares * scale).round().long(), tuple(mixture.null.tolist()))


def routed(separable, **options) -> Routed:
    experts = [separable.of(rows) for rows in LEFT_AND_BOTTOM]
    return Routed(experts, [histogram(expert) for expert in experts], separable.null, **options)


@pytest.mark.parametrize("weights", [(), (2.0,), (1.0, 1.0, 9.0)])
def test_guidance_is_one_weight_an_attribute(weights: tuple[float, ...], separable) -> None:
    with pytest.raises(ValueError, match="give one an attribute, 2"):
        Composed(separable, separable.null, weights)
    with pytest.raises(ValueError, match="give one an attribute, 2"):
        routed(separable, weights=weights)


def test_labels_have_a_column_an_attribute() -> None:
    """One column alone would be taken for both; in a process without the tests' checks of types, as users have it."""
    tried = """
import torch
from dcfm.fields import check_values
for shape in ((3, 1), (3, 3), (3,)):
    try:
        check_values(torch.zeros(shape, dtype=torch.long), torch.tensor([2, 2]))
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", tried], capture_output=True, text=True, timeout=200)
    assert done.stdout.count("give (n, 2), a column an attribute") == 3, done.stderr


class TestComposition:
    def test_is_exact_where_attributes_act_on_separate_coordinates(self, separable, batch_of) -> None:
        """Eq. 5 against the velocity of the autodifferentiated density, at all times and for all combinations."""
        x, t, y = batch_of(separable)
        exact = velocity_from_score(separable.score(x, t, y), x, t)
        assert torch.allclose(Composed(separable, separable.null)(x, t, y), exact)

    def test_is_not_exact_where_a_combination_is_missing(self, separable, batch_of) -> None:
        """Leaving a mode out makes the attributes dependent: (5) is then an approximation, even for the modes kept."""
        x, t, y = batch_of(separable)
        hole = separable.of([0, 1, 2, 3, 4])
        kept = (y != 1).any(1) & (y != torch.tensor([1, 2])).any(1)
        exact = hole(x[kept], t[kept], y[kept])
        assert (Composed(hole, hole.null)(x[kept], t[kept], y[kept]) - exact).abs().max() > 0.1

    def test_generates_the_queried_mode(self, separable, generator: torch.Generator) -> None:
        y = separable.labels.repeat_interleave(50, dim=0)
        noise = torch.randn(len(y), 2, generator=generator, dtype=torch.float64)
        samples = integrate(Composed(separable, separable.null), noise, y, steps=20)
        distance = (samples - separable.means.repeat_interleave(50, dim=0)).norm(dim=1)
        assert (distance < 3.035 * separable.std).double().mean() > 0.97  # the 99 % radius in two dimensions

    def test_null_attributes_contribute_nothing(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        y[:, 1] = separable.null[1]
        assert torch.allclose(Composed(separable, separable.null)(x, t, y), separable(x, t, y))

    def test_guidance_weights(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        none, first, second = evaluate_labels(separable, x, t, marginal_labels(y, separable.null))
        guided = composed_velocity(separable, x, t, y, separable.null, weights=(2.0, 0.5))
        assert torch.allclose(guided, none + 2 * (first - none) + 0.5 * (second - none))
        assert torch.allclose(composed_velocity(separable, x, t, y, separable.null, weights=(0.0, 0.0)), none)

    def test_terms_go_through_as_one_batch(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        field = CountingField(separable)
        Composed(field, separable.null)(x, t, y)
        assert (field.evaluations, field.rows) == (1, 3 * len(x))


class TestGuided:
    def test_without_stress_it_is_the_field(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        assert torch.allclose(Guided(separable, separable.null, 1.0)(x, t, y), separable(x, t, y))

    def test_of_separate_coordinates_it_is_equation_5_with_equal_weights(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        guided = Guided(separable, separable.null, 1.5)(x, t, y)
        assert torch.allclose(guided, Composed(separable, separable.null, (1.5, 1.5))(x, t, y))

    def test_labels_without_a_value_stay_as_they_are(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        nothing = separable.null.expand_as(y)
        assert torch.allclose(Guided(separable, separable.null, 3.0)(x, t, nothing), separable(x, t, nothing))


class TestWeights:
    def test_shares_from_label_statistics(self) -> None:
        histograms = [
            LabelHistogram.from_labels(torch.tensor(rows), (2, 2))
            for rows in ([[0, 0], [0, 0], [0, 1]], [[0, 0], [1, 0], [1, 0], [1, 0], [1, 0]])
        ]
        y = torch.tensor([[0, 0], [1, 1], [2, 0]])
        none, first, second = value_weights(histograms, y)
        assert torch.allclose(none, torch.tensor([3 / 8, 5 / 8]).expand(3, 2))
        assert torch.allclose(first, torch.tensor([[3 / 4, 1 / 4], [0, 1], [3 / 8, 5 / 8]]))
        assert torch.allclose(second, torch.tensor([[2 / 7, 5 / 7], [1, 0], [2 / 7, 5 / 7]]))
        shares, known = joint_weights(histograms, y[:2])
        assert torch.allclose(shares, torch.tensor([[2 / 3, 1 / 3], [0, 0]]))
        assert known.tolist() == [True, False]

    @pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
    def test_whole_numbers_of_any_type_are_labels(self, dtype: torch.dtype) -> None:
        histograms = [LabelHistogram.from_labels(torch.tensor(rows), (2, 2)) for rows in ([[0, 0], [0, 1]], [[1, 0]])]
        y = torch.tensor([[0, 0], [1, 1], [2, 0]])
        assert torch.equal(value_weights(histograms, y.to(dtype)), value_weights(histograms, y))

    def test_a_value_that_no_silo_holds(self) -> None:
        histograms = [LabelHistogram.from_labels(torch.tensor([[0, 0]]), (2, 2))]
        with pytest.raises(ValueError, match="no silo holds value 1 of attribute 0"):
            value_weights(histograms, torch.tensor([[0, 0], [1, 0]]))

    @pytest.mark.parametrize("label", [[0, -1], [0, 7]])
    def test_a_value_that_there_is_not(self, label: list[int]) -> None:
        """Not an index from behind, which would be the null token's."""
        histograms = [LabelHistogram.from_labels(torch.tensor([[0, 0]]), (2, 2))]
        with pytest.raises(ValueError, match=f"label {label[1]} of attribute 1, which has 0 to 1 and null"):
            value_weights(histograms, torch.tensor([label]))

    @pytest.mark.parametrize("label", [[0, -1], [0, 7]])
    def test_it_is_no_question_to_a_network_either(self, label: list[int], separable) -> None:
        null = torch.tensor([2, 2])
        for field in (Composed(separable, null), Guided(separable, null, 1.5)):
            with pytest.raises(ValueError, match=f"label {label[1]} of attribute 1"):
                field(torch.zeros(1, 2), torch.zeros(1), torch.tensor([label]))


class TestRouted:
    def test_one_expert_that_composes_is_equation_5(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        alone = Routed([separable], [histogram(separable)], separable.null, weights=(1.5, 0.7), joint=False)
        assert torch.allclose(alone(x, t, y), Composed(separable, separable.null, (1.5, 0.7))(x, t, y))

    def test_one_expert_that_serves_jointly_is_itself(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        assert torch.allclose(Routed([separable], [histogram(separable)], separable.null)(x, t, y), separable(x, t, y))

    def test_terms_are_served_by_whoever_holds_the_value(self, separable, batch_of) -> None:
        x, t, _ = batch_of(separable)
        y = torch.tensor([[1, 2]]).expand(len(x), 2)
        field = routed(separable)
        left, bottom = field.experts
        totals = torch.tensor([float(h.total) for h in field.histograms])
        none_left, none_bottom = (expert(x, t, separable.null.expand(len(x), 2)) for expert in (left, bottom))
        none = (totals[0] * none_left + totals[1] * none_bottom) / totals.sum()
        first = bottom(x, t, torch.tensor([[1, 3]]).expand(len(x), 2))  # only the second silo holds a0 = 1
        second = left(x, t, torch.tensor([[2, 2]]).expand(len(x), 2))  # only the first silo holds a1 = 2
        assert torch.allclose(field(x, t, y), first + second - none, atol=1e-5)

    def test_known_combinations_are_served_jointly_novel_ones_composed(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        known = (y[:, 0] == 0) | (y[:, 1] == 0)
        assert known.any()
        assert not known.all()
        joint, composed = routed(separable)(x, t, y), routed(separable, joint=False)(x, t, y)
        assert torch.allclose(joint[known], separable(x, t, y)[known], atol=1e-5)
        assert torch.allclose(joint[~known], composed[~known])
        assert not torch.allclose(joint[known], composed[known], atol=1e-2)

    def test_asks_no_expert_about_values_that_it_never_saw(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        field = routed(separable)
        asked: list[list[Tensor]] = [[], []]

        def watched(index):
            def field_of(x, t, y, held=None):
                asked[index].append(y)
                return field.experts[index](x, t, y, held)

            return field_of

        for joint in (True, False):
            Routed([watched(0), watched(1)], field.histograms, separable.null, joint=joint)(x, t, y)
        for histogram_, labels in zip(field.histograms, asked, strict=True):
            assert (histogram_.count(torch.cat(labels)) > 0).all()

    def test_number_of_experts(self, separable) -> None:
        with pytest.raises(ValueError, match="1 experts and 0 histograms"):
            Routed([separable], [], separable.null)


class TestHeld:
    def test_held_entries_have_velocity_zero(self, separable, batch_of, generator: torch.Generator) -> None:
        x, t, y = batch_of(separable)
        held = torch.rand(x.shape, generator=generator) < 0.5
        composed = Composed(separable, separable.null)
        guided = Guided(separable, separable.null, 1.5)
        for field in (separable, composed, guided, routed(separable), routed(separable, joint=False)):
            bound = Held(field, held)(x, t, y)
            assert torch.equal(bound, field(x, t, y, held))
            assert (bound[held] == 0).all()
            assert torch.equal(bound[~held], field(x, t, y)[~held])

    def test_masks_add_up(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        first, second = torch.tensor([True, False]).expand(64, 2), torch.tensor([False, True]).expand(64, 2)
        assert (Held(Held(separable, first), second)(x, t, y) == 0).all()
