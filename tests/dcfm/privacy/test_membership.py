"""The attack: its statistics against scipy, what it must find, and what must not fool it."""

import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor

from dcfm.privacy.membership import Contest, matching_scores


def contest(members: Tensor, others: Tensor) -> Contest:
    labels = [torch.zeros(len(part), 1, dtype=torch.long) for part in (members, others)]
    return Contest.of(members, others, *labels)


def test_the_auc_is_mann_and_whitneys(generator: torch.Generator) -> None:
    members, others = torch.randint(20, (150,), generator=generator), torch.randint(23, (200,), generator=generator)
    found = contest(members.float(), others.float()).result()
    u = mannwhitneyu(others.numpy(), members.numpy()).statistic
    assert found["auc"]["value"] == pytest.approx(u / (150 * 200))
    assert found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"]
    assert "tpr_at_fpr_0.001" not in found  # 200 non-members cannot tell


def test_the_true_positive_rate_at_few_false_positives() -> None:
    others = torch.arange(100).float()
    members = torch.tensor([-1.0, -1.0, 0.5, 1.5, 200.0])
    # One of 100 may be accused: the threshold lies above 0, below 1.
    assert contest(members, others).result()["tpr_at_fpr_0.01"]["value"] == pytest.approx(3 / 5)


def test_other_proportions_of_combinations_tell_nothing(generator: torch.Generator) -> None:
    """The first combination is easier, and commoner among members: a naive attack would find a leak."""
    y = [torch.tensor([[0]] * 900 + [[1]] * 100), torch.tensor([[0]] * 100 + [[1]] * 900)]
    scores = [part[:, 0] * 3 + torch.randn(1000, generator=generator) for part in y]
    naive = contest(*scores).result()["auc"]
    fair = Contest.of(*scores, *y).result()["auc"]
    assert naive["low"] > 0.8
    assert fair["low"] < 0.5 < fair["high"]


def test_combinations_of_one_side_only_are_left_out() -> None:
    y = torch.tensor([[0], [1]]), torch.tensor([[1], [2]])
    found = Contest.of(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0]), *y)
    assert found.members.tolist() == [1.0]
    assert found.others.tolist() == [2.0]
    with pytest.raises(ValueError, match="none of the members' 1 combinations is among the non-members' 2"):
        Contest.of(torch.zeros(1), torch.zeros(2), torch.tensor([[0]]), torch.tensor([[1], [2]]))
    with pytest.raises(ValueError, match=r"same combinations; use Contest\.of"):
        Contest(torch.zeros(1), torch.zeros(1), torch.tensor([0]), torch.tensor([1]))


def test_an_interval_of_few_a_combination_is_none(generator: torch.Generator) -> None:
    """One sample of a combination is drawn as itself every time: nothing would tell that it could be another."""
    for others, few in ((1, True), (3, True), (40, False)):
        y = [torch.arange(3).repeat_interleave(n)[:, None] for n in (20, others)]
        auc = Contest.of(*(torch.randn(len(part), generator=generator) for part in y), *y).result()["auc"]
        assert auc.get("too_few", False) is few
        assert ((auc["low"], auc["high"]) == (0.0, 1.0)) is few
    y = [torch.tensor([[0]] * 90 + [[1]] * 10), torch.tensor([[0]] * 60 + [[1]])]
    scores = [torch.randn(len(part), generator=generator) for part in y]
    assert "too_few" not in Contest.of(*scores, *y).result()["auc"]  # a tenth of the weight


def test_copies_of_a_source_are_no_further_witnesses(generator: torch.Generator) -> None:
    """Nine copies of each of 100 samples tell as much as the 100 do."""
    scores = torch.randn(100, generator=generator), torch.randn(100, generator=generator) + 0.3
    y = torch.arange(100).remainder(4)[:, None]
    copied, labels = tuple(part.repeat_interleave(9) for part in scores), y.repeat_interleave(9, 0)
    sources = torch.arange(100).repeat_interleave(9)
    once = Contest.of(*scores, y, y).result()["auc"]
    many = Contest.of(*copied, labels, labels).result()["auc"]
    together = Contest.of(*copied, labels, labels, (sources, sources)).result()
    width = once["high"] - once["low"]
    assert many["high"] - many["low"] == pytest.approx(width / 3, rel=0.15)
    assert together["auc"]["high"] - together["auc"]["low"] == pytest.approx(width, rel=0.15)
    assert together["auc"]["value"] == pytest.approx(once["value"])
    assert (together["members_sources"], together["non_members_sources"]) == (100, 100)


