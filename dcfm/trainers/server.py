"""The server's side of federated averaging: the silos' mean, what an optimizer makes of it, and where that stands.

The mean ``m`` of what silos send back is the next round's start (McMahan et al. 2017). A server optimizer (Reddi et al.
2021, Algorithm 2) takes the way to it, ``d = m - theta``, for a gradient instead, and carries moments over the rounds:

- ``momentum`` (FedAvgM, Hsu et al. 2019): ``a <- beta1 a + d``, ``theta <- theta + eta a``;
- ``adam`` (FedAdam): ``a <- beta1 a + (1 - beta1) d``, ``b <- beta2 b + (1 - beta2) d^2``,
  ``theta <- theta + eta a / (sqrt(b) + tau)``, with ``b = tau^2`` at the start and no correction of its bias.

Neither passes more between silos than averaging does.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import torch
from torch import Tensor

from dcfm.weights import Weights

RULES: Final = ("momentum", "adam")


@dataclass(frozen=True)
class ServerConfig:
    """A server optimizer.

    Args:
        rule: one of :data:`RULES`.
        learning_rate: ``eta``; of ``momentum`` 1 goes as far as the mean without it, ``adam`` needs far less.
        momentum: ``beta1``.
        second: ``beta2``, of ``adam``.
        adaptivity: ``tau``, of ``adam``: the larger, the less it adapts.
    """

    rule: str
    learning_rate: float = 1.0
    momentum: float = 0.9
    second: float = 0.99
    adaptivity: float = 1e-3

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule={self.rule!r} of the server is unknown; the rules are {', '.join(RULES)}")
        steps = (self.learning_rate, self.adaptivity)
        if not (all(0 < s < math.inf for s in steps) and 0 <= self.momentum < 1 and 0 <= self.second < 1):
            raise ValueError(
                f"the server's learning_rate and adaptivity must be positive numbers, momentum and second in [0, 1): "
                f"{self!r}"
            )

    def __str__(self) -> str:
        """Its rule and rate, and what else is not the default."""
        others = [f for f in fields(self) if f.name not in ("rule", "learning_rate")]
        changed = [f"{f.name} {getattr(self, f.name):g}" for f in others if getattr(self, f.name) != f.default]
        return ", ".join([f"{self.rule} {self.learning_rate:g}", *changed])

    def step(
        self, weights: Weights, mean: Weights, moments: Mapping[str, Weights], parameters: Collection[str]
    ) -> tuple[Weights, dict[str, Weights]]:
        """The next global weights and moments, from the silos' mean. What is no parameter, as batch norm's statistics,
        is the mean's: a step could carry a variance below zero."""
        moved, first, second = dict(mean), {}, {}
        old_first, old_second = moments.get("first", {}), moments.get("second", {})
        for name, start in weights.items():
            if name not in parameters:
                continue
            way = mean[name] - start
            before = old_first.get(name, torch.zeros_like(start))
            if self.rule == "momentum":
                first[name] = self.momentum * before + way
                moved[name] = start + self.learning_rate * first[name]
                continue
            first[name] = torch.lerp(way, before, self.momentum)
            squares = old_second.get(name, torch.full_like(start, self.adaptivity**2))
            second[name] = torch.lerp(way.square(), squares, self.second)
            moved[name] = start + self.learning_rate * first[name] / (second[name].sqrt() + self.adaptivity)
        return moved, {"first": first, "second": second} if second else {"first": first}


@dataclass(frozen=True)
class GlobalModel:
    """Where averaging stands after a round.

    Attributes:
        done: rounds.
        weights: global ones, that the next round starts from.
        average: their moving average, which is the result.
        moments: of the server optimizer, by name; none without one.
    """

    done: int
    weights: Weights
    average: Weights
    moments: dict[str, Weights] = field(default_factory=dict)

    @classmethod
    def start(cls, weights: Weights) -> "GlobalModel":
        """Before the first round."""
        return cls(0, weights, weights)

    def advance(
        self,
        uploaded: Sequence[Weights],
        counts: Sequence[int],
        server: ServerConfig | None,
        decay: float,
        parameters: Collection[str],
    ) -> "GlobalModel":
        """After one round more.

        Args:
            uploaded, counts: the silos' weights and how many samples each holds.
            server: the server's optimizer; ``None``: the mean is the next round's start.
            decay: of the moving average.
            parameters: names of what the server's optimizer steps.

        Raises:
            ValueError: see :func:`weighted_mean`.
        """
        weights, moments = weighted_mean(uploaded, counts), self.moments
        if server is not None:
            weights, moments = server.step(self.weights, weights, moments, parameters)
        return GlobalModel(self.done + 1, weights, moving_average(self.average, weights, decay), moments)

    def tensors(self) -> dict[str, Tensor]:
        """All but the number of rounds, by name, to be stored."""
        parts = {"weights": self.weights, "average": self.average, **self.moments}
        return {f"{part}.{key}": value for part, weights in parts.items() for key, value in weights.items()}

    @classmethod
    def from_tensors(cls, done: int, tensors: Mapping[str, Tensor]) -> "GlobalModel":
        """What :meth:`tensors` gave."""
        parts: dict[str, Any] = {"weights": {}, "average": {}}
        for name, value in tensors.items():
            part, _, key = name.partition(".")
            parts.setdefault(part, {})[key] = value
        return cls(done, parts.pop("weights"), parts.pop("average"), parts)


def weighted_mean(weights: Sequence[Weights], counts: Sequence[int]) -> Weights:
    """``sum_a n_a w_a / sum_a n_a``, tensor by tensor.

    Raises:
        ValueError: no weights, as many counts as weights not given, or a count below 1.
    """
    if not weights or len(weights) != len(counts) or min(counts) < 1:
        raise ValueError(f"{len(weights)} sets of weights and counts {list(counts)}; give one count of at least 1 each")
    total = sum(counts)

    def mean(name: str, value: Tensor) -> Tensor:
        # In float64, so that the mean of equal weights is these weights.
        found = sum((n / total * w[name].double() for w, n in zip(weights, counts, strict=True)), torch.zeros(()))
        return (found if value.is_floating_point() else found.round()).to(value.dtype)

    return {name: mean(name, value) for name, value in weights[0].items()}


def moving_average(average: Weights, weights: Weights, decay: float) -> Weights:
    """``decay * average + (1 - decay) * weights``; whole numbers, e.g. a count of batches, as they are."""
    return {
        name: torch.lerp(value, average[name], decay) if value.is_floating_point() else value
        for name, value in weights.items()
    }
