"""Pictures of the idea on the two-attribute toy: who holds what, what methods make of it, and Eq. 5 as arrows.

The gap ``||v(x, y) - v_hat(x, y)||`` is what the CI term (10) of a training makes small: how far a network's answer to
the whole label ``y`` is from the composition (5) of its own marginals.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from dcfm.artefacts import atomically
from dcfm.fields import Field, composed_velocity, evaluate_labels, marginal_labels
from dcfm.toy.mixture import Mixture
from dcfm.toy.problem import Problem

TIME = 0.5
"""Of the velocities that are drawn."""


def true_velocity(mixture: Mixture, x: Float[Tensor, "n k"], t: float, y: Int[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """``E[x_1 - x_0 | x_t = x]`` of the path from ``N(0, I)`` to the mode of ``y``, in closed form.

    With ``m = t c(y)`` and ``q = (1 - t)^2 + t^2 std^2``: ``c(y) + (t std^2 - (1 - t)) / q (x - m)``.
    """
    centre = mixture.centres(y)
    spread = (1 - t) ** 2 + t**2 * mixture.std**2
    return centre + (t * mixture.std**2 - (1 - t)) / spread * (x - t * centre)


def gap(field: Field, x: Float[Tensor, "n k"], t: float, y: Int[Tensor, " k"], null: Int[Tensor, " k"]) -> Tensor:
    """``||v(x, y) - v_hat(x, y)||`` at each point."""
    times, labels = torch.full((len(x),), t), y.expand(len(x), -1)
    return (field(x, times, labels) - composed_velocity(field, x, times, labels, null)).norm(dim=1)


def draw_silos(problem: Problem, path: Path) -> None:
    """What each silo holds; the mode that nobody holds is dashed."""
    figure, axes = _panels(len(problem.silos), problem.mixture)
    for number, (axis, silo) in enumerate(zip(axes, problem.silos, strict=True)):
        _modes(axis, problem)
        _points(axis, silo.data, silo.labels)
        axis.set_title(f"silo {number}: {len(silo.data):,} samples", fontsize=9)
    _save(figure, path)


def draw_samples(problem: Problem, samples: Mapping[str, Float[Tensor, "n 2"]], path: Path) -> None:
    """Samples that methods made for the first missing combination, and the share that lies in its mode."""
    figure, axes = _panels(len(samples), problem.mixture)
    y = problem.missing[:1]
    for axis, (title, x) in zip(axes, samples.items(), strict=True):
        _modes(axis, problem)
        labels = y.expand(len(x), -1)
        _points(axis, x, labels)
        share = problem.mixture.within(x, labels).float().mean()
        axis.set_title(f"{title}: {100 * share:.0f} %", fontsize=9)
    _save(figure, path)


@torch.no_grad()
def draw_composition(problem: Problem, field: Field, path: Path) -> None:
    """The terms of Eq. 5 as arrows, their sum, the network's own answer, and the truth."""
    x, y = _grid(problem.mixture, 9), problem.missing[0]
    times, labels, null = torch.full((len(x),), TIME), y.expand(len(x), -1), problem.mixture.space.null
    base, *marginals = evaluate_labels(field, x, times, marginal_labels(labels, null)).unbind(0)
    arrows = {"v(x, 0)": base}
    for i, marginal in enumerate(marginals, 1):
        arrows[f"v(x, y{i}) - v(x, 0)"] = marginal - base
    arrows |= {
        "their sum (Eq. 5)": base + sum(m - base for m in marginals),
        "v(x, y), the network": field(x, times, labels),
        "the truth": true_velocity(problem.mixture, x, TIME, labels),
    }
    figure, axes = _panels(len(arrows), problem.mixture)
    for axis, (title, v) in zip(axes, arrows.items(), strict=True):
        _modes(axis, problem)
        axis.quiver(*x.T.numpy(), *v.T.numpy(), angles="xy", scale_units="xy", scale=7, width=0.006, color="C0")
        axis.set_title(title, fontsize=9)
    _save(figure, path)


@torch.no_grad()
def draw_gap(problem: Problem, fields: Mapping[str, Field], path: Path) -> dict[str, float]:
    """Maps of the gap for the missing combination, and its mean over the map, by the fields' titles."""
    x, y = _grid(problem.mixture, 61), problem.missing[0]
    figure, axes = _panels(len(fields), problem.mixture)
    means = {}
    for axis, (title, field) in zip(axes, fields.items(), strict=True):
        found = gap(field, x, TIME, y, problem.mixture.space.null)
        means[title] = float(found.mean())
        reach = _reach(problem.mixture)
        extent = (-reach, reach, -reach, reach)
        image = axis.imshow(found.reshape(61, 61).numpy(), origin="lower", extent=extent, vmin=0, vmax=2, cmap="magma")
        _modes(axis, problem, "white")
        axis.set_title(f"{title}: mean {means[title]:.2f}", fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8)
    _save(figure, path)
    return means


def _reach(mixture: Mixture) -> float:
    return mixture.distance + 3.5 * mixture.std


def _grid(mixture: Mixture, number: int) -> Float[Tensor, "n 2"]:
    line = torch.linspace(-_reach(mixture), _reach(mixture), number)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], dim=1)


def _panels(number: int, mixture: Mixture) -> tuple[Figure, Sequence[Any]]:
    figure = Figure(figsize=(2.3 * number, 2.6), layout="constrained")
    axes = figure.subplots(1, number, squeeze=False)[0]
    reach = _reach(mixture)
    for axis in axes:
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    return figure, list(axes)


def _modes(axis: Any, problem: Problem, colour: str = "black") -> None:
    for labels, style in ((problem.observed, ":"), (problem.missing, "--")):
        for x, y in problem.mixture.centres(labels).tolist():
            axis.add_patch(
                Circle((x, y), problem.mixture.radius, fill=False, linestyle=style, edgecolor=colour, zorder=3)
            )


def _points(axis: Any, x: Float[Tensor, "n 2"], labels: Int[Tensor, "n 2"]) -> None:
    colours = matplotlib.colormaps["turbo"]((2 * labels[:, 0] + labels[:, 1] + 0.5).numpy() / 4)
    axis.scatter(x[:, 0], x[:, 1], s=2, c=colours, alpha=0.5, linewidths=0, rasterized=True)


def _save(figure: Figure, path: Path) -> None:
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=90)
