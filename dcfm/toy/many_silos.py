"""Composition for more and more silos on the toy: the share of samples in the novel mode, method by method.

Silos have as many samples on average, and take as many steps, however many there are. The trainings and records of
``N`` silos lie in ``out/<N>``; a run that was interrupted goes on from there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dcfm.artefacts import atomically
from dcfm.markup import markdown_table
from dcfm.toy.cell import Cell
from dcfm.toy.points import HEADER, Part, Point, draw_shares, numbers, run_parts


@dataclass(frozen=True)
class Study:
    """What is compared.

    Args:
        cells: by number of silos, one a seed.
        methods: each a line over the numbers of silos.

    Raises:
        ValueError: nothing to compare, a method twice, or cells of another number of silos.
    """

    cells: Mapping[int, tuple[Cell, ...]]
    methods: tuple[str, ...]

    def __post_init__(self) -> None:
        if not (self.cells and self.methods and all(self.cells.values())):
            raise ValueError(
                f"silos={list(self.cells)}, methods={list(self.methods)} and the seeds: give at least one of each"
            )
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"methods={list(self.methods)}: a method occurs twice")
        wrong = [n for n, cells in self.cells.items() if any(cell.problem.silos != n for cell in cells)]
        if wrong:
            raise ValueError(f"the cells of {wrong} silos are of problems with other numbers of silos")

    def parts(self, out: Path) -> list[Part]:
        """What is trained together, in order."""
        return [Part(cells, self.methods, out / str(n), {"silos": n}) for n, cells in self.cells.items()]

    def trainings(self) -> int:
        """How many methods are trained in all."""
        return len(self.methods) * sum(len(cells) for cells in self.cells.values())


def run(study: Study, out: Path, workers: int, progress: Callable[[int], None] | None = None) -> list[dict[str, Any]]:
    """Train and score what is missing in ``out``; returns the points, method by method. See
    :func:`~dcfm.toy.points.run_parts`."""
    points = run_parts(study.parts(out), workers, progress)
    return [point for name in study.methods for point in points if point["method"] == name]


def table(points: Sequence[Point]) -> str:
    """A line a point, in Markdown; see :func:`~dcfm.toy.points.numbers`."""
    return markdown_table(["method", "silos", *HEADER], [[p["title"], str(p["silos"]), *numbers(p)] for p in points])


def draw(points: Sequence[Point], path: Path) -> None:
    """Novel share, known share and models that a silo passes, against the number of silos."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    for i, title in enumerate(dict.fromkeys(point["title"] for point in points)):
        for axis, kind in zip(axes, ("novel", "known"), strict=False):
            rows = [p for p in points if p["title"] == title and kind in p]
            draw_shares(axis, [p["silos"] for p in rows], [p[kind] for p in rows], f"C{i}", "o-", label=title)
            axis.set(title=f"{kind} combinations", ylim=(-0.02, 1.02))
        rows = [p for p in points if p["title"] == title]
        if any(p["models"] for p in rows):  # pooled passes none, which has no place on a logarithmic axis
            axes[2].plot([p["silos"] for p in rows], [p["models"] for p in rows], f"C{i}o-", label=title)
    axes[2].set(title="models that a silo sends and receives", yscale="log")
    axes[2].yaxis.set_major_formatter("{x:g}")
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(xlabel="silos")
    axes[0].set(ylabel="share in the queried mode")
    axes[0].legend(fontsize=8)
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=100)
