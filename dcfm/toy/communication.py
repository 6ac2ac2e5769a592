"""Composition for communication on the toy: the share of samples in the novel mode against the models a silo passes.

Federated averaging is trained with few long rounds up to many short ones, a silo's optimizer steps in all being the
same but for a remainder; the learning rate falls along one half cosine over all of them
(:class:`~dcfm.trainers.fedavg.FedAvgConfig`), and the last global weights are the result. Beside it stand the methods
that pass networks once or a few times.

A *point* is a method and, where it averages, a number of rounds, over seeds. Its trainings and records lie in
``out/rounds<T>``, of the other methods in ``out/once``; a run that was interrupted goes on from there.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from dcfm.artefacts import atomically
from dcfm.markup import markdown_table
from dcfm.methods.method import RULES
from dcfm.toy.cell import Cell, check_cells
from dcfm.toy.experiment import run_cells
from dcfm.toy.report import mean_interval

AVERAGING: Final = ("fedflow", "fedflow_l", "factored")
"""The methods that train in rounds of averaging."""

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """What is compared.

    Args:
        cells: one a seed, as for :func:`~dcfm.toy.experiment.run_cells`.
        averaging: methods of :data:`AVERAGING`.
        rounds: how often these average, each number a point.
        steps: optimizer steps of a silo in all rounds together.
        once: other methods, which train as the cells say.

    Raises:
        ValueError: nothing to compare, a method in the wrong place, or rounds that the steps do not fill.
    """

    cells: tuple[Cell, ...]
    averaging: tuple[str, ...]
    rounds: tuple[int, ...]
    steps: int
    once: tuple[str, ...]

    def __post_init__(self) -> None:
        wrong = [name for name in self.averaging if name not in AVERAGING]
        wrong += [name for name in self.once if name in AVERAGING]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: averaging= takes {', '.join(AVERAGING)}, once= the other methods")
        if bool(self.averaging) != bool(self.rounds) or not (self.averaging or self.once):
            raise ValueError(
                f"averaging={list(self.averaging)}, rounds={list(self.rounds)}, once={list(self.once)}: nothing is "
                "compared; give averaging= and rounds=, or once=, or all three"
            )
        if len(set(self.rounds)) != len(self.rounds) or not all(1 <= rounds <= self.steps for rounds in self.rounds):
            raise ValueError(f"rounds={list(self.rounds)}; give numbers from 1 to steps={self.steps}, none twice")

    def averaged(self, rounds: int) -> tuple[Cell, ...]:
        """The cells whose averaging methods share the steps among so many rounds."""
        return tuple(replace(cell, tuned=self._tuned(cell, rounds)) for cell in self.cells)

    def _tuned(self, cell: Cell, rounds: int) -> dict[str, dict[str, Any]]:
        tuned = {name: cell.tuned.get(name, {}) for name in self.averaging}
        shared = {"fedavg_rounds": rounds, "fedavg_ema": 0.0, "fedavg_continuous": True}
        steps = {"steps": self.steps // rounds}
        return {name: {**own, **shared, "fedavg": {**own.get("fedavg", {}), **steps}} for name, own in tuned.items()}

    def parts(self, out: Path) -> list[tuple[Sequence[Cell], tuple[str, ...], Path, int | None]]:
        """Cells, methods, folder and rounds of each run of cells, in order."""
        few = [(self.averaged(t), self.averaging, out / f"rounds{t}", t) for t in self.rounds if self.averaging]
        return [*([(self.cells, self.once, out / "once", None)] if self.once else []), *few]

    def trainings(self) -> int:
        """How many methods are trained in all."""
        return len(self.cells) * (len(self.once) + len(self.averaging) * len(self.rounds))


def run(study: Study, out: Path, workers: int, progress: Callable[[int], None] | None = None) -> list[dict[str, Any]]:
    """Train and score what is missing in ``out``; returns the points, in the order of the study.

    Args:
        study: what is compared.
        out: folder.
        workers: processes, see :func:`~dcfm.toy.experiment.run_cells`.
        progress: called now and then with the number of finished trainings.

    Raises:
        ValueError: before any training, if anything is wrong.
    """
    parts = study.parts(out)
    for cells, methods, folder, _ in parts:
        check_cells(cells, methods, folder, workers)
    points, before = [], 0
    for cells, methods, folder, rounds in parts:

        def show(done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done)

        records = run_cells(cells, methods, folder, workers, show)
        points += [_point(name, rounds, [record["methods"][name] for record in records]) for name in methods]
        before += len(cells) * len(methods)
        show(0, before)
    return points


def _point(name: str, rounds: int | None, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    cost = records[0]["cost"]
    return {
        "method": name,
        "title": records[0]["title"],
        "rounds": rounds,
        "models": max(cost["units"].values()),
        "bytes": max(cost["bytes"].values()),
        "rules": [record["rule"] for record in records],
        **_shares(records),
        "by_rule": {rule: _shares([record["by_rule"][rule] for record in records]) for rule in RULES},
        "seconds": [record["seconds"] for record in records],
    }


def _shares(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean shares of the known and of the novel combinations, where there are any."""
    kinds = [kind for kind in ("known", "novel") if all(kind in record for record in records)]
    return {kind: mean_interval([record[kind]["mean"] for record in records]) for kind in kinds}


