"""The kernel distance against its definition, closed forms, and another implementation."""

import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from dcfm.metrics import kernel
from dcfm.metrics.kernel import Design, kernel_distance, kernel_draws


def test_closed_form_on_a_line() -> None:
    """Point masses at ``a`` and ``b``: ``k(a, a) + k(b, b) - 2 k(a, b)``."""
    a, b = 0.5, -2.0
    x, y = torch.full((4, 1), a), torch.full((3, 1), b)
    expected = (a * a + 1) ** 3 + (b * b + 1) ** 3 - 2 * (a * b + 1) ** 3
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_mean_shift_has_a_closed_form(generator: torch.Generator) -> None:
    """``x ~ N(0, 1)``, ``y ~ N(m, 1)``: by the moments of ``(ab + 1)^3 = a^3 b^3 + 3 a^2 b^2 + 3 ab + 1``."""
    m, n = 0.7, 1000
    differences = torch.tensor([m**3 + 3 * m, m**2, m])  # of third, second and first moments
    expected = float((torch.tensor([1.0, 3.0, 3.0]) * differences.square()).sum())
    found = [
        kernel_distance(torch.randn(n, 1, generator=generator), torch.randn(n, 1, generator=generator) + m)
        for _ in range(20)
    ]
    assert sum(found) / 20 == pytest.approx(expected, rel=0.15)


def test_unbiased_for_equal_distributions(generator: torch.Generator) -> None:
    found = torch.tensor([kernel_distance(*torch.randn(2, 30, 5, generator=generator)) for _ in range(100)])
    assert found.min() < 0
    assert abs(found.mean()) < 3 * found.std() / len(found) ** 0.5


def test_agrees_with_torchmetrics(generator: torch.Generator) -> None:
    x, y = torch.randn(2, 40, 6, generator=generator).double().unbind()
    xx, yy, xy = (kernel.cubic_kernel(a, b) for a, b in ((x, x), (y, y), (x, y)))
    ours = kernel_distance(x, y)
    n = len(x)
    direct = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (n * (n - 1)) - 2 * xy.mean()
    assert ours == pytest.approx(float(direct), rel=1e-9)
    assert ours == pytest.approx(float(poly_mmd(x, y, degree=3, gamma=1 / 6, coef=1.0)), rel=1e-9)


