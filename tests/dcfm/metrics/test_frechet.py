"""The Frechet distance against closed forms, its invariances, and another implementation."""

import math

import pytest
import torch
from torchmetrics.image.fid import _compute_fid

from dcfm.metrics.frechet import SampleSizeError, check_sample_size, frechet_distance, frechet_draws, gaussian_frechet


def covariance(d: int, generator: torch.Generator) -> torch.Tensor:
    root = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return root @ root.T


def test_commuting_covariances_have_a_closed_form() -> None:
    """``|m1 - m2|^2 + sum (s1 - s2)^2`` for diagonal covariances."""
    mean1, mean2 = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([0.0, 2.5, 3.0]).double()
    s1, s2 = torch.tensor([1.0, 0.5, 2.0]).double(), torch.tensor([0.2, 0.5, 3.0]).double()
    found = gaussian_frechet(mean1, s1.square().diag(), mean2, s2.square().diag())
    expected = (mean1 - mean2).square().sum() + (s1 - s2).square().sum()
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


def test_transport_map_of_gaussians(generator: torch.Generator) -> None:
    """``y = T x`` with symmetric positive ``T`` is the optimal map, so the distance is ``E |T x - x|^2``."""
    c1, t = covariance(4, generator), covariance(4, generator)
    move = t - torch.eye(4).double()
    found = gaussian_frechet(torch.zeros(4).double(), c1, torch.zeros(4).double(), t @ c1 @ t)
    assert float(found) == pytest.approx(float((move @ c1 @ move).trace()), rel=1e-8)


def test_rotation_symmetry_and_scale(generator: torch.Generator) -> None:
    x, y = torch.randn(50, 5, generator=generator).double(), torch.randn(60, 5, generator=generator).double() * 2 + 1
    q = torch.linalg.qr(covariance(5, generator)).Q
    found = frechet_distance(x, y)
    assert frechet_distance(y, x) == pytest.approx(found, rel=1e-9)
    assert frechet_distance(x @ q + 3, y @ q + 3) == pytest.approx(found, rel=1e-9)
    assert frechet_distance(7 * x, 7 * y) == pytest.approx(49 * found, rel=1e-9)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_features_given_twice_double_it(generator: torch.Generator) -> None:
    """Their covariances are singular; the optimal map moves each copy as it moves the feature."""
    x, y = torch.randn(50, 5, generator=generator).double(), torch.randn(60, 5, generator=generator).double() * 2 + 1
    assert frechet_distance(x.repeat(1, 2), y.repeat(1, 2)) == pytest.approx(2 * frechet_distance(x, y), rel=1e-6)


def test_is_never_negative(generator: torch.Generator) -> None:
    root = torch.randn(50, 8, 8, generator=generator, dtype=torch.float64)
    same, zero = root @ root.mT, torch.zeros(50, 8, dtype=torch.float64)
    found = gaussian_frechet(zero, same, zero, same)
    assert (found >= 0).all()
    assert (found < 1e-9).all()


def test_agrees_with_torchmetrics(generator: torch.Generator) -> None:
    x, y = torch.randn(90, 8, generator=generator).double(), torch.rand(70, 8, generator=generator).double()
    expected = _compute_fid(x.mean(0), x.T.cov(), y.mean(0), y.T.cov())
    assert frechet_distance(x, y) == pytest.approx(float(expected), rel=1e-9)


def test_weights_count_copies(generator: torch.Generator) -> None:
    x, y = torch.randn(20, 3, generator=generator), torch.randn(20, 3, generator=generator)
    weights = torch.randint(0, 4, (1, 20), generator=generator).float()
    copied = x.repeat_interleave(weights[0].long(), dim=0)
    assert float(frechet_draws(x, y, weights, torch.ones(1, 20))[0]) == pytest.approx(frechet_distance(copied, y))


def test_bias_falls_with_n(generator: torch.Generator) -> None:
    """Equal distributions: the estimate falls about as ``1/n``."""
    few, many = (
        sum(frechet_distance(*torch.randn(2, n, 4, generator=generator)) for _ in range(20)) / 20 for n in (50, 500)
    )
    assert 5 < few / many < 20


def test_too_few_samples_say_how_many(generator: torch.Generator) -> None:
    x = torch.randn(8, 8, generator=generator)
    with pytest.raises(SampleSizeError, match="at least 9"):
        frechet_distance(x, torch.randn(20, 8, generator=generator))
    with pytest.raises(SampleSizeError, match="8 reference samples"):
        frechet_distance(torch.randn(20, 8, generator=generator), x)
    check_sample_size(9, 8, "samples")
    assert math.isfinite(frechet_distance(torch.randn(9, 8, generator=generator), torch.randn(9, 8)))