def table(points: Sequence[Point]) -> str:
    """A line a point, in Markdown: shares in percent, means over seeds with Student's 95 % interval; ``least`` is the
    least of the seeds, and the last two columns are by either sampling rule, whatever was chosen."""
    header = ["method", "rounds", "models a silo", "kB a silo", "known, %", "novel, %", "least"]
    header += ["novel, joint", "novel, Eq. 5"]
    rows = [
        [
            point["title"],
            "" if point["rounds"] is None else str(point["rounds"]),
            f"{point['models']:g}",
            f"{point['bytes'] / 1000:,.0f}",
            _percent(point.get("known")),
            _percent(point.get("novel")),
            f"{100 * point['novel']['least']:.1f}" if "novel" in point else "",
            *(_percent(point["by_rule"][rule].get("novel")) for rule in RULES),
        ]
        for point in points
    ]
    return markdown_table(header, rows)


def _percent(share: Mapping[str, float] | None) -> str:
    if share is None:
        return ""
    text = f"{100 * share['mean']:.1f}"
    if "low" not in share:
        return text
    return f"{text} [{100 * max(0.0, share['low']):.1f}, {100 * min(1.0, share['high']):.1f}]"


BESIDE: Final = 0.9
"""How far left a mark stands of the one before it of equally many models, as a factor."""


def draw(points: Sequence[Point], path: Path) -> None:
    """Novel and known share against models a silo: averaging as lines over its rounds, the others as marks, those of
    equally many models side by side."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, kind in zip(axes, ("novel", "known"), strict=True):
        marks: Counter[float] = Counter()
        for i, title in enumerate(dict.fromkeys(point["title"] for point in points)):
            rows = sorted((p for p in points if p["title"] == title and kind in p), key=lambda p: p["models"])
            x, shares = [row["models"] for row in rows], [row[kind] for row in rows]
            line = "o-" if any(row["rounds"] for row in rows) else "D"
            if line == "D":
                marks.update(x)
                x = [models * BESIDE ** (marks[models] - 1) for models in x]
            axis.plot(x, [s["mean"] for s in shares], f"C{i}{line}", label=title, ms=6, zorder=3 - 0.5 * (line == "o-"))
            low, high = ([s.get(end, s["mean"]) for s in shares] for end in ("low", "high"))
            axis.vlines(x, [max(0.0, v) for v in low], [min(1.0, v) for v in high], color=f"C{i}", linewidth=1)
        axis.set(xlabel="models that a silo sends and receives", xscale="log", ylim=(-0.02, 1.02))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(title=f"{kind} combinations")
    axes[0].set(ylabel="share in the queried mode")
    axes[0].legend(fontsize=8)
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=100)
