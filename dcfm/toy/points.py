"""Studies on the toy that compare methods along a line, of rounds or of silos: their runs, points and shares.

A *point* is a method at one place of that line, over seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from tqdm import tqdm

from dcfm.artefacts import write_text_atomically
from dcfm.methods.method import RULES
from dcfm.metrics.intervals import mean_interval
from dcfm.records import made_by, write_json
from dcfm.toy.cell import Cell, check_cells
from dcfm.toy.experiment import run_cells

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """Points that are trained together.

    Args:
        cells: one a seed, as for :func:`~dcfm.toy.experiment.run_cells`.
        methods: each a point.
        folder: of trainings and records; a run that was interrupted goes on from there.
        place: where on the line, by the line's name, e.g. ``{"rounds": 4}``.
    """

    cells: Sequence[Cell]
    methods: tuple[str, ...]
    folder: Path
    place: Mapping[str, int | float | None]


def run_parts(
    parts: Sequence[Part], workers: int, progress: Callable[[int], None] | None = None
) -> list[dict[str, Any]]:
    """Train and score what is missing; returns the points, part by part.

    Args:
        parts: what is compared.
        workers: processes, see :func:`~dcfm.toy.experiment.run_cells`.
        progress: called now and then with the number of finished trainings.

    Raises:
        ValueError: before any training, if anything is wrong.
    """
    for part in parts:
        check_cells(part.cells, part.methods, part.folder, workers)
    points, before = [], 0
    for part in parts:

        def show(done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done)

        records = run_cells(part.cells, part.methods, part.folder, workers, show)
        points += [_point(name, part.place, [record["methods"][name] for record in records]) for name in part.methods]
        before += len(part.cells) * len(part.methods)
        show(0, before)
    return points


def write_study(
    name: str,
    trainings: int,
    run: Callable[[Callable[[int], None]], list[dict[str, Any]]],
    table: Callable[[Sequence[Point]], str],
    draw: Callable[[Sequence[Point], Path], None],
    out: Path,
    settings: Any,
) -> None:
    """Run a study under a bar; print its table and write it with ``<name>.json`` and ``<name>.png``.

    Args:
        name: of the study, and of its script.
        trainings: how many methods are trained in all.
        run: given what to call with the number of finished trainings, the points.
        table, draw: of the points, as Markdown and into a file.
        out: folder.
        settings: plain data, recorded.
    """
    with tqdm(total=trainings, unit="training") as bar:

        def show(done: int) -> None:
            bar.update(done - bar.n)

        points = run(show)
    content = {**made_by(), "settings": settings, "points": points}
    write_json(out / f"{name}.json", content)
    write_text_atomically(out / "table.md", table(points) + "\n")
    draw(points, out / f"{name}.png")
    print(f"{table(points)}\n\nwrote {out}/{name}.json, table.md, {name}.png")


def _point(name: str, place: Mapping[str, int | float | None], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    cost = records[0]["cost"]
    return {
        "method": name,
        "title": records[0]["title"],
        **place,
        "models": max(cost["units"].values(), default=0),  # pooled passes none
        "bytes": max(cost["bytes"].values(), default=0),
        "rules": [record["rule"] for record in records],
        **_shares(records),
        "by_rule": {rule: _shares([record["by_rule"][rule] for record in records]) for rule in RULES},
        "seconds": [record["seconds"] for record in records],
    }


def _shares(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean shares of the known and of the novel combinations, where there are any."""
    kinds = [kind for kind in ("known", "novel") if all(kind in record for record in records)]
    return {kind: mean_interval([record[kind]["mean"] for record in records]) for kind in kinds}


HEADER = ("models a silo", "kB a silo", "known, %", "novel, %", "least", "novel, joint", "novel, Eq. 5")
"""Columns of :func:`numbers`."""


def numbers(point: Point) -> list[str]:
    """A point's cells of a table: what a silo passes, shares in percent, means over seeds with Student's 95 % interval;
    ``least`` is the least of the seeds, and the last two are by either sampling rule, whatever was chosen."""
    return [
        f"{point['models']:g}",
        f"{point['bytes'] / 1000:,.0f}",
        _percent(point.get("known")),
        _percent(point.get("novel")),
        f"{100 * point['novel']['least']:.1f}" if "novel" in point else "",
        *(_percent(point["by_rule"][rule].get("novel")) for rule in RULES),
    ]


def _percent(share: Mapping[str, float] | None) -> str:
    if share is None:
        return ""
    text = f"{100 * share['mean']:.1f}"
    if "low" not in share:
        return text
    return f"{text} [{100 * max(0.0, share['low']):.1f}, {100 * min(1.0, share['high']):.1f}]"


def draw_shares(
    axis: Axes, x: Sequence[int | float], shares: Sequence[Mapping[str, float]], color: str, style: str, **line: Any
) -> None:
    """Means with their intervals, within 0 and 1, at ``x``."""
    axis.plot(x, [s["mean"] for s in shares], f"{color}{style}", ms=6, **line)
    low, high = ([s.get(end, s["mean"]) for s in shares] for end in ("low", "high"))
    axis.vlines(x, [max(0.0, v) for v in low], [min(1.0, v) for v in high], color=color, linewidth=1)