def test_sources_follow_their_samples_where_some_are_left_out() -> None:
    y = torch.tensor([[0], [1], [1]]), torch.tensor([[1], [2]])
    found = Contest.of(torch.arange(3.0), torch.arange(2.0), *y, (torch.tensor([5, 6, 7]), torch.tensor([8, 9])))
    assert found.sources is not None
    assert [part.tolist() for part in found.sources] == [[6, 7], [8]]


@pytest.mark.parametrize("number", [77, 300, 1999])
def test_what_is_told_apart_wholly_is_one_and_no_more(number: int) -> None:
    y = torch.arange(number).remainder(7)[:, None]
    contest = Contest.of(torch.zeros(number), torch.ones(number), y, y)
    weights = contest.weights(torch.ones(1, number), torch.ones(1, number))
    assert [float(w.sum()) for w in weights] == pytest.approx([1.0, 1.0], abs=1e-12)
    found = contest.result()
    for name in set(found) - {"members", "non_members"}:
        assert (found[name]["low"], found[name]["value"], found[name]["high"]) == pytest.approx((1, 1, 1), abs=1e-12)
        assert 0 <= found[name]["low"] <= found[name]["value"] <= found[name]["high"] <= 1


def test_a_field_that_knows_its_samples_by_heart_is_caught(generator: torch.Generator) -> None:
    data = torch.randn(80, 6, generator=generator)
    members, others = data[:40], data[40:]
    y = torch.zeros(40, 1, dtype=torch.long)

    def by_heart(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        distance = (x[:, None] - t[:, None, None] * members).square().sum(-1) / (1 - t[:, None]) ** 2
        x1 = (-distance / 2).softmax(1) @ members
        return (x1 - x) / (1 - t[:, None])

    scores = [matching_scores(by_heart, part, y) for part in (members, others)]
    assert scores[0].shape == (5, 40)
    assert Contest.of(scores[0].mean(0), scores[1].mean(0), y, y).result()["auc"]["low"] > 0.95


def test_all_samples_meet_the_same_noise(generator: torch.Generator) -> None:
    x = torch.randn(1, 3, generator=generator).expand(700, 3)
    scores = matching_scores(lambda x, t, y, held=None: 0 * x, x, torch.zeros(700, 1, dtype=torch.long))
    assert (scores == scores[:, :1]).all()


def test_scores_are_mean_squared_errors_of_each_samples_own_label(generator: torch.Generator) -> None:
    """A field that is off by its label in every entry is so at every time, whatever the noise; in two batches."""
    x, y = torch.randn(1, 3, generator=generator).expand(700, 3), (torch.arange(700) >= 600).long()[:, None]

    def off(points: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        return (x[:1] - points) / (1 - t[:, None]) + 3 * y

    torch.testing.assert_close(matching_scores(off, x, y), 9.0 * y[:, 0].expand(5, 700))


def test_scores_are_means_over_independent_noises_of_the_seed() -> None:
    """Of a field that stands still, at the origin: ``E x_0^2 = 1``, whose deviation is the square root of 2 / 600."""

    def scores(seed: int) -> Tensor:
        y, still = torch.zeros(1, 1, dtype=torch.long), lambda x, t, y, held=None: 0 * x
        return matching_scores(still, torch.zeros(1, 1), y, times=(0.5,), noises=600, seed=seed)

    assert float(scores(0)) == pytest.approx(1.0, abs=5 * (2 / 600) ** 0.5)
    assert torch.equal(scores(1), scores(1))
    assert not torch.equal(scores(0), scores(1))


def test_draws_are_within_combinations() -> None:
    """Where only the combination makes the score nothing is told, and no draw says otherwise."""
    y = torch.arange(100).remainder(4)[:, None]
    found = Contest.of(y[:, 0].float(), y[:, 0].float(), y, y).result()["auc"]
    assert (found["low"], found["value"], found["high"]) == pytest.approx((0.5, 0.5, 0.5), abs=1e-12)


def test_chance_is_the_seeds(generator: torch.Generator) -> None:
    told = contest(*torch.randn(2, 50, generator=generator))
    assert told.result(1) == told.result(1) != told.result(0)
