"""On ``dx/dt = lambda(t) x + c`` and the like: convergence order, counts, held entries, and errors."""

import math

import pytest
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm.path import LATEST, velocity_from_clean
from dcfm.solvers import METHODS, TABLEAUS, CountingField, evaluations, integrate, steps_within

START = torch.tensor([[1.0, -0.5], [0.3, 2.0]], dtype=torch.float64)
LABELS = torch.zeros(2, 1, dtype=torch.long)
EVALUATED_LAST = {"euler": 0.0, "midpoint": 0.5, "heun": 0.5, "rk4": 0.75}
"""When in its last step to ``t = 1`` a method evaluates last."""


def pendulum(
    x: Float[Tensor, "batch 2"],
    t: Float[Tensor, " batch"],
    y: Int[Tensor, "batch k"],
    held: Bool[Tensor, "batch 2"] | None = None,
) -> Float[Tensor, "batch 2"]:
    """A rotation at angular velocity ``1 + 3 t^2``, which turns by ``t + t^3``. Careless of ``held``."""
    return (1 + 3 * t**2)[:, None] * torch.stack([-x[:, 1], x[:, 0]], dim=1)


def rotated(x: Tensor, angle: float) -> Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    return x @ torch.tensor([[cos, sin], [-sin, cos]], dtype=x.dtype)


def error(method: str, steps: int) -> float:
    return float((integrate(pendulum, START, LABELS, steps=steps, method=method) - rotated(START, 2.0)).norm())


@pytest.mark.parametrize(("method", "tableau"), TABLEAUS.items())
class TestFixedStep:
    def test_empirical_order_of_convergence(self, method: str, tableau) -> None:
        coarse, fine = error(method, 200), error(method, 400)
        assert math.log2(coarse / fine) == pytest.approx(tableau.order, abs=0.05)

    def test_tableau_is_consistent(self, method: str, tableau) -> None:
        for each in filter(None, (tableau, tableau.closing)):
            assert sum(each.weights) == pytest.approx(1)
            for node, row in zip(each.nodes, each.rows, strict=True):
                assert sum(row) == pytest.approx(node)

    def test_order_on_an_interval_that_ends_before(self, method: str, tableau) -> None:
        """Where no step is the closing one."""
        ends = [integrate(pendulum, START, LABELS, steps=n, method=method, end=0.9) for n in (100, 200)]
        coarse, fine = (float((end - rotated(START, 0.9 + 0.9**3)).norm()) for end in ends)
        assert math.log2(coarse / fine) == pytest.approx(tableau.order, abs=0.05)

    def test_only_a_step_to_time_one_is_closed_otherwise(self, method: str, tableau) -> None:
        field = CountingField(pendulum)
        integrate(field, START, LABELS, steps=4, method=method, end=0.9)
        assert field.evaluations == 4 * len(tableau.nodes)

    def test_a_clean_sample_is_reached(self, method: str, tableau) -> None:
        """A field that predicts it has no velocity at ``t = 1``, and straight paths are exact by any method before."""
        clean = torch.tensor([[0.7, -0.2]], dtype=torch.float64)

        def predicting(x, t, y, held=None):
            assert t.max() <= 1 - LATEST
            return velocity_from_clean(clean.expand_as(x), x, t)

        assert torch.allclose(integrate(predicting, START, LABELS, steps=5, method=method), clean)
        rounded = [0.0, 0.4, 0.8, 1 - 1e-9]
        assert torch.allclose(integrate(predicting, START, LABELS, grid=rounded, method=method), clean)

    def test_most_steps_within_a_number_of_evaluations(self, method: str, tableau) -> None:
        for most in range(40):
            steps = steps_within(method, most)
            assert evaluations(method, steps + 1) > most
            assert steps == 0 or evaluations(method, steps) <= most

    def test_evaluations(self, method: str, tableau) -> None:
        field, times = CountingField(pendulum), []

        def watched(x, t, y, held=None):
            times.append(float(t[0]))
            return field(x, t, y, held)

        integrate(watched, START, LABELS, steps=4, method=method)
        assert field.evaluations == evaluations(method, 4)
        assert field.rows == 2 * field.evaluations
        assert max(times) == pytest.approx(3 / 4 + EVALUATED_LAST[method] / 4)

    def test_grid_equals_steps(self, method: str, tableau) -> None:
        by_grid = integrate(pendulum, START, LABELS, grid=[0.0, 0.25, 0.5, 0.75, 1.0], method=method)
        assert torch.equal(by_grid, integrate(pendulum, START, LABELS, steps=4, method=method))

    def test_observer_sees_states_and_velocities(self, method: str, tableau) -> None:
        seen = []
        integrate(pendulum, START, LABELS, steps=3, method=method, observe=lambda *what: seen.append(what))
        assert [t for t, _, _ in seen] == pytest.approx([0, 1 / 3, 2 / 3])
        assert torch.equal(seen[0][1], START)
        for t, x, v in seen:
            assert torch.equal(v, pendulum(x, x.new_full((2,), t), LABELS))


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    @staticmethod
    def steps(method: str, number: int = 50) -> int | None:
        return None if method == "adaptive" else number

    def test_there_and_back(self, method: str) -> None:
        there = integrate(pendulum, START, LABELS, steps=self.steps(method, 400), method=method, start=0.2, end=0.9)
        back = integrate(pendulum, there, LABELS, steps=self.steps(method, 400), method=method, start=0.9, end=0.2)
        assert torch.allclose(there, rotated(START, 0.9 + 0.9**3 - 0.2 - 0.2**3), atol=2e-2)
        assert torch.allclose(back, START, atol=2e-2)

    def test_held_entries_never_move(self, method: str) -> None:
        held = torch.tensor([[True, False], [False, False]])
        end = integrate(pendulum, START, LABELS, held=held, steps=self.steps(method), method=method)
        assert torch.equal(end[held], START[held])
        assert not torch.isclose(end, START)[~held].any()

    def test_the_field_is_told_what_is_held(self, method: str) -> None:
        held = torch.tensor([[True, False], [False, False]])

        def careful(x, t, y, held=None):
            return x.new_zeros(x.shape) if held is None else torch.ones_like(x)

        end = integrate(CountingField(careful), START, LABELS, held=held, steps=self.steps(method), method=method)
        assert torch.allclose(end, START + (~held).double())

    def test_gradients_reach_the_start(self, method: str) -> None:
        start = START.clone().requires_grad_()
        integrate(pendulum, start, LABELS, steps=self.steps(method), method=method).sum().backward()
        assert start.grad is not None
        assert start.grad.isfinite().all()
        assert start.grad.abs().min() > 0

    def test_keeps_device_and_dtype(self, method: str, device: torch.device, dtype: torch.dtype) -> None:
        start = START.to(device, dtype)
        end = integrate(pendulum, start, LABELS.to(device), steps=self.steps(method), method=method)
        assert (end.device, end.dtype) == (start.device, dtype)


