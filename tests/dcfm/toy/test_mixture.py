"""dcfm/toy/mixture.py: the scores of samples whose quality is known, and what may be left out."""

import pytest
import torch
from torch import Tensor

from dcfm.attributes import AttributeSpace
from dcfm.toy.mixture import Mixture, draw_missing, label_name, sliced_wasserstein, toy_space, usual_missing


def samples(mixture: Mixture, y: list[int], number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    labels = torch.tensor(y).repeat(number, 1)
    return mixture.sample(labels, generator), labels


@pytest.mark.parametrize("attributes", [2, 3, 5])
def test_the_true_mode_scores_99_percent(attributes: int, generator: torch.Generator) -> None:
    mixture = Mixture(attributes, distance=1.2, std=0.3)
    x, y = samples(mixture, [1, 0, 1, 1, 0][:attributes], 20_000, generator)
    assert float(mixture.within(x, y).float().mean()) == pytest.approx(0.99, abs=0.003)


def test_shifted_widened_and_foreign_modes_score_less(generator: torch.Generator) -> None:
    mixture = Mixture()
    x, y = samples(mixture, [1, 1], 5000, generator)
    shifted = mixture.within(x + torch.tensor([2 * mixture.std, 0.0]), y).float().mean()
    wide = mixture.within(1.5 * (x - mixture.centres(y)) + mixture.centres(y), y).float().mean()
    assert 0.7 < float(shifted) < 0.9
    # In two dimensions P(|x| <= r) = 1 - exp(-r^2 / 2 s^2): for s = 1.5 std, 1 - 0.01^(1 / 2.25).
    assert float(wide) == pytest.approx(1 - 0.01 ** (1 / 2.25), abs=0.02)
    assert not mixture.within(x, torch.zeros_like(y)).any()


def test_attribute_i_acts_on_coordinate_i() -> None:
    mixture = Mixture(3, distance=2.0)
    for i in range(3):
        y = torch.zeros(1, 3, dtype=torch.long)
        y[0, i] = 1
        moved = mixture.centres(y) - mixture.centres(torch.zeros_like(y))
        assert moved[0].nonzero()[:, 0].tolist() == [i]
        assert float(moved[0, i]) == 4.0


def test_sliced_wasserstein_of_equal_and_of_shifted_samples(generator: torch.Generator) -> None:
    a = torch.randn(4000, 2, generator=generator)
    assert sliced_wasserstein(a, a[torch.randperm(4000, generator=generator)], generator) == 0
    shift = torch.tensor([3.0, 4.0])
    assert sliced_wasserstein(a, a + shift, generator, projections=2000) == pytest.approx(5 / 2**0.5, rel=0.05)
    assert sliced_wasserstein(a, torch.randn(4000, 2, generator=generator), generator) < 0.1
    # Twice the spread: W_2 of N(0, 1) and N(0, 4) is 1 in every direction.
    assert sliced_wasserstein(a, 2 * torch.randn(4000, 2, generator=generator), generator) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("a", "b"), [((3, 2), (4, 2)), ((3, 2), (3, 1)), ((0, 2), (0, 2))])
def test_sliced_wasserstein_needs_as_many_samples(
    a: tuple[int, int], b: tuple[int, int], generator: torch.Generator
) -> None:
    with pytest.raises(ValueError, match="as many samples"):
        sliced_wasserstein(torch.zeros(a), torch.zeros(b), generator)


@pytest.mark.parametrize(("attributes", "missing"), [(2, 1), (3, 2), (4, 4), (5, 8)])
def test_what_is_left_out_keeps_the_main_effects_identifiable(attributes: int, missing: int) -> None:
    assert usual_missing(attributes) == missing
    space = toy_space(attributes)
    drawn = set()
    for seed in range(8):
        observed, absent = draw_missing(space, missing, torch.Generator().manual_seed(seed))
        assert len(absent) == missing
        space.check_coverage(observed)
        assert len(torch.unique(torch.cat([observed, absent]), dim=0)) == 2**attributes
        again = draw_missing(space, missing, torch.Generator().manual_seed(seed))
        assert torch.equal(again[1], absent)
        drawn.add(str(absent.tolist()))
    assert len(drawn) > 1


def test_leaving_out_as_much_as_eq_2_allows(generator: torch.Generator) -> None:
    space = toy_space(3)
    observed, _ = draw_missing(space, 4, generator)
    assert space.main_effects_rank(observed) == 4
    with pytest.raises(ValueError, match="0 to 4 can be"):
        draw_missing(space, 5, generator)
    with pytest.raises(ValueError, match="0 to 1 can be"):
        draw_missing(AttributeSpace.from_cardinalities(2, 2), 2, generator)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": 1}, "2 to 14"),
        ({"attributes": 15}, "2 to 14"),
        ({"std": 0.0}, "std=0.0"),
        ({"std": float("nan")}, "std=nan"),
        ({"distance": -1.0}, "distance=-1.0"),
    ],
)
def test_impossible_geometries(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(**changes)  # type: ignore[arg-type]


def test_names() -> None:
    assert label_name([0, 1, 1]) == "0-1-1"
    assert toy_space(2).describe((0, 2)) == "a0=- a1=null"
