"""A problem whose velocity is known in closed form for every label: mixtures of Gaussians."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class GaussianMixture:
    """Data ``x_1 ~ sum_c p_c N(mean_c, std^2 I)``, component ``c`` labelled ``labels_c``: an exact field.

    Given attributes select components; a null selects all. At time ``t`` a component is ``N(t mean, s_t^2 I)`` with
    ``s_t^2 = (1 - t)^2 + t^2 std^2``, and moves with ``mean + (t std^2 - (1 - t)) / s_t^2 (x - t mean)``. The
    mixture's velocity is the mean of its components' under their posterior.
    """

    means: Float[Tensor, "components d"]
    labels: Int[Tensor, "components k"]
    shares: Float[Tensor, " components"]
    null: Int[Tensor, " k"]
    std: float = 0.4

    def logits(self, x: Float[Tensor, "batch d"], t: Float[Tensor, " batch"], y: Int[Tensor, "batch k"]) -> Tensor:
        """``log p_c N(x; t mean_c, s_t^2 I)`` of the selected components, ``-inf`` of the others."""
        given = ((y[:, None] == self.labels) | (y[:, None] == self.null)).all(-1)
        variance = (1 - t) ** 2 + (t * self.std) ** 2
        squared = (x[:, None] - t[:, None, None] * self.means).square().sum(-1)
        log_density = -squared / (2 * variance[:, None]) - x.shape[1] / 2 * torch.log(2 * torch.pi * variance)[:, None]
        return torch.where(given, self.shares.log() + log_density, -torch.inf)

    def score(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """``grad log p_t(x | y)`` by automatic differentiation of the density."""
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.logits(x, t, y).logsumexp(1).sum(), x)
        return gradient

    def __call__(
        self,
        x: Float[Tensor, "batch d"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, "batch d"] | None = None,
    ) -> Float[Tensor, "batch d"]:
        posterior = self.logits(x, t, y).softmax(1)
        slope = (t * self.std**2 - (1 - t)) / ((1 - t) ** 2 + (t * self.std) ** 2)
        mean = posterior @ self.means
        velocity = mean + slope[:, None] * (x - t[:, None] * mean)
        return velocity if held is None else velocity.masked_fill(held, 0)

    def of(self, rows: list[int]) -> "GaussianMixture":
        """What a silo that holds these components alone would learn."""
        return GaussianMixture(self.means[rows], self.labels[rows], self.shares[rows], self.null, self.std)


@pytest.fixture
def separable() -> GaussianMixture:
    """Attribute ``i`` sets coordinate ``i``, and values are drawn independently: (1) holds at every time. A 2 x 3 grid
    of modes; components in lexicographic order."""
    places = [torch.tensor([-1.5, 1.0]), torch.tensor([-2.0, 0.0, 1.5])]
    chances = [torch.tensor([0.3, 0.7]).double(), torch.tensor([0.2, 0.5, 0.3]).double()]
    labels = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    return GaussianMixture(
        means=torch.stack([place[labels[:, i]] for i, place in enumerate(places)], dim=1).double(),
        labels=labels,
        shares=chances[0][labels[:, 0]] * chances[1][labels[:, 1]],
        null=torch.tensor([2, 3]),
    )


Batch = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def batch_of(generator: torch.Generator) -> Callable[[GaussianMixture], Batch]:
    """``(x_t, t, y)`` with labels drawn uniformly from a mixture's combinations, ``0.05 < t < 0.95``."""

    def draw(mixture: GaussianMixture, number: int = 64) -> Batch:
        component = torch.randint(len(mixture.labels), (number,), generator=generator)
        t = 0.05 + 0.9 * torch.rand(number, generator=generator, dtype=torch.float64)
        noise = torch.randn(2, number, mixture.means.shape[1], generator=generator, dtype=torch.float64)
        data = mixture.means[component] + mixture.std * noise[0]
        return torch.lerp(noise[1], data, t[:, None]), t, mixture.labels[component]

    return draw