class TestAdaptive:
    def test_error_within_tolerance(self) -> None:
        end = integrate(pendulum, START, LABELS, method="adaptive", tolerance=1e-8)
        assert torch.allclose(end, rotated(START, 2.0), atol=1e-6)
        usual = integrate(pendulum, START, LABELS, method="adaptive")
        assert torch.equal(usual, integrate(pendulum, START, LABELS, method="adaptive", tolerance=1e-5))

    @pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.0, 0.0)])
    def test_stays_within_the_times_asked_for(self, start: float, end: float) -> None:
        times = []

        def constant(x, t, y, held=None):
            times.append(float(t[0]))
            return torch.ones_like(x)

        integrate(constant, START, LABELS, method="adaptive", start=start, end=end)
        assert min(times) >= 0
        assert max(times) <= 1

    def test_clear_error_without_torchdiffeq(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "torchdiffeq", None)
        with pytest.raises(ImportError, match=r"pip install 'dcfm\[adaptive\]'"):
            integrate(pendulum, START, LABELS, method="adaptive")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 2, "method": "rk5"}, "the solvers are euler, midpoint, heun, rk4, adaptive"),
        ({"steps": 0}, "at least one step"),
        ({}, "exactly one of the two"),
        ({"steps": 2, "grid": [0.0, 1.0]}, "exactly one of the two"),
        ({"grid": [0.0, 0.7, 0.5, 1.0]}, "without turning back"),
        ({"grid": [0.0, 0.5, 0.5, 1.0]}, "without turning back"),
        ({"grid": [0.0, 0.5]}, "must run from start = 0.0 to end = 1.0"),
        ({"grid": [0.5, 1.0]}, "must run from start = 0.0 to end = 1.0"),
        ({"steps": 2, "end": 1.5}, "two different times"),
        ({"steps": 2, "end": -0.5}, "two different times"),
        ({"steps": 2, "start": -0.5}, "two different times"),
        ({"steps": 2, "start": 1.5}, "two different times"),
        ({"steps": 2, "end": 0.0}, "two different times"),
        ({"steps": 2, "tolerance": 1e-3}, "takes no tolerance"),
        ({"steps": 2, "method": "adaptive"}, "chooses its own steps"),
        ({"observe": print, "method": "adaptive"}, "chooses its own steps"),
        ({"tolerance": -1.0, "method": "adaptive"}, "tolerance = -1.0; give a number above 0"),
        ({"tolerance": 0.0, "method": "adaptive"}, "tolerance = 0.0; give a number above 0"),
        ({"tolerance": float("nan"), "method": "adaptive"}, "tolerance = nan"),
    ],
)
def test_options_that_do_not_fit(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        integrate(pendulum, START, LABELS, **options)
