"""Mixtures of experts against mixtures of Gaussians, whose velocities and posteriors are exact."""

import pytest
import torch

from dcfm.fields import Composed, Routed, value_weights
from dcfm.mixtures import EnergyMixture, LabelMixture, energy_weights, label_weights
from dcfm.silos import LabelHistogram
from tests.dcfm.test_fields import LEFT_AND_BOTTOM, histogram


def parts(separable):
    experts = [separable.of(rows) for rows in LEFT_AND_BOTTOM]
    return experts, [histogram(expert) for expert in experts]


class TestLabelWeights:
    def test_by_hand(self) -> None:
        """Silo 0: (0,0) x 6, (0,1) x 2; silo 1: (0,0) x 2, (1,0) x 2. Values 0 | 0: 8/8, 8/8 against 2/4, 4/4."""
        first = LabelHistogram(torch.tensor([[0, 0], [0, 1]]), torch.tensor([6, 2]), (2, 2))
        second = LabelHistogram(torch.tensor([[0, 0], [1, 0]]), torch.tensor([2, 2]), (2, 2))
        y = torch.tensor([[2, 2], [0, 2], [2, 0], [0, 0], [1, 0], [1, 1]])
        expected = [[8 / 12, 4 / 12], [8 / 10, 2 / 10], [6 / 10, 4 / 10], [6 / 8, 2 / 8], [0, 1], [0.5, 0.5]]
        assert torch.allclose(label_weights([first, second], y), torch.tensor(expected))

    def test_one_given_attribute_is_a_row_of_value_weights(self, separable) -> None:
        _, histograms = parts(separable)
        y = torch.tensor([[0, 3], [1, 3], [2, 0], [2, 1], [2, 2], [2, 3]])
        rows = value_weights(histograms, y)
        slot = torch.tensor([1, 1, 2, 2, 2, 0])
        assert torch.allclose(label_weights(histograms, y), rows[slot, torch.arange(6)])

    def test_many_attributes_and_unequal_silos(self) -> None:
        """Silo 1 has one sample, which has all asked values: (N / n)^k is far above what float32 holds."""
        k = 40
        labels = torch.cat([torch.zeros(1, k, dtype=torch.long), torch.ones(1, k, dtype=torch.long)])
        large = LabelHistogram(labels[:1], torch.tensor([10_000]), (2,) * k)
        small = LabelHistogram(labels[1:], torch.tensor([1]), (2,) * k)
        both = LabelHistogram(labels, torch.tensor([9_999, 1]), (2,) * k)
        assert label_weights([large, small], labels).tolist() == [[1.0, 0.0], [0.0, 1.0]]
        found = label_weights([both, small], labels[1:])
        assert torch.allclose(found, torch.tensor([[0.0, 1.0]]), atol=1e-30)

    def test_where_nobody_holds_all_values_what_is_not_given_says_nothing(self) -> None:
        """Each silo holds one of the two given values: even weights, though one silo is three times the other."""
        first = LabelHistogram(torch.tensor([[0, 0, 0], [0, 1, 0]]), torch.tensor([4, 2]), (2, 2, 2))
        second = LabelHistogram(torch.tensor([[0, 0, 0], [1, 0, 1]]), torch.tensor([1, 1]), (2, 2, 2))
        assert label_weights([first, second], torch.tensor([[1, 1, 2]])).tolist() == [[0.5, 0.5]]

    def test_a_value_that_no_silo_holds(self, separable) -> None:
        with pytest.raises(ValueError, match="no silo holds value 2 of attribute 1"):
            label_weights([histogram(separable.of([0, 1, 3]))], torch.tensor([[0, 2]]))


class TestLabelMixture:
    def test_one_expert_is_itself(self, separable, batch_of) -> None:
        x, t, y = batch_of(separable)
        mixture = LabelMixture([separable], [histogram(separable)])
        assert torch.allclose(mixture(x, t, y), separable(x, t, y))

    def test_composed_it_is_the_routed_composition(self, separable, batch_of) -> None:
        experts, histograms = parts(separable)
        x, t, y = batch_of(separable)
        composed = Composed(LabelMixture(experts, histograms), separable.null, (0.7, 1.4))
        routed = Routed(experts, histograms, separable.null, (0.7, 1.4), joint=False)
        assert torch.allclose(composed(x, t, y), routed(x, t, y))

    def test_asks_no_expert_without_weight(self, separable, batch_of) -> None:
        experts, histograms = parts(separable)
        x, t, _ = batch_of(separable)
        y = torch.tensor([[1, 0]]).expand(len(x), 2)
        assert torch.equal(LabelMixture(experts, histograms)(x, t, y), experts[1](x, t, y))

    def test_as_many_histograms_as_experts(self, separable) -> None:
        experts, histograms = parts(separable)
        for kind in (LabelMixture, EnergyMixture):
            with pytest.raises(ValueError, match="2 experts and 1 histograms"):
                kind(experts, histograms[:1])
            with pytest.raises(ValueError, match="0 experts and 0 histograms"):
                kind([], [])


