"""Real digits in colours, as many of each combination, chosen by the seed."""

import pytest
import torch

from dcfm_images.colours import colourise
from dcfm_images.digits import Digits
from dcfm_images.features import as_bytes
from dcfm_images.pictures import check_each, colour_digits

COMBINATIONS = torch.tensor([[0, 3], [0, 5], [7, 3]])


def test_each_combination_gets_its_own(digits: Digits) -> None:
    pictures = colour_digits(digits, COMBINATIONS, 20, seed=1)
    assert torch.equal(pictures.labels, COMBINATIONS.repeat_interleave(20, dim=0))
    assert torch.equal(digits.labels[pictures.origins], pictures.labels[:, 0])
    for start in (0, 20, 40):
        assert len(pictures.origins[start : start + 20].unique()) == 20  # a digit once in a combination
    expected = as_bytes(colourise(digits.images[pictures.origins], pictures.labels[:, 1]))
    assert torch.equal(pictures.images, expected)
    assert len(pictures) == 60


def test_a_combination_does_not_depend_on_its_companions(digits: Digits) -> None:
    together = colour_digits(digits, COMBINATIONS, 5, seed=1)
    alone = colour_digits(digits, COMBINATIONS[2:], 5, seed=1)
    assert torch.equal(together.images[10:], alone.images)
    assert not torch.equal(alone.origins, colour_digits(digits, COMBINATIONS[2:], 5, seed=2).origins)


def test_too_few_digits(digits: Digits) -> None:
    with pytest.raises(ValueError, match="31 pictures of a combination, and 30 real digits"):
        colour_digits(digits, COMBINATIONS, 31, seed=0)
    fewer = digits[torch.cat([(digits.labels != 7).nonzero()[:, 0], (digits.labels == 7).nonzero()[:4, 0]])]
    with pytest.raises(
        ValueError, match=r"curve_each=31 pictures .* and 4 real digits 7 to compare them with; give 1 to 4, or more"
    ):
        check_each(fewer, COMBINATIONS, 31, "curve_each")
