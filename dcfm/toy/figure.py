"""The toy's picture: methods by partitions, samples coloured by the combination that was asked for."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from dcfm.artefacts import atomically, load_tensors
from dcfm.toy.mixture import Mixture, label_name

WIDEST: Final = 6
"""Panels side by side at most; more methods take several rows of about as many each."""


def draw(cells: Sequence[Mapping[str, Any]], out: Path, mixture: Mixture) -> Path:
    """Draw ``out/samples.png`` of the first seed: a row a partition, a column a method.

    Samples are coloured by query; circles are the true modes' 99 % radii, dashed and black where the mode is novel.
    With more than two attributes the first two coordinates are shown, and a circle stands for all modes there.

    Args:
        cells: records of :func:`dcfm.toy.experiment.run_cell`, whose folders under ``out`` hold the samples.
        out: the run's folder.
        mixture: the geometry.
    """
    first = [cell for cell in cells if cell["seed"] == cells[0]["seed"]]
    methods = list(first[0]["methods"])
    bands = math.ceil(len(methods) / WIDEST)
    columns = math.ceil(len(methods) / bands)
    figure = Figure(figsize=(2.1 * columns, 2.3 * bands * len(first)), layout="constrained")
    axes = figure.subplots(bands * len(first), columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, cell in enumerate(first):
        for place, name in enumerate(methods):
            axis = axes[row * bands + place // columns, place % columns]
            folder = out / cell["partition"] / f"seed{cell['seed']}" / "samples"
            _panel(axis, load_tensors(folder / f"{name}.safetensors"), set(cell["novel"]), mixture)
            record = cell["methods"][name]
            novel = record.get("novel", {}).get("mean")
            share = "" if novel is None else f"\nnovel {100 * novel:.0f} %"
            axis.set_title(f"{record['title']}, {cell['partition']}{share}", fontsize=8)
    path = out / "samples.png"
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=80)
    return path


def _panel(axis: Any, stored: Mapping[str, torch.Tensor], novel: set[str], mixture: Mixture) -> None:
    axis.set_axis_on()
    reach = mixture.distance + 4 * mixture.std
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    colours = matplotlib.colormaps["turbo"]
    labels = stored["labels"]
    for index, x in enumerate(stored["samples"]):
        colour = colours((index + 0.5) / len(labels))
        axis.scatter(x[:, 0], x[:, 1], s=1.5, color=colour, alpha=0.6, linewidths=0, rasterized=True)
    for y, centre in zip(labels.tolist(), mixture.centres(labels).tolist(), strict=True):
        missing = label_name(y) in novel
        style = (
            {"color": "black", "linestyle": "--", "linewidth": 1.2} if missing else {"color": "0.7", "linewidth": 0.6}
        )
        axis.add_patch(Circle((centre[0], centre[1]), mixture.radius, fill=False, zorder=3 if missing else 2, **style))
