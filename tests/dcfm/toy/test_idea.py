"""dcfm/toy/idea.py: the exact velocity, the gap, and the pictures."""

import runpy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dcfm.fields import Composed
from dcfm.solvers import integrate
from dcfm.toy import idea
from dcfm.toy.mixture import Mixture
from dcfm.toy.problem import ProblemSettings, make_problem

MIXTURE = Mixture(2, 1.5, 0.4)


def exact(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
    """Attribute i moves coordinate i; a null one leaves what all modes share."""
    given = torch.where(y == MIXTURE.space.null, torch.zeros_like(y), y)
    velocity = idea.true_velocity(MIXTURE, x, float(t[0]), given)
    shared = velocity - idea.true_velocity(MIXTURE, torch.zeros_like(x), float(t[0]), given)
    return torch.where(y == MIXTURE.space.null, shared, velocity)


def test_the_exact_velocity_leads_from_noise_to_the_mode(generator: torch.Generator) -> None:
    y = torch.tensor([[0, 1]]).expand(4000, -1)
    x = integrate(exact, torch.randn(4000, 2, generator=generator), y, steps=60)
    assert torch.allclose(x.mean(0), MIXTURE.centres(y[:1])[0], atol=0.03)
    assert torch.allclose(x.std(0), torch.full((2,), MIXTURE.std), atol=0.02)


def test_the_gap_is_zero_for_a_composition_and_not_for_others(generator: torch.Generator) -> None:
    x, y, null = torch.randn(50, 2, generator=generator), torch.tensor([0, 0]), MIXTURE.space.null
    assert idea.gap(Composed(exact, null), x, 0.5, y, null).max() < 1e-5

    def bent(x: Tensor, t: Tensor, y: Tensor, held: Tensor | None = None) -> Tensor:
        return exact(x, t, y) + (y != null).all(1, keepdim=True)

    assert torch.allclose(idea.gap(bent, x, 0.5, y, null), torch.tensor(2.0).sqrt(), atol=1e-5)


def test_pictures(tmp_path: Path) -> None:
    problem = make_problem(ProblemSettings(samples=20))
    idea.draw_silos(problem, tmp_path / "silos.png")
    idea.draw_samples(problem, {"a": torch.zeros(5, 2)}, tmp_path / "samples.png")
    idea.draw_composition(problem, exact, tmp_path / "composition.png")
    assert idea.draw_gap(problem, {"exact": exact}, tmp_path / "gap.png")["exact"] == pytest.approx(0, abs=1e-5)
    assert all(path.stat().st_size > 2000 for path in tmp_path.iterdir())


def test_the_script_goes_on_from_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = [f"training.{stage}.steps=2" for stage in ("stage_one", "peers", "student")]
    given = ["methods=[dcfm_b]", "samples=20", "draws=10", "training.width=8", f"out={tmp_path}", *short]
    monkeypatch.setattr("sys.argv", ["idea.py", *given])
    for _ in range(2):
        runpy.run_path(str(Path(__file__).parents[3] / "scripts/idea.py"), run_name="__main__")
    assert {"silos.png", "samples.png", "composition.png", "gap.png", "idea.json"} <= {
        p.name for p in tmp_path.iterdir()
    }