class TestEnergy:
    def test_by_hand(self) -> None:
        """At t = 1/2, x = 1: velocities 2 and 0 give eps 0 and 1, so log w differs by s/2."""
        x, t = torch.ones(1, 1).double(), torch.tensor([0.5]).double()
        velocities = torch.tensor([[[2.0]], [[0.0]]]).double()
        weights = energy_weights(velocities, torch.tensor([[0.25, 0.75]]), x, t, 2.0)
        expected = torch.tensor([0.25, 0.75 * torch.tensor(-1.0).exp()]).double()
        assert torch.allclose(weights[0], expected / expected.sum())

    def test_huge_energies_stay_finite_and_shifts_cancel(self, generator: torch.Generator) -> None:
        """Long trajectories have energies of thousands: their exponentials all underflow, the weights do not."""
        velocities = 300 * torch.randn(3, 4, 50, 20, generator=generator)
        x, t = torch.zeros(4, 50, 20), torch.full((4,), 0.5)
        weights = energy_weights(velocities, torch.full((4, 3), 1 / 3), x, t, 2.0)
        assert weights.isfinite().all()
        assert torch.allclose(weights.sum(1), torch.ones(4))
        best = velocities.flatten(2).square().sum(2).argmin(0)
        assert torch.equal(weights.argmax(1), best)

    def test_held_entries_do_not_tell_experts_apart(self, generator: torch.Generator) -> None:
        velocities = torch.randn(2, 5, 6, generator=generator)
        x, t, held = torch.randn(5, 6, generator=generator), torch.rand(5, generator=generator), torch.zeros(5, 6) > 1
        held[:, :3] = True
        prior = torch.full((5, 2), 0.5)
        free = energy_weights(velocities[..., 3:], prior, x[:, 3:], t, 2.0)
        assert torch.allclose(energy_weights(velocities, prior, x, t, 2.0, held), free, atol=1e-6)

    def test_what_is_held_is_handed_on(self, generator: torch.Generator) -> None:
        """To the experts, and to their weights: two that differ in the held entry alone have the prior's."""
        histograms = [LabelHistogram(torch.tensor([[0, 0]]), torch.tensor([n]), (2, 2)) for n in (3, 1)]

        def expert(value: float):
            def field(x, t, y, held=None):
                assert held is not None
                return torch.stack([torch.full_like(x[:, 0], value), x[:, 1]], dim=1)

            return field

        x, t = torch.randn(5, 2, generator=generator), torch.full((5,), 0.5)
        held = torch.tensor([True, False]).expand(5, 2)
        y = torch.zeros(5, 2, dtype=torch.long)
        experts = [expert(0.0), expert(40.0)]
        for kind in (LabelMixture, EnergyMixture):
            torch.testing.assert_close(kind(experts, histograms)(x, t, y, held)[:, 0], torch.full((5,), 10.0))

    def test_no_scale_is_the_label_mixture(self, separable, batch_of) -> None:
        experts, histograms = parts(separable)
        x, t, _ = batch_of(separable)
        y = experts[1].labels[torch.randint(2, (len(x),))]  # held by an expert: the others' exact fields are 0/0
        energy = EnergyMixture(experts, histograms, scale=0.0)(x, t, y)
        assert torch.allclose(energy, LabelMixture(experts, histograms)(x, t, y))

    def test_without_scale_the_sizes_weigh_whatever_is_asked(self, generator: torch.Generator) -> None:
        """Of 3 and 1 samples three quarters and one, also where the second silo alone holds the label."""
        first = LabelHistogram(torch.tensor([[0, 0]]), torch.tensor([3]), (2, 2))
        second = LabelHistogram(torch.tensor([[1, 0]]), torch.tensor([1]), (2, 2))
        experts = [lambda x, t, y, held=None, value=value: torch.full_like(x, value) for value in (0.0, 40.0)]
        x, t, y = torch.randn(5, 2, generator=generator), torch.full((5,), 0.5), torch.tensor([[1, 0]]).expand(5, 2)
        found = EnergyMixture(experts, [first, second], scale=0.0, prior="size")(x, t, y)
        torch.testing.assert_close(found, torch.full((5, 2), 10.0))

    def test_half_way_to_the_data_the_expert_that_holds_the_mode_answers(self, separable) -> None:
        """Unconditionally, at a mode that silo 1 alone holds, its noise estimate is the smaller one."""
        experts, histograms = parts(separable)
        mode = separable.means[3:4]
        t, y = torch.tensor([0.5]).double(), torch.tensor([[2, 3]])
        mixed = EnergyMixture(experts, histograms, prior="size")(0.5 * mode, t, y)
        own, other = (expert(0.5 * mode, t, y) for expert in (experts[1], experts[0]))
        labels = torch.tensor([h.total for h in histograms]).double() / sum(h.total for h in histograms)
        blind = labels[1] * own + labels[0] * other
        assert (mixed - own).norm() < 0.5 * (blind - own).norm()

    def test_settings(self, separable) -> None:
        experts, histograms = parts(separable)
        with pytest.raises(ValueError, match="must be one of labels, size"):
            EnergyMixture(experts, histograms, prior="uniform")
        for scale in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=f"and scale={scale} finite, not negative"):
                EnergyMixture(experts, histograms, scale=scale)
