"""Solvers of ``dx/dt = v(x, t, y)`` (Eq. 3): explicit Runge-Kutta methods on a fixed grid, and an adaptive one.

A method is a tableau: stage ``s`` evaluates the field at ``t + c_s h`` and ``x + h sum_j a_sj k_j``, and a step adds
``h sum_s b_s k_s``. On the way to ``t = 1`` no fixed-step method evaluates there, where a path that ends on thin data
has no velocity to go on with, and a network that predicts clean samples none at all: Heun and RK4 close with a step of
a method without a node there, which keeps their order (Karras et al. 2022 close Heun's with Euler's). ``adaptive`` does
evaluate there; fields bound their velocity as :data:`dcfm.path.LATEST` says.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm.fields import Field

Observer = Callable[[float, Tensor, Tensor], None]
"""Called as ``observe(t, x_t, v(x_t, t, y))`` at the beginning of every step."""


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method: nodes ``c``, the rows of ``a`` below its diagonal, weights ``b``, its order.

    ``closing`` takes the step that ends at ``t = 1`` where the method itself would evaluate there. Its order is
    at most one less, so that the whole keeps its order.
    """

    order: int
    nodes: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    closing: "Tableau | None" = None


_MIDPOINT: Final = Tableau(2, (0.0, 1 / 2), ((), (1 / 2,)), (0.0, 1.0))
_RALSTON: Final = Tableau(3, (0.0, 1 / 2, 3 / 4), ((), (1 / 2,), (0.0, 3 / 4)), (2 / 9, 1 / 3, 4 / 9))
TABLEAUS: Final = {
    "euler": Tableau(1, (0.0,), ((),), (1.0,)),
    "midpoint": _MIDPOINT,
    "heun": Tableau(2, (0.0, 1.0), ((), (1.0,)), (1 / 2, 1 / 2), closing=_MIDPOINT),
    "rk4": Tableau(
        4,
        (0.0, 1 / 2, 1 / 2, 1.0),
        ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
        closing=_RALSTON,
    ),
}
METHODS: Final = (*TABLEAUS, "adaptive")


def evaluations(method: str, steps: int) -> int:
    """How often a fixed-step method evaluates the field in so many steps from an earlier time to ``t = 1``."""
    tableau = TABLEAUS[method]
    return (steps - 1) * len(tableau.nodes) + len((tableau.closing or tableau).nodes)


def steps_within(method: str, most: int) -> int:
    """The most steps of a fixed-step method to ``t = 1`` in no more than ``most`` evaluations; 0 if not even one."""
    steps = most // len(TABLEAUS[method].nodes)
    return steps + 1 if evaluations(method, steps + 1) <= most else steps


@dataclass
class CountingField:
    """A field that counts: ``evaluations`` are calls, ``rows`` the batch rows of all of them. A composition that puts
    its ``k + 1`` terms into one batch costs one evaluation and ``k + 1`` times the rows; rows over the batch size is
    the cost in units of ``B`` of Table 4."""

    field: Field
    evaluations: int = 0
    rows: int = 0

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        self.evaluations += 1
        self.rows += len(x)
        return self.field(x, t, y, held)


