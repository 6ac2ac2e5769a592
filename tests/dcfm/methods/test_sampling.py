"""Ways to sample: each candidate is the field that its name says."""

import pytest
import torch
from torch import Tensor

from dcfm.attributes import AttributeSpace
from dcfm.fields import Field, evaluate_labels, marginal_labels
from dcfm.methods import registry
from dcfm.methods.sampling import CANDIDATES, Sampling, candidates, choose, only_candidate
from dcfm.selection import Selection
from dcfm.silos import LabelHistogram

SPACE = AttributeSpace(("side", "height"), (("left", "right"), ("low", "high", "middle")))
HELD = torch.tensor([[0, 0], [0, 1], [1, 2]])


class LabelField:
    """A velocity that depends on the label as a whole, so that no two ways of sampling agree by chance."""

    def __init__(self, generator: torch.Generator) -> None:
        self.table = torch.randn(3, 4, 2, generator=generator)

    def __call__(self, x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        return self.table[y[:, 0], y[:, 1]] - t[:, None] * x


@pytest.fixture
def network(generator: torch.Generator) -> LabelField:
    return LabelField(generator)


def sampled(network: LabelField, sampling: Sampling) -> Field:
    histogram = LabelHistogram.from_labels(HELD, SPACE.cardinalities)
    return sampling.field(registry.make("dcfm_b"), [network], [histogram], SPACE.null)


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidate_is_what_it_says(network: LabelField, name: str, generator: torch.Generator) -> None:
    y = SPACE.combinations()
    x, t = torch.randn(len(y), 2, generator=generator), torch.rand(len(y), generator=generator)
    weight = float(name.partition("w = ")[2] or 1)
    none, *single = evaluate_labels(network, x, t, marginal_labels(y, SPACE.null))
    if name.startswith("composed"):
        expected = none + weight * sum(v - none for v in single)
    else:
        expected = none + weight * (network(x, t, y) - none)
    torch.testing.assert_close(sampled(network, CANDIDATES[name])(x, t, y), expected)


def test_without_guidance_nothing_is_evaluated_twice(network: LabelField) -> None:
    assert sampled(network, CANDIDATES["full"]) is network
    assert sampled(network, CANDIDATES["joint"]) is network


def test_candidates_by_their_rules() -> None:
    assert list(candidates(["full"])) == ["full", "full, w = 1.5", "full, w = 2"]
    assert candidates(["composed", "joint", "full"]) == CANDIDATES
    assert next(iter(CANDIDATES)) == "full"  # the plainest first
    assert list(candidates(["full, w = 2"])) == ["full, w = 2"]
    assert list(candidates(["full, w = 1.5", "composed"])) == ["full, w = 1.5", "composed, w = 1", "composed, w = 1.5"]


def test_one_candidate_by_name_leaves_no_choice() -> None:
    assert [only_candidate([name]) for name in CANDIDATES] == list(CANDIDATES)
    assert only_candidate(["composed"]) is None  # with two weights
    assert only_candidate(["full", "joint"]) is None


@pytest.mark.parametrize("rules", [[], ["sum"], ["full", "full, w = 3"]])
def test_rules_that_name_nothing(rules: list[str]) -> None:
    with pytest.raises(ValueError, match=r"give one or more of 'full', 'joint', 'composed', 'full, w = 1\.5'") as error:
        candidates(rules)
    assert str(rules) in str(error.value)


def test_an_unknown_rule(network: LabelField) -> None:
    with pytest.raises(ValueError, match="unknown rule 'marginal'"):
        sampled(network, Sampling("marginal"))


def test_a_choice_is_by_the_worse_of_the_answers_to_known_and_to_novel_ones() -> None:
    """DCFM-A's joint rule answers by Eq. 5 what nobody holds: a choice that sees its other answer alone is blind."""
    good = {"joint": 9, "composed": 3, "full": 5}
    asked: list[Sampling] = []
    notified: list[tuple[int, int]] = []

    def successes(way: Sampling, known: Tensor) -> tuple[int, int]:
        assert torch.equal(known, HELD)
        asked.append(way)
        return good[way.rule], 10

    def chosen(name: str) -> Selection:
        asked.clear()
        return choose(
            candidates(["full", "joint"]),
            registry.make(name),
            successes,
            HELD,
            criterion="what is good",
            on_candidate=lambda done, total: notified.append((done, total)),
        )

    of_a = chosen("dcfm_a")
    assert asked == [*candidates(["full"]).values(), Sampling("joint"), Sampling("composed")]
    assert of_a.chosen == "full"
    assert of_a.scores["joint"] == (3, 10)
    assert notified == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    for name in ("dcfm_b", "ddm_l", "fedflow"):
        found = chosen(name)
        assert asked == list(candidates(["full", "joint"]).values())
        assert (found.chosen, found.scores["joint"]) == ("joint", (9, 10))
    assert of_a.as_dict()["tried"]["full, w = 2"]["settings"] == {"rule": "full", "weight": 2.0}
    assert of_a.criterion.startswith("what is good; by the rule for novel ones too")
