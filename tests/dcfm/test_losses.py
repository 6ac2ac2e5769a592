"""Each loss is zero where its condition holds exactly, positive elsewhere, and sends gradients where it should."""

import pytest
import torch
from torch import Tensor, nn

from dcfm.attributes import MaskRates, apply_mask, draw_masks
from dcfm.fields import composed_velocity, marginal_labels
from dcfm.losses import (
    TimeWeight,
    draw_pairs,
    independence_loss,
    matching_loss,
    pair_labels,
    pairwise_independence_loss,
    peer_independence_loss,
    squared_difference,
)
from dcfm.path import LATEST, interpolate, target_velocity

NULL = torch.tensor([2, 3])


class Network(nn.Module):
    """A small field with an embedding for each attribute, and a count of the rows it served."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embeddings = nn.ModuleList(nn.Embedding(int(n) + 1, 8) for n in NULL)
        self.inside, self.outside = nn.Linear(2 + 1, 8), nn.Linear(8, 2)
        self.rows = 0
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)

    def forward(self, x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        self.rows += len(x)
        hidden = self.inside(torch.cat([x, t[:, None]], dim=1))
        for i, embedding in enumerate(self.embeddings):
            hidden = hidden + embedding(y[:, i])
        velocity = self.outside(hidden.tanh())
        return velocity if held is None else velocity.masked_fill(held, 0)


@pytest.fixture
def batch(separable, batch_of) -> tuple[Tensor, Tensor, Tensor]:
    x, t, y = batch_of(separable)
    return x.float(), t.float(), y


@pytest.fixture
def held(generator: torch.Generator) -> Tensor:
    return torch.rand(64, 2, generator=generator) < 0.5


def gradients(network: nn.Module) -> list[Tensor | None]:
    return [parameter.grad for parameter in network.parameters()]


def assert_finite_gradient_everywhere(network: nn.Module) -> None:
    assert all(g is not None and g.isfinite().all() and g.abs().sum() > 0 for g in gradients(network))


class TestMatching:
    def test_zero_for_the_target_itself(self, batch) -> None:
        x, t, y = batch
        assert matching_loss(lambda x, t, y, held=None: 2 * x, 2 * x, x, t, y) == 0

    def test_the_exact_field_is_the_minimum(self, separable, generator: torch.Generator) -> None:
        """No ``v + epsilon * direction`` does better than the conditional mean, masked labels and all (Eq. 9)."""
        n = 20_000
        component = torch.multinomial(separable.shares, n, replacement=True, generator=generator)
        x0, noise = torch.randn(2, n, 2, generator=generator, dtype=torch.float64)
        x1 = separable.means[component] + separable.std * noise
        t = torch.rand(n, generator=generator, dtype=torch.float64)
        mask = draw_masks(n, 2, MaskRates(0.4, 0.4, 0.2), generator)
        y = apply_mask(separable.labels[component], mask, NULL)
        x, target = interpolate(x0, x1, t), target_velocity(x0, x1)
        best = matching_loss(separable, target, x, t, y)
        for direction in (lambda x, t: x, lambda x, t: torch.ones_like(x), lambda x, t: t[:, None] * x):
            for epsilon in (-0.1, 0.1):

                def off(x, t, y, held=None, direction=direction, epsilon=epsilon):
                    return separable(x, t, y) + epsilon * direction(x, t)

                assert matching_loss(off, target, x, t, y) > best

    def test_gradients(self, batch) -> None:
        x, t, y = batch
        network = Network(0)
        y = torch.where(torch.arange(64)[:, None] % 2 == 0, y, NULL)
        matching_loss(network, -x, x, t, y).backward()
        assert_finite_gradient_everywhere(network)

    def test_held_entries_add_nothing(self, batch, held: Tensor) -> None:
        x, t, y = batch
        loss = matching_loss(Network(0), torch.ones_like(x).masked_fill(held, 0), x, t, y, held)
        free = (Network(0)(x, t, y) - 1)[~held].square().sum() / x.numel()
        assert torch.allclose(loss, free)

    def test_is_weighted_over_time(self, batch) -> None:
        x, _, y = batch
        t = torch.full((len(x),), 0.5)
        even = matching_loss(Network(0), -x, x, t, y)
        assert even > 0
        assert torch.allclose(matching_loss(Network(0), -x, x, t, y, weight=TimeWeight(2.0)), even / 4)


class TestTimeWeight:
    @pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
    def test_weighs_by_the_clamped_remaining_time(self, power: float) -> None:
        t = torch.tensor([0.0, 0.5, 1.0])
        assert torch.allclose(TimeWeight(power)(t), torch.tensor([1.0, 0.5, LATEST]) ** power)

    def test_power_two_weighs_clean_samples_evenly(self, batch) -> None:
        x, t, _ = batch
        error = torch.ones_like(x)
        velocity_error = error / (1 - t)[:, None]
        assert squared_difference(velocity_error, 0 * x, t, TimeWeight(2.0)) == pytest.approx(1.0, rel=1e-5)


class TestIndependence:
    def test_zero_where_attributes_are_independent_at_every_time(self, separable, batch_of) -> None:
        assert independence_loss(separable, *batch_of(separable), NULL) < 1e-20

    def test_positive_where_a_combination_is_missing(self, separable, batch_of) -> None:
        hole = separable.of([0, 1, 2, 3, 4])
        assert independence_loss(hole, *batch_of(hole), NULL) > 1e-3

    def test_is_the_distance_to_equation_5(self, batch, held: Tensor) -> None:
        x, t, y = batch
        network, weight = Network(0), TimeWeight(1.0)
        by_hand = squared_difference(network(x, t, y, held), composed_velocity(network, x, t, y, NULL, held), t, weight)
        assert torch.allclose(independence_loss(network, x, t, y, NULL, held, weight), by_hand)

    def test_nothing_is_detached(self, batch) -> None:
        """Eq. 16: the gradient is that of the residual through all four terms, the marginals' like the joint's."""
        x, t, y = batch
        network, plain = Network(0), Network(0)
        independence_loss(network, x, t, y, NULL).backward()
        none, first, second = (plain(x, t, labels) for labels in marginal_labels(y, NULL))
        (plain(x, t, y) - first - second + none).square().mean().backward()
        for found, expected in zip(gradients(network), gradients(plain), strict=True):
            assert torch.allclose(found, expected, atol=1e-6)
        only_in_marginals = [embedding.weight.grad[-1] for embedding in network.embeddings]
        assert all(gradient.abs().sum() > 0 for gradient in only_in_marginals)

    def test_costs_k_plus_2_rows_a_sample(self, batch) -> None:
        x, t, y = batch
        network = Network(0)
        independence_loss(network, x, t, y, NULL)
        assert network.rows == 4 * len(x)


class TestPairwise:
    def test_equals_the_full_term_for_two_attributes(self, batch, held: Tensor, generator: torch.Generator) -> None:
        x, t, y = batch
        pairwise = pairwise_independence_loss(Network(0), x, t, pair_labels(y, NULL, draw_pairs(y, generator)), held)
        assert torch.allclose(pairwise, independence_loss(Network(0), x, t, y, NULL, held))

    def test_is_weighted_over_time(self, batch, generator: torch.Generator) -> None:
        x, _, y = batch
        t = torch.full((len(x),), 0.5).to(x)
        terms = pair_labels(y, NULL, draw_pairs(y, generator))
        even = pairwise_independence_loss(Network(0), x, t, terms)
        weighted = pairwise_independence_loss(Network(0), x, t, terms, weight=TimeWeight(2.0))
        assert even > 0
        assert torch.allclose(weighted, even / 4)

    def test_nothing_is_detached(self, batch, generator: torch.Generator) -> None:
        """Of two attributes its gradient is that of the full term."""
        x, t, y = batch
        network, plain = Network(0), Network(0)
        pairwise_independence_loss(network, x, t, pair_labels(y, NULL, draw_pairs(y, generator))).backward()
        independence_loss(plain, x, t, y, NULL).backward()
        for found, expected in zip(gradients(network), gradients(plain), strict=True):
            assert torch.allclose(found, expected, atol=1e-6)

    def test_four_evaluations_of_pairs_whatever_k(self, generator: torch.Generator) -> None:
        null, batch = torch.full((5,), 2), 300
        y = torch.randint(2, (batch, 5), generator=generator)
        seen = []

        def field(x, t, labels, held=None):
            seen.append(labels)
            return x

        x, t = torch.zeros(batch, 1), torch.zeros(batch)
        assert pairwise_independence_loss(field, x, t, pair_labels(y, null, draw_pairs(y, generator))) == 0
        none, first, second, both = seen[0].reshape(4, batch, 5)
        given = [(labels != null) for labels in (none, first, second, both)]
        assert [g.sum(1).unique().tolist() for g in given] == [[0], [1], [1], [2]]
        assert torch.equal(given[1] | given[2], given[3])
        assert (both == y)[given[3]].all()
        assert len(torch.unique(given[3], dim=0)) == 10

    @pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
    def test_pairs_of_whole_numbers_of_any_type(self, dtype: torch.dtype, generator: torch.Generator) -> None:
        null, y = torch.full((4,), 2), torch.randint(2, (9, 4), generator=generator)
        pair = draw_pairs(y, generator)
        assert torch.equal(pair_labels(y.to(dtype), null, pair), pair_labels(y, null, pair))

    def test_zero_for_additive_fields_only(self, generator: torch.Generator) -> None:
        null = torch.tensor([2, 2, 2])
        y = torch.randint(2, (64, 3), generator=generator)
        x, t = torch.zeros(64, 1), torch.zeros(64)
        effects = torch.tensor([[1.0, -2.0, 0.0], [0.5, 3.0, 0.0], [-1.0, 4.0, 0.0]])

        def additive(x, t, y, held=None):
            return x + sum(effects[i, y[:, i]] for i in range(3))[:, None]

        def interacting(x, t, y, held=None):
            return additive(x, t, y) + ((y[:, 0] == 1) & (y[:, 1] == 1)).float()[:, None]

        terms = pair_labels(y, null, draw_pairs(y, generator))
        assert pairwise_independence_loss(additive, x, t, terms) < 1e-12
        assert pairwise_independence_loss(interacting, x, t, terms) > 1e-2

    def test_of_whole_labels_is_zero_where_attributes_act_apart(
        self, separable, batch_of, generator: torch.Generator
    ) -> None:
        """The contrast of a mixture whose attributes act on separate coordinates vanishes; joint labels alone are
        asked for."""
        x, t, y = batch_of(separable)
        terms = pair_labels((y + 1) % NULL, y, draw_pairs(y, generator))
        assert (terms < NULL).all()
        assert pairwise_independence_loss(separable, x, t, terms) < 1e-20

    def test_one_attribute_has_no_pairs(self, generator: torch.Generator) -> None:
        with pytest.raises(ValueError, match="a pair of attributes is needed"):
            draw_pairs(torch.zeros(4, 1).long(), generator)


class TestPeerIndependence:
    def routing(self, *slots: int) -> Tensor:
        return torch.tensor(slots).expand(64, 3)

    def test_zero_where_every_peer_has_the_exact_field(self, separable, batch_of, generator: torch.Generator) -> None:
        routing = torch.randint(3, (64, 3), generator=generator)
        loss = peer_independence_loss(separable, [separable] * 3, routing, 1, *batch_of(separable), NULL)
        assert loss < 1e-20

    def test_routed_to_itself_alone_is_equation_10(self, batch, held: Tensor) -> None:
        own, peer = Network(0), Network(1)
        loss = peer_independence_loss(own, [own, peer], self.routing(0, 0, 0), 0, *batch, NULL, held)
        assert torch.allclose(loss, independence_loss(own, *batch, NULL, held))
        assert peer.rows == 0

    def test_is_equation_12(self, batch, held: Tensor) -> None:
        """Slot by slot by hand: ``r = (1, 0, 2)`` seen from silo 0."""
        x, t, y = batch
        own, first, second = Network(0), Network(1), Network(2)
        none = first(x, t, NULL.expand(64, 2), held)
        at_0 = own(x, t, torch.stack([y[:, 0], NULL[1].expand(64)], 1), held)
        at_1 = second(x, t, torch.stack([NULL[0].expand(64), y[:, 1]], 1), held)
        by_hand = squared_difference(own(x, t, y, held), at_0 + at_1 - none, t, TimeWeight(1.0))
        loss = peer_independence_loss(
            own, [own, first, second], self.routing(1, 0, 2), 0, x, t, y, NULL, held, TimeWeight(1.0)
        )
        assert torch.allclose(loss, by_hand)

    def test_of_no_silos_network_every_term_is_the_teachers(self, batch, held: Tensor) -> None:
        x, t, y = batch
        student, teacher = Network(0), Network(1)
        loss = peer_independence_loss(student, [teacher], self.routing(0, 0, 0), None, x, t, y, NULL, held)
        composed = composed_velocity(teacher, x, t, y, NULL, held)
        assert torch.allclose(loss, matching_loss(student, composed, x, t, y, held))
        assert student.rows == 2 * len(x)  # of either loss the joint alone

    def test_of_the_only_pair_there_is_it_is_the_whole(self, batch, generator: torch.Generator) -> None:
        fields = [Network(seed) for seed in range(3)]
        routing, pair = torch.randint(3, (64, 3), generator=generator), draw_pairs(batch[2], generator)
        terms = pair_labels(batch[2], NULL, pair)
        ordered = torch.cat([routing[:, :1], routing.gather(1, pair + 1)], dim=1)
        whole = peer_independence_loss(fields[0], fields, routing, 0, *batch, NULL)
        assert torch.allclose(peer_independence_loss(fields[0], fields, ordered, 0, *batch, NULL, pair=terms), whole)

    def test_of_a_pair_the_other_attributes_are_null(self, generator: torch.Generator) -> None:
        x, t, y, null = torch.zeros(64, 1), torch.zeros(64), torch.ones(64, 5).long(), torch.full((5,), 2)
        pair, seen = pair_labels(y, null, draw_pairs(y, generator)), []

        def own(x, t, y, held=None):
            seen.append(y)
            return x

        peer_independence_loss(own, [own], torch.zeros(64, 3).long(), 0, x, t, y, null, pair=pair)
        given = (seen[0] != null).sum(1).reshape(4, 64)
        assert given.tolist() == [[0] * 64, [1] * 64, [1] * 64, [2] * 64]

    def test_peers_get_no_gradient_and_own_slots_do(self, batch, generator: torch.Generator) -> None:
        own, *peers = (Network(seed) for seed in range(3))
        routing = torch.randint(3, (64, 3), generator=generator)
        peer_independence_loss(own, [own, *peers], routing, 0, *batch, NULL).backward()
        assert_finite_gradient_everywhere(own)
        assert all(g is None for peer in peers for g in gradients(peer))
        assert all(e.weight.grad[-1].abs().sum() > 0 for e in own.embeddings)

    def test_gradient_equals_that_with_peers_as_constants(self, batch) -> None:
        x, t, y = batch
        own, peer = Network(0), Network(1)
        peer_independence_loss(own, [own, peer], self.routing(1, 1, 1), 0, x, t, y, NULL).backward()
        found = [g.clone() for g in gradients(own) if g is not None]
        own.zero_grad()
        target = composed_velocity(peer, x, t, y, NULL).detach()
        matching_loss(own, target, x, t, y).backward()
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, gradients(own), strict=True))