def integrate(
    field: Field,
    x0: Float[Tensor, " batch *shape"],
    y: Int[Tensor, "batch k"],
    *,
    held: Bool[Tensor, " batch *shape"] | None = None,
    steps: int | None = None,
    method: str = "midpoint",
    start: float = 0.0,
    end: float = 1.0,
    grid: Sequence[float] | None = None,
    tolerance: float | None = None,
    observe: Observer | None = None,
) -> Float[Tensor, " batch *shape"]:
    """Carry ``x0`` from time ``start`` to ``end`` along the field; backwards where ``end < start``.

    Differentiable; sample under ``torch.no_grad()``. Held entries do not move, whatever the field says.

    Args:
        field: the velocity.
        x0: where to start, noise at time 0; held entries at their clean value.
        y: labels, with null tokens.
        held: entries that stay as they are.
        steps: number of equal steps of a fixed-step method.
        method: ``euler``, ``midpoint``, ``heun``, ``rk4``, or ``adaptive`` (Dormand-Prince 5(4), ``dcfm[adaptive]``).
        start: time of ``x0``.
        end: time of the result.
        grid: the times of a fixed-step method instead of ``steps``, from ``start`` to ``end``.
        tolerance: relative and absolute tolerance of ``adaptive``, 1e-5 if not given. The error is a mean over the
            batch, so that a sample depends a little, within the tolerance, on its companions.
        observe: sees the times, states and velocities at which steps of a fixed-step method begin.

    Raises:
        ValueError: an unknown method, times outside ``[0, 1]``, or options that do not fit each other.
        ImportError: ``adaptive`` without torchdiffeq.
    """
    if method not in METHODS:
        raise ValueError(f"unknown solver {method!r}; the solvers are {', '.join(METHODS)}")
    if not (0 <= start <= 1 and 0 <= end <= 1 and start != end):
        raise ValueError(f"cannot integrate from t = {start} to {end}; give two different times in [0, 1]")

    def velocity(x: Tensor, t: float) -> Tensor:
        v = field(x, x.new_full((len(x),), t), y, held)
        return v if held is None else v.masked_fill(held, 0)

    if method == "adaptive":
        if steps is not None or grid is not None or observe is not None:
            raise ValueError("the adaptive solver chooses its own steps: give tolerance, not steps, grid or observe")
        if tolerance is not None and not 0 < tolerance < math.inf:
            raise ValueError(f"tolerance = {tolerance}; give a number above 0")
        return _adaptive(velocity, x0, start, end, 1e-5 if tolerance is None else tolerance)
    if tolerance is not None:
        raise ValueError(f"{method} takes no tolerance; give steps or grid, or choose method='adaptive'")
    x = x0
    for t, following in pairwise(_times(steps, grid, start, end)):
        tableau = TABLEAUS[method]
        if tableau.closing is not None and math.isclose(following, 1, abs_tol=1e-6):
            tableau = tableau.closing
        x = _step(tableau, velocity, x, t, following - t, observe)
    return x


def _times(steps: int | None, grid: Sequence[float] | None, start: float, end: float) -> list[float]:
    if (steps is None) == (grid is None):
        raise ValueError(f"steps = {steps} and grid = {grid}; give exactly one of the two")
    if grid is None:
        assert steps is not None
        if steps < 1:
            raise ValueError(f"steps = {steps}; an integration takes at least one step")
        return [start + (end - start) * i / steps for i in range(steps)] + [end]
    times = [float(t) for t in grid]
    forward = [(b - a) * (end - start) > 0 for a, b in pairwise(times)]
    fits = len(times) > 1 and math.isclose(times[0], start, abs_tol=1e-6) and math.isclose(times[-1], end, abs_tol=1e-6)
    if not fits or not all(forward):
        raise ValueError(f"grid = {times}; its times must run from start = {start} to end = {end} without turning back")
    return times


def _step(
    tableau: Tableau,
    velocity: Callable[[Tensor, float], Tensor],
    x: Tensor,
    t: float,
    h: float,
    observe: Observer | None,
) -> Tensor:
    slopes: list[Tensor] = []
    for node, row in zip(tableau.nodes, tableau.rows, strict=True):
        slopes.append(velocity(_advance(x, h, row, slopes), t + node * h))
    if observe is not None:
        observe(t, x, slopes[0])
    return _advance(x, h, tableau.weights, slopes)


def _advance(x: Tensor, h: float, weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            x = x + h * weight * slope
    return x


def _adaptive(
    velocity: Callable[[Tensor, float], Tensor], x0: Tensor, start: float, end: float, tolerance: float
) -> Tensor:
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise ImportError("the adaptive solver needs torchdiffeq: pip install 'dcfm[adaptive]'") from error
    # In s = (t - start) / (end - start): the direction of time does not matter, and step_t ends a step exactly at the
    # end, which the solver would otherwise step over, out of [0, 1], and interpolate.
    span = torch.tensor([0.0, 1.0], dtype=torch.float64, device=x0.device)
    states = odeint(
        lambda s, x: (end - start) * velocity(x, start + (end - start) * float(s.detach())),
        x0,
        span,
        rtol=tolerance,
        atol=tolerance,
        method="dopri5",
        options={"step_t": span[1:]},
    )
    return torch.as_tensor(states[-1])