def test_blocks_do_not_matter(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randn(2, 40, 3, generator=generator).unbind()
    whole = kernel_distance(x, y)
    design = Design(torch.arange(40) // 20, torch.arange(40) // 3)
    by_stratum = kernel_distance(x, y, design, design)
    monkeypatch.setattr(kernel, "BLOCK", 7)
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)
    assert kernel_distance(x, y, design, design) == pytest.approx(by_stratum, rel=1e-12)


def test_draws_are_unbiased(generator: torch.Generator) -> None:
    """Multinomial weights: the draws' mean is the value."""
    x, y = torch.randn(40, 3, generator=generator), torch.randn(40, 3, generator=generator) + 0.5
    drawn = [torch.randint(40, (4000, 40), generator=generator) for _ in range(2)]
    wx, wy = (torch.zeros(4000, 40).scatter_add_(1, rows, torch.ones(rows.shape)) for rows in drawn)
    draws = kernel_draws(x, y, wx, wy)
    assert float(draws.mean()) == pytest.approx(kernel_distance(x, y), abs=4 * float(draws.std()) / 4000**0.5)


def test_a_draw_of_one_sample_only_has_the_pairs_of_all(generator: torch.Generator) -> None:
    x, y = torch.randn(2, 3, 4, generator=generator).unbind()
    draws = torch.tensor([[3.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.3, 0.0, 0.0], [2.0, 1.0, 0.0]])
    ones = torch.ones(4, 3)
    found = kernel_draws(x, y, draws, ones)
    one = Design(torch.zeros(3, dtype=torch.long), torch.arange(3))
    torch.testing.assert_close(found, kernel_draws(x, y, draws, ones, one, one))
    torch.testing.assert_close(found[3:], kernel_draws(x, y, draws[3:], ones[3:]))


def test_needs_two() -> None:
    with pytest.raises(ValueError, match="at least two"):
        kernel_distance(torch.zeros(1, 2), torch.zeros(5, 2))


def test_a_design_of_one_stratum_is_none(generator: torch.Generator) -> None:
    x, y = torch.randn(2, 20, 3, generator=generator).unbind()
    plain = Design(torch.zeros(20, dtype=torch.long), torch.arange(20))
    weights = torch.randint(1, 3, (4, 20), generator=generator).float()
    assert kernel_distance(x, y, plain, plain) == pytest.approx(kernel_distance(x, y), rel=1e-9)
    assert torch.allclose(kernel_draws(x, y, weights, weights, plain, plain), kernel_draws(x, y, weights, weights))


def test_fixed_numbers_and_shared_origins_keep_zero_at_zero(generator: torch.Generator) -> None:
    """Distant strata of three samples each, one of each origin: plain pairs miss zero, these do not."""
    means = 3 * torch.randn(4, 1, 4, generator=generator)
    strata, origins = torch.arange(4).repeat_interleave(3), torch.arange(3).repeat(4)
    design, found = Design(strata, origins), []
    for _ in range(60):
        shared = torch.randn(2, 1, 3, 4, generator=generator)  # of an origin, in all strata
        x, y = ((means + s + 0.5 * torch.randn(4, 3, 4, generator=generator)).flatten(0, 1) for s in shared)
        found.append((kernel_distance(x, y), kernel_distance(x, y, design, design)))
    plain, right = torch.tensor(found).T
    assert abs(right.mean()) < 3 * right.std() / len(right) ** 0.5
    assert abs(plain.mean()) > 3 * plain.std() / len(plain) ** 0.5


def test_by_stratum_it_is_its_definition(generator: torch.Generator) -> None:
    """Mean kernels over pairs of different origins, pair of strata by pair, weighted by both shares; in any order."""
    sizes, weights = torch.tensor([2, 4, 6]), 1 + torch.rand(24, generator=generator).double()
    x, strata = torch.randn(24, 3, generator=generator).double(), torch.arange(3).repeat_interleave(sizes).repeat(2)
    origins, order = torch.arange(24) % 5, torch.randperm(12, generator=generator)
    expected = torch.zeros(()).double()
    for half in (slice(0, 12), slice(12, 24)):
        a, w, s, o = x[half], weights[half], strata[half], origins[half]
        pairs = w[:, None] * w * (o[:, None] != o)
        for i in range(3):
            for j in range(3):
                inside = pairs * (s[:, None] == i) * (s == j)
                both = w[s == i].sum() * w[s == j].sum() / w.sum() ** 2
                expected += both * (inside * kernel.cubic_kernel(a, a)).sum() / inside.sum()
    first, second = weights[:12] / weights[:12].sum(), weights[12:] / weights[12:].sum()
    expected -= 2 * first @ kernel.cubic_kernel(x[:12], x[12:]) @ second
    designs = [Design(strata[half], origins[half]) for half in (order, 12 + order)]
    found = kernel_draws(x[order], x[12 + order], weights[order][None], weights[12 + order][None], *designs)
    assert float(found[0]) == pytest.approx(float(expected), rel=1e-9)


def test_each_set_has_its_own_design(generator: torch.Generator) -> None:
    """The distance is symmetric, so the sets may be exchanged with their designs."""
    x, y = torch.randn(2, 12, 3, generator=generator).unbind()
    one, two = Design(torch.arange(12) // 6, torch.arange(12)), Design(torch.arange(12) % 3, torch.arange(12))
    assert kernel_distance(x, y, one, two) == pytest.approx(kernel_distance(y, x, two, one), rel=1e-9)


def test_the_unit_of_weights_does_not_matter(generator: torch.Generator) -> None:
    x, y = torch.randn(2, 12, 3, generator=generator).unbind()
    weights = torch.rand(2, 4, 12, generator=generator) + 0.1
    design = Design(torch.arange(12) // 6, torch.arange(12))
    for designs in ((None, None), (design, design)):
        found = kernel_draws(x, y, 2 * weights[0], 5 * weights[1], *designs)
        torch.testing.assert_close(found, kernel_draws(x, y, *weights, *designs))


def test_a_stratum_of_one() -> None:
    design = Design(torch.arange(4), torch.arange(4))
    with pytest.raises(ValueError, match="at least two samples of each stratum"):
        kernel_distance(torch.rand(4, 2), torch.rand(4, 2), design, design)
