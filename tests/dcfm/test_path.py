import torch

from dcfm.path import (
    LATEST,
    draw_noise,
    interpolate,
    score_from_velocity,
    target_velocity,
    velocity_from_clean,
    velocity_from_score,
)
from dcfm.solvers import integrate


def test_velocity_and_score_of_one_gaussian(generator: torch.Generator) -> None:
    """``x_1 ~ N(m, s^2)``: the score is ``-(x - t m) / s_t^2``, the velocity ``E[x_1 - x_0 | x_t]``."""
    mean, std = 0.7, 0.4
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    x = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    time = t[:, None]
    variance = (1 - time) ** 2 + (time * std) ** 2
    score = -(x - time * mean) / variance
    velocity = mean + (time * std**2 - (1 - time)) / variance * (x - time * mean)
    assert torch.allclose(velocity_from_score(score, x, t), velocity)
    assert torch.allclose(score_from_velocity(velocity, x, t), score)


def test_velocity_and_score_of_a_mixture(separable, batch_of) -> None:
    x, t, y = batch_of(separable)
    assert torch.allclose(velocity_from_score(separable.score(x, t, y), x, t), separable(x, t, y))
    assert torch.allclose(score_from_velocity(separable(x, t, y), x, t), separable.score(x, t, y))


def test_path_runs_straight_from_noise_to_data(generator: torch.Generator) -> None:
    x0, x1 = torch.randn(2, 5, 4, 3, generator=generator)
    u = target_velocity(x0, x1)
    for t in (0.0, 0.3, 1.0):
        assert torch.allclose(interpolate(x0, x1, torch.full((5,), t)), x0 + t * u)
    arrived = integrate(lambda x, t, y, held=None: u, x0, torch.zeros(5, 1).long(), steps=3, method="euler")
    assert torch.allclose(arrived, x1, atol=1e-6)


def test_held_entries_keep_their_value_at_every_time(generator: torch.Generator) -> None:
    x1 = torch.randn(200, 5, generator=generator)
    held = torch.rand(200, 5, generator=generator) < 0.3
    x0 = draw_noise(x1, held, generator)
    assert torch.equal(x0[held], x1[held])
    assert abs(x0[~held].std() - 1) < 0.1
    assert not torch.isclose(x0, x1)[~held].all()
    assert torch.equal(interpolate(x0, x1, torch.rand(200, generator=generator))[held], x1[held])
    assert (target_velocity(x0, x1)[held] == 0).all()


def test_the_true_clean_sample_gives_the_target_velocity_until_the_clamp(generator: torch.Generator) -> None:
    x0, x1 = torch.randn(2, 4, 3, generator=generator)
    t = torch.tensor([0.0, 0.5, 1 - LATEST, 1.0])
    v = velocity_from_clean(x1, interpolate(x0, x1, t), t)
    assert torch.allclose(v[:3], target_velocity(x0, x1)[:3], atol=1e-4)
    assert v.isfinite().all()


def test_near_the_data_the_velocity_is_bounded_by_the_clamp() -> None:
    """After ``1 - LATEST`` an error of the clean sample is divided by ``LATEST``, not by what is left of time."""
    t = torch.tensor([1 - LATEST, 1 - LATEST / 10, 1.0])
    v = velocity_from_clean(torch.ones(3, 2), torch.zeros(3, 2), t)
    assert torch.allclose(v, torch.full((3, 2), 1 / LATEST), rtol=1e-4)
