"""Ten colours far apart; painting digits is exact."""

import itertools
import math

import pytest
import torch

from dcfm_images.colours import COLOURS, colourise


def test_ten_colours_are_well_separated() -> None:
    assert len(COLOURS) == 10
    rgb = {name: torch.tensor(value) for name, value in COLOURS.items()}
    for a, b in itertools.combinations(rgb, 2):
        assert torch.dist(rgb[a], rgb[b]) >= math.sqrt(0.5) - 1e-6, (a, b)
        # In direction too: no dim stroke of one colour is a stroke of another.
        assert torch.cosine_similarity(rgb[a], rgb[b], dim=0) < 0.97, (a, b)
    assert all(value.max() == 1 and value.min() >= 0 for value in rgb.values())


@pytest.mark.parametrize("index", range(10))
def test_brightness_times_colour_on_black(index: int) -> None:
    grey = torch.tensor([[[0, 51], [204, 255]]], dtype=torch.uint8)
    picture = colourise(grey, torch.tensor([index]))
    assert picture.shape == (1, 3, 2, 2)
    colour = torch.tensor(list(COLOURS.values())[index])
    brightness = torch.tensor([[0.0, 0.2], [0.8, 1.0]])
    torch.testing.assert_close(picture[0], 2 * colour[:, None, None] * brightness - 1)
