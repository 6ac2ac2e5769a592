"""Composition for communication on the toy: the share of samples in the novel mode against the models a silo passes.

Federated averaging is trained with few long rounds up to many short ones, a silo's optimizer steps in all being the
same but for a remainder; the learning rate falls along one half cosine over all of them
(:class:`~dcfm.trainers.fedavg.FedAvgConfig`), and the last global weights are the result. Beside it stand the methods
that pass networks once or a few times. Averaging may tie silos to where a round began (FedProx,
:func:`~dcfm.trainers.fedavg.proximal_loss`), with one strength or more, and its server may have an optimizer
(:mod:`dcfm.trainers.server`), one or more.

A *point* (:mod:`dcfm.toy.points`) is a method and, where it averages, a number of rounds, a strength and an optimizer,
over seeds. Its trainings and records lie in ``out/rounds<T>``, followed by the strength and the optimizer, of the other
methods in ``out/once``; a run that was interrupted goes on from there.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from dcfm.artefacts import atomically
from dcfm.markup import markdown_table
from dcfm.toy.cell import Cell, spread
from dcfm.toy.points import HEADER, Part, Point, draw_shares, numbers, run_parts
from dcfm.trainers.server import ServerConfig

AVERAGING: Final = ("fedflow", "fedflow_l", "factored")
"""The methods that train in rounds of averaging."""

REPLACED: Final = (
    *(f"fedavg_{name}" for name in ("rounds", "ema", "continuous", "proximal", "server")),
    "fedavg.steps",
)
"""Settings of averaging that the study gives itself."""


@dataclass(frozen=True)
class Averaging:
    """How a point averages.

    Args:
        rounds: how often.
        proximal: ``mu`` of FedProx, if there is.
        server: the server's optimizer, if it has one.
    """

    rounds: int
    proximal: float | None = None
    server: ServerConfig | None = None

    def settings(self) -> dict[str, Any]:
        """What it changes of a training."""
        server = None if self.server is None else asdict(self.server)
        ties = {"fedavg_proximal": self.proximal, "fedavg_server": server}
        changed = {key: value for key, value in ties.items() if value is not None}
        return {"fedavg_rounds": self.rounds, "fedavg_ema": 0.0, "fedavg_continuous": True, **changed}

    @property
    def said(self) -> dict[str, Any]:
        """What a point says of it."""
        said = {"rounds": self.rounds, "proximal": self.proximal, "server": self.server and str(self.server)}
        return {key: value for key, value in said.items() if value is not None}

    @property
    def folder(self) -> str:
        """Of its trainings."""
        parts = [f"{key}{value:g}" for key, value in self.said.items() if key != "server"]
        return "-".join([*parts, *(re.split("[ ,]+", str(self.server)) if self.server else [])])


@dataclass(frozen=True)
class Study:
    """What is compared.

    Args:
        cells: one a seed, as for :func:`~dcfm.toy.experiment.run_cells`.
        averaging: methods of :data:`AVERAGING`.
        rounds: how often these average, each number a point.
        steps: optimizer steps of a silo in all rounds together.
        once: other methods, which train as the cells say.
        proximal: ``mu`` of FedProx for all that average, each a point; ``None``: averaging as it is.
        server: optimizers of the server, likewise; ``None``: the mean is the next round's start.

    Raises:
        ValueError: nothing to compare, a method in the wrong place, or rounds that the steps do not fill.
    """

    cells: tuple[Cell, ...]
    averaging: tuple[str, ...]
    rounds: tuple[int, ...]
    steps: int
    once: tuple[str, ...]
    proximal: tuple[float | None, ...] = (None,)
    server: tuple[ServerConfig | None, ...] = (None,)

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
        names = (*self.averaging, *self.once)
        if len(set(names)) != len(names):
            raise ValueError(f"averaging={list(self.averaging)}, once={list(self.once)}: a method occurs twice")
        if len(set(self.rounds)) != len(self.rounds) or not all(1 <= rounds <= self.steps for rounds in self.rounds):
            raise ValueError(f"rounds={list(self.rounds)}; give numbers from 1 to steps={self.steps}, none twice")
        strengths = [mu for mu in self.proximal if mu is not None]
        if not self.proximal or len(set(self.proximal)) != len(self.proximal) or any(not mu > 0 for mu in strengths):
            raise ValueError(
                f"proximal={list(self.proximal)}; give null (averaging as it is) or numbers above 0, none twice"
            )

        if not self.server or len(set(self.server)) != len(self.server):
            raise ValueError(f"server={list(self.server)}; give null (the mean itself) or optimizers, none twice")

    def averaged(self, averaging: Averaging) -> tuple[Cell, ...]:
        """The cells whose averaging methods share the steps among so many rounds."""
        return tuple(replace(cell, tuned=self._tuned(cell, averaging)) for cell in self.cells)

    def _tuned(self, cell: Cell, averaging: Averaging) -> dict[str, dict[str, Any]]:
        tuned = {name: cell.tuned.get(name, {}) for name in self.averaging}
        shared, steps = averaging.settings(), {"steps": self.steps // averaging.rounds}
        return {name: {**own, **shared, "fedavg": {**own.get("fedavg", {}), **steps}} for name, own in tuned.items()}

    def _averagings(self) -> list[Averaging]:
        return [Averaging(*each) for each in product(self.rounds, self.proximal, self.server)] if self.averaging else []

    def parts(self, out: Path) -> list[Part]:
        """What is trained together, in order."""
        once = [Part(self.cells, self.once, out / "once", {"rounds": None})] if self.once else []
        return once + [
            Part(self.averaged(each), self.averaging, out / each.folder, each.said) for each in self._averagings()
        ]

    def trainings(self) -> int:
        """How many methods are trained in all."""
        return len(self.cells) * (len(self.once) + len(self.averaging) * len(self._averagings()))


def check_overrides(overrides: Sequence[str], averaging: Sequence[str]) -> None:
    """Raise ``ValueError`` for settings of averaging that a study replaces, whatever is given: rounds, steps, the
    proximal term and the server's optimizer are its own keys, and few long rounds take no moving average and a rate
    that falls within them."""
    sections = ("training", *(f"tuned.{name}" for name in averaging))
    for override in spread(overrides):
        key = override.partition("=")[0].lstrip("+")
        if any(key == f"{section}.{name}" for section in sections for name in REPLACED):
            raise ValueError(
                f"{override} changes nothing: averaging takes rounds=, steps=, proximal= and server= of this script; "
                "leave it out"
            )


def run(study: Study, out: Path, workers: int, progress: Callable[[int], None] | None = None) -> list[dict[str, Any]]:
    """Train and score what is missing in ``out``; returns the points, in the order of the study. See
    :func:`~dcfm.toy.points.run_parts`."""
    return run_parts(study.parts(out), workers, progress)


def table(points: Sequence[Point]) -> str:
    """A line a point, in Markdown; see :func:`~dcfm.toy.points.numbers`."""
    rows = [[_title(p), "" if p["rounds"] is None else str(p["rounds"]), *numbers(p)] for p in points]
    return markdown_table(["method", "rounds", *HEADER], rows)


def _title(point: Point) -> str:
    mu, server = point.get("proximal"), point.get("server")
    return ", ".join([point["title"], *([] if mu is None else [f"proximal {mu:g}"]), *([server] if server else [])])


BESIDE: Final = 0.9
"""How far left a mark stands of the one before it of equally many models, as a factor."""


def draw(points: Sequence[Point], path: Path) -> None:
    """Novel and known share against models a silo: averaging as lines over its rounds, the others as marks, those of
    equally many models side by side; what passes no models as a line across."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, kind in zip(axes, ("novel", "known"), strict=True):
        marks: Counter[float] = Counter()
        for i, title in enumerate(dict.fromkeys(map(_title, points))):
            rows = sorted((p for p in points if _title(p) == title and kind in p), key=lambda p: p["models"])
            x, shares = [row["models"] for row in rows], [row[kind] for row in rows]
            if x and not any(x):
                axis.axhline(shares[0]["mean"], color=f"C{i}", linestyle="--", label=title)
                continue
            line = "o-" if any(row["rounds"] for row in rows) else "D"
            if line == "D":
                marks.update(x)
                x = [models * BESIDE ** (marks[models] - 1) for models in x]
            draw_shares(axis, x, shares, f"C{i}", line, label=title, zorder=3 - 0.5 * (line == "o-"))
        axis.set(xlabel="models that a silo sends and receives", xscale="log", ylim=(-0.02, 1.02))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(title=f"{kind} combinations")
    axes[0].set(ylabel="share in the queried mode")
    axes[0].legend(fontsize=8)
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=100)
