"""The report of the cost study: Markdown tables and a picture of what :mod:`.sent` and :mod:`.steps` measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcfm.artefacts import atomically
from dcfm.markup import markdown_table
from dcfm.metrics.cost.communication import Traffic
from dcfm.metrics.cost.computation import Evaluations
from dcfm.metrics.cost.sent import CURVES, CurveRow, SentRow
from dcfm.metrics.cost.steps import StepRow

NOTHING: Final = "-"
_COLOURS: Final = ("tab:gray", "tab:orange", "tab:blue", "tab:green", "tab:red", "tab:purple")
_SIZES: Final = (13.0, 10.0, 7.0, 4.0, 3.0, 2.0)


def number(value: float | int | None) -> str:
    """As short as tells values apart: two digits below 1, up to three decimals below 100, none above."""
    if value is None:
        return NOTHING
    if 0 < abs(value) < 1:
        return f"{value:.2g}"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if value < 100 else f"{value:,.0f}"


def _traffic(value: Traffic | None) -> str:
    return NOTHING if value is None else f"{number(value.sent)} + {number(value.received)}"


def _evaluations(value: Evaluations | None) -> str:
    return NOTHING if value is None else f"{number(value.forward)} / {number(value.backward)}"


def _verdict(equal: bool | None) -> str:
    return NOTHING if equal is None else ("yes" if equal else "no")


def sent_table(rows: Sequence[SentRow]) -> str:
    """Table 3: per silo, sent + received; methods that cost the same share a line."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        paper = NOTHING if row.paper_units is None else f"{row.paper_formula} = {number(row.paper_units)}"
        cells = (
            str(row.silos),
            paper,
            row.as_run_formula or NOTHING,
            _traffic(row.measured_units),
            _traffic(row.weight_bytes),
            _traffic(row.histogram_bytes),
            _verdict(row.equal),
            _verdict(row.equal_paper),
        )
        alike.setdefault(cells, []).append(row.title)
    header = (
        "method",
        "N",
        "paper",
        "as run",
        "units, ledger",
        "bytes of weights",
        "of histograms",
        "as run = ledger",
        "paper = ledger",
    )
    return markdown_table(header, [(", ".join(titles), *cells) for cells, titles in alike.items()])


def steps_table(rows: Sequence[StepRow]) -> str:
    """Table 4: forward / backward evaluations of a step, in units of the batch."""
    header = ("step", "k", "paper", "as run", "counted", "as run = counted", "paper = counted")
    return markdown_table(
        header,
        [
            (
                row.trainer,
                str(row.k),
                NOTHING if row.paper is None else f"{row.paper_formula} = {_evaluations(row.paper)}",
                row.as_run_formula,
                _evaluations(row.measured),
                _verdict(row.equal),
                _verdict(row.equal_paper),
            )
            for row in rows
        ],
    )


def own_terms_table(rows: Sequence[StepRow]) -> str:
    """DCFM-A's ``c``: terms that the routing left to the silo itself, counted and expected."""
    header = ("step", "k", "c, counted", "95 % interval", "n steps", "c, expected")
    return markdown_table(
        header,
        [
            (
                row.trainer,
                str(row.k),
                number(c.mean),
                f"[{c.low:.2f}, {c.high:.2f}]",
                str(c.n),
                NOTHING if c.expected is None else number(c.expected),
            )
            for row in rows
            if (c := row.own_terms) is not None
        ],
    )


def differences(sent: Sequence[SentRow], steps: Sequence[StepRow]) -> str:
    """Why what is run differs from the paper's formula, as a list; each reason once."""
    reasons = [(row.title, row.why) for row in sent if row.why]
    reasons += [(row.trainer, why) for row in steps for why in row.why]
    alike: dict[str, dict[str, None]] = {}
    for name, why in reasons:
        alike.setdefault(why, {})[name] = None
    return "\n".join(f"- {'; '.join(names)}: {why}." for why, names in alike.items())


def curve_table(rows: Sequence[CurveRow], what: str = "models", unit: float = 1.0) -> str:
    """What a silo, and all silos together, send and receive by the ledger, by protocol and number of silos.

    Args:
        rows: of one simulation.
        what: the unit's name.
        unit: of it in a model.
    """
    sizes = sorted({row.silos for row in rows})
    found = {(row.protocol, row.silos): row for row in rows}
    header = (what, *(f"N = {n:,}" for n in sizes))
    lines = []
    for name in CURVES:
        own = (number(unit * found[name, n].measured_units) for n in sizes)
        total = (number(unit * found[name, n].total_units) for n in sizes)
        lines += [(f"{name}: a silo", *own), (f"{name}: all silos", *total)]
    return markdown_table(header, lines)


def draw_curves(sent: Sequence[CurveRow], steps: Sequence[StepRow], caption: str, path: Path) -> None:
    """Units per silo against the number of silos; evaluations of a step against the number of attributes.

    Args:
        sent, steps: counts, drawn as marks; the formulas as run are lines.
        caption: what ``T`` and ``R`` are.
        path: of a PNG, written whole or not at all.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for colour, size, name in zip(_COLOURS, _SIZES, CURVES, strict=False):
        rows = [row for row in sent if row.protocol == name]
        x = [row.silos for row in rows]
        _draw(left, x, [r.measured_units for r in rows], [r.as_run_units for r in rows], colour, size, name)
    left.set(xscale="log", yscale="log", xlabel="silos N", ylabel="models sent and received, a silo", title=caption)
    for colour, size, name in zip(_COLOURS, _SIZES, dict.fromkeys(row.trainer for row in steps), strict=False):
        rows = [row for row in steps if row.trainer == name]
        x = [row.k for row in rows]
        _draw(right, x, [r.measured.forward for r in rows], [r.as_run.forward for r in rows], colour, size, name)
        _draw(right, x, [r.measured.backward for r in rows], [r.as_run.backward for r in rows], colour, size, None)
    right.set(
        xlabel="attributes k",
        ylabel="evaluations a step, in units of B",
        ylim=(0, None),
        title="one training step: forward (full marks), backward (open)",
    )
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw(
    axes: Axes,
    x: Sequence[int],
    counted: Sequence[float | int],
    formula: Sequence[float | int],
    colour: str,
    size: float,
    label: str | None,
) -> None:
    """Formula as a line, counts as marks, small ones upon large ones where they agree; without a label open."""
    axes.plot(x, formula, color=colour, linewidth=size / 5, linestyle="-" if label else "--")
    face = colour if label else "none"
    axes.plot(x, counted, "o", color=colour, markerfacecolor=face, markersize=size, label=label)
