"""Precision and recall on sets where both are known."""

import pytest
import torch

from dcfm.metrics import manifold
from dcfm.metrics.manifold import membership, radii


def test_radii_on_a_line() -> None:
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]]).double()
    assert radii(x, 1).tolist() == [1, 1, 2, 4]
    assert radii(x, 3).tolist() == [7, 6, 4, 7]


def test_copies_of_a_point_reach_nowhere() -> None:
    x = torch.zeros(5, 2).double()
    assert radii(x, 3).tolist() == [0] * 5
    assert membership(x, x).precision == 1  # the boundary belongs to the ball


def test_equal_sets_and_distant_sets(generator: torch.Generator) -> None:
    x = torch.randn(40, 3, generator=generator)
    assert (membership(x, x).precision, membership(x, x).recall) == (1, 1)
    assert (membership(x, x + 100).precision, membership(x, x + 100).recall) == (0, 0)


def test_half_of_the_modes(generator: torch.Generator) -> None:
    """Real data has two distant modes, the generator one of them: precise, half recalled; swapped, the other way."""
    mode = torch.randn(3, 100, 2, generator=generator) * 0.1
    real = torch.cat([mode[0], mode[1] + 50])
    found, swapped = membership(mode[2], real), membership(real, mode[2])
    assert found.precision > 0.9
    assert 0.4 < found.recall <= 0.5
    assert (swapped.precision, swapped.recall) == (found.recall, found.precision)
    assert not found.real[100:].any()


def test_boundary_is_inside() -> None:
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    generated = torch.tensor([[6.0], [5.9], [6.1], [6.2]])
    found, swapped = membership(generated, real, k=3), membership(real, generated, k=3)
    assert found.generated.tolist() == swapped.real.tolist() == [True, True, False, False]  # 3 + its reach 3


def test_both_sets_have_the_reach_that_is_asked_for() -> None:
    near, apart = torch.tensor([[0.0], [1.0], [3.0], [7.0]]), torch.tensor([[-1.5], [100.0], [200.0], [300.0]])
    for k, inside in ((1, False), (2, True)):  # 0 reaches to 1, then to 3
        assert membership(apart, near, k).generated.tolist() == [inside, False, False, False]
        assert membership(near, apart, k).real.tolist() == [inside, False, False, False]


def test_blocks_do_not_matter(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randn(30, 2, generator=generator), torch.randn(25, 2, generator=generator) + 1
    whole = membership(x, y)
    monkeypatch.setattr(manifold, "BLOCK", 7)
    parts = membership(x, y)
    assert torch.equal(whole.generated, parts.generated)
    assert torch.equal(whole.real, parts.real)


def test_isometries(generator: torch.Generator) -> None:
    x, y = torch.randn(30, 4, generator=generator).double(), torch.randn(30, 4, generator=generator).double()
    q = torch.linalg.qr(torch.randn(4, 4, generator=generator).double()).Q
    before, after = membership(x, y), membership(3 * x @ q - 1, 3 * y @ q - 1)
    assert (before.precision, before.recall) == (after.precision, after.recall)


@pytest.mark.parametrize("k", [0, 5])
def test_too_few_points(k: int) -> None:
    with pytest.raises(ValueError, match="1 <= k < number of points"):
        membership(torch.zeros(5, 2), torch.zeros(9, 2), k)
