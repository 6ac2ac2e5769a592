"""Loss curves as drawings, one a training."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from dcfm.report.blocks import Picture

POINTS: Final = 300
"""Of a curve; more steps are averaged to so many."""


def draw(name: str, curve: Mapping[str, Sequence[float]]) -> Picture:
    """A training's curve, as :func:`dcfm.curves.read_curve` reads it: ``step``, and every term of the loss."""
    steps = np.asarray(curve["step"], dtype=float)
    width = max(1, -(-len(steps) // POINTS))
    figure = Figure(figsize=(4.6, 2.9), layout="constrained")
    axes = figure.subplots()
    positive = True
    for term, values in curve.items():
        if term == "step":
            continue
        shown = _means(np.asarray(values, dtype=float), width)
        positive &= bool((shown > 0).all())
        axes.plot(_means(steps, width), shown, label=term, linewidth=1.6 if term == "loss" else 1)
    if positive and len(steps):
        axes.set_yscale("log")
    axes.set(title=name, xlabel="step", ylabel="loss" if width == 1 else f"loss, means of {width} steps")
    axes.legend(frameon=False, fontsize="small")
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "dcfm"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Picture(f"loss of {name}", "data:image/svg+xml;base64," + b64encode(buffer.getvalue()).decode())


def _means(values: np.ndarray, width: int) -> np.ndarray:
    return np.array([values[i : i + width].mean() for i in range(0, len(values), width)])
