"""Metrics and tables as text: one model's on the screen, all methods' as Markdown and LaTeX."""

from collections.abc import Mapping
from typing import Any

from dcfm.markup import latex_table, markdown_table
from dcfm_images.judging import CELLS

NOT_RUN = "not run"
PARTITIONS = {"iid": "IID", "noniid": "Non-IID", "disjoint": "disjoint"}

COUNTING = (
    "FID: Frechet distance to real digits in the same combinations, value [95 % bootstrap interval at this number of "
    "pictures]. Compositional accuracy in %: digit and colour both read as asked for, [95 % Wilson interval]. Of "
    "several trainings all intervals are over trainings too. How a method is sampled: where there is a choice, known "
    "combinations made it. The paper measures with another feature network: its numbers cannot be compared with ours "
    "in absolute value, ratios to the best baseline can. Real digits: of the silos in place of generated pictures, "
    "what a perfect model would score."
)

Rows = tuple[list[str], list[list[str]]]
"""A table's head and rows."""


def number(entry: Mapping[str, Any], digits: int = 2, scale: float = 1.0) -> str:
    """Value and interval."""
    value, low, high = (scale * entry[name] for name in ("value", "low", "high"))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def rate(entry: Mapping[str, Any]) -> str:
    """A share in percent and its interval."""
    return f"{100 * entry['rate']:.1f} [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]"


def describe_metrics(metrics: Mapping[str, Any]) -> str:
    """One model's metrics, a line each for known and novel combinations."""
    lines = [
        f"{metrics['method']}, {metrics['partition']}, sampled: {metrics['sampling']}, "
        f"{metrics['evaluations']} evaluations; features: {metrics['features']}"
    ]
    for cell in CELLS:
        found = metrics[cell]
        lines.append(
            f"{cell:>6}: FID {number(found['fid'])}, KID x 1000 {number(found['kid'], scale=1000.0)}, precision "
            f"{number(found['precision'])}, recall {number(found['recall'])}, digit and colour right "
            f"{rate(found['accuracy']['both'])} % of {found['n']}"
        )
    return "\n".join(lines)


def distance_rows(table: Mapping[str, Any], titles: Mapping[str, str]) -> Rows:
    """FID, ratio and accuracy, the paper's values beside."""
    head = ["method", "FID known", "FID novel", "novel / best baseline", "accuracy known", "accuracy novel", "sampling"]
    head += ["paper: known", "paper: novel", "paper: novel / best baseline"]
    ratios = {found["method"]: found for found in table["ratios"] if found["cell"] == "novel" and "value" in found}
    rows = []
    for row in table["rows"]:
        method, paper = row["method"], row["paper"]
        cells = [titles[method]]
        if not row["run"]:
            cells += [NOT_RUN, NOT_RUN, "", NOT_RUN, NOT_RUN, ""]
        else:
            cells += [number(row[cell]["fid"]) for cell in CELLS]
            if method in ratios:
                cells.append(number(ratios[method]))
            else:
                cells.append("best" if table["best_baseline"]["novel"] == method else "")
            cells += [rate(row[cell]["accuracy_both"]) for cell in CELLS]
            cells.append("; ".join(dict.fromkeys(str(m["sampling"] or "") for m in row["made_with"].values())))
        shown = ("known", "novel", "novel_ratio")
        cells += [f"{paper[key]:.2f}" for key in shown] if paper else [""] * 3
        rows.append(cells)
    return head, rows


def manifold_rows(table: Mapping[str, Any], titles: Mapping[str, str]) -> Rows:
    """KID, precision and recall."""
    names = ("kid", "precision", "recall")
    head = ["method", *(f"{n.upper() + ' x 1000' if n == 'kid' else n} {cell}" for n in names for cell in CELLS)]
    rows = []
    for row in table["rows"]:
        if row["run"]:
            values = [number(row[cell][n], scale=1000.0 if n == "kid" else 1.0) for n in names for cell in CELLS]
        else:
            values = [NOT_RUN] * 6
        rows.append([titles[row["method"]], *values])
    return head, rows


def markdown(summary: Mapping[str, Any]) -> str:
    """The whole summary as a page."""
    lines = ["# Colored MNIST, method by method", "", COUNTING, ""]
    for table in summary["tables"]:
        lines += [f"## {_where(table)}", ""]
        for rows in (distance_rows, manifold_rows):
            lines += [markdown_table(*rows(table, summary["titles"])), ""]
        lines += [f"- {_ratio(found, summary['titles'])}" for found in table["ratios"]] + [""]
        lines += [f"Warning: {warning}\n" for warning in table["warnings"]]
    lines += [f"Failed: {cell}: {reason}\n" for cell, reason in summary["failed"].items()]
    lines += [f"Paper: {summary['paper']}.", ""]
    lines += [
        f"Made by `{summary['command']}` at revision {summary['git_revision']}; hashes of weights are in table.json."
    ]
    return "\n".join(lines) + "\n"


def latex(summary: Mapping[str, Any]) -> str:
    """The whole summary as tables for a document that loads booktabs; how it is counted is in the first caption."""
    tables = [f"% {summary['command']}".replace("\n", " ")]
    for table in summary["tables"]:
        for rows, what in ((distance_rows, "distances and accuracy"), (manifold_rows, "precision and recall")):
            note = f" {COUNTING} Paper: {summary['paper']}." if len(tables) == 1 else ""
            tables.append(latex_table(*rows(table, summary["titles"]), f"{_where(table)}: {what}.{note}"))
    return "\n\n".join(tables) + "\n"


def _ratio(found: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    return (
        f"FID of {titles[found['method']]} on {found['cell']} combinations over that of {titles[found['baseline']]}, "
        f"the best baseline there: {number(found) if 'value' in found else _no_ratio(found)}"
    )


def _no_ratio(found: Mapping[str, Any]) -> str:
    return f"none, since the two were not judged alike ({', '.join(found['unlike'])})"


def _where(table: Mapping[str, Any]) -> str:
    common = table["common"]
    each = f", {common['each']} pictures of each combination" if common.get("each") else ""
    features = f", feature space {common['features']}" if common.get("features") else ""
    return f"{PARTITIONS.get(table['partition'], table['partition'])}{each}{features}"
