"""The summary as Markdown and LaTeX: success, tests and what composition adds, a table each, in percent and points."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from dcfm.markup import latex_table, markdown_table
from dcfm_planner.evaluation.problems import CELLS

NOT_RUN = "not run"
PARTITIONS = {"noniid": "Non-IID", "iid": "IID", "disjoint": "Disjoint"}

Rows = tuple[Sequence[str], list[list[str]]]
"""A table's head and rows."""

COUNTING = (
    "Success in %, [95 % interval] and successes/trials. Trials solved at the start are left out, infeasible plans are "
    "failures. Differences are in percentage points, on the same problems, with a 95 % interval. p: exact two-sided "
    "McNemar test; p (Holm): corrected within a partition and protocol, over all methods, baselines and both kinds of "
    "pairs. How a method is sampled: where there is a choice, known pairs made it, without rollouts and with other "
    "noise."
)


P_OF_SEVERAL = (
    "p is of an exact sign-flip test of each problem's differences, summed over trainings; it is about the networks "
    "that were trained, on other problems: of another training the interval alone tells."
)

SEVERAL = (
    "Trainings with several seeds are tried on the same problems: intervals are of a hierarchical bootstrap of "
    f"trainings and problems, and {P_OF_SEVERAL}"
)


def counting(summary: Mapping[str, Any]) -> str:
    """How it is counted."""
    return f"{COUNTING} {SEVERAL}" if len(summary["training_seeds"]) > 1 else COUNTING


def share(entry: Mapping[str, Any]) -> str:
    """Rate, interval and counts."""
    if not entry["n"]:
        return "no trials"
    return f"{entry['rate']:.1%} [{entry['low']:.1%}, {entry['high']:.1%}] {entry['k']}/{entry['n']}".replace("%", "")


def difference(entry: Mapping[str, Any] | None) -> str:
    """Points and interval."""
    if entry is None or not entry["n"]:
        return ""
    low, middle, high = (100 * entry[name] for name in ("low", "difference", "high"))
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"


def p_value(p: float) -> str:
    """Three digits where they say something."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def success_rows(table: Mapping[str, Any], methods: Mapping[str, Any]) -> Rows:
    """One row a method: ours, and the paper's value where it has one."""
    printed = any(row["paper"] for row in table["rows"])
    head = ["method", "known", "novel", "novel - pooled", "known - pooled", "known - best", "sampling"]
    head += ["paper: known", "paper: novel"] if printed else []
    rows = []
    for row in table["rows"]:
        cells = [methods[row["method"]]["title"]]
        if not row["run"]:
            cells += [NOT_RUN, NOT_RUN, *[""] * 4]
        else:
            gap = row["minus_pooled"]
            best = row["known_minus_best"]
            cells += [share(row[cell]) for cell in CELLS]
            cells += [difference(gap and gap["novel"]), difference(gap and gap["known"])]
            cells += ["best" if best["best"] == row["method"] else difference(best)]
            cells += ["; ".join(dict.fromkeys(made["sampling"] for made in row["made_with"].values()))]
        if printed:
            cells += [f"{row['paper'][cell]:.2%}".rstrip("%") if row["paper"] else "" for cell in CELLS]
        rows.append(cells)
    return head, rows


def test_cells(first: str, second: str, test: Mapping[str, Any]) -> list[str]:
    """The row of one test of two planners, by their titles."""
    return [
        f"{first} against {second}",
        test["cell"],
        difference(test),
        str(test["first_only"]),
        str(test["second_only"]),
        str(test["n"]),
        p_value(test["p"]),
        p_value(test["p_holm"]),
    ]


def test_rows(table: Mapping[str, Any], methods: Mapping[str, Any]) -> Rows:
    """One row a test."""
    head = ["test", "pairs", "difference", "only ours", "only baseline", "n", "p", "p (Holm)"]
    return head, [
        test_cells(methods[test["method"]]["title"], methods[test["baseline"]]["title"], test)
        for test in table["tests"]
    ]


def composition_rows(table: Mapping[str, Any], methods: Mapping[str, Any]) -> Rows:
    """One row a method and kind of pairs."""
    head = ["method", "pairs", "right labels", "null labels", "right - null", "wrong labels", "right - wrong"]
    rows = []
    for entry in table["composition"]:
        cells = [methods[entry["method"]]["title"], entry["cell"], share(entry["right"])]
        for control in ("null", "wrong"):
            found = entry["labels"][control]
            cells += [share(found["share"]), difference(found["right_minus"])]
        rows.append(cells)
    return head, rows


PARTS: tuple[tuple[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Rows]], ...] = (
    ("Success", success_rows),
    ("DCFM against every decentralised baseline", test_rows),
    ("What the labels add where start and goal are held", composition_rows),
)


def markdown(summary: Mapping[str, Any]) -> str:
    """The whole summary as a page."""
    lines = ["# Success of planners, method by method", "", counting(summary), ""]
    for table, (title, make) in product(summary["tables"], PARTS):
        head, rows = make(table, summary["methods"])
        if rows:
            lines += [f"## {title}: {_where(table)}", "", markdown_table(head, rows), ""]
    lines += [f"Paper: {summary['paper']}; an empty field: the paper's value is not at hand.", ""]
    open_ends = [entry for entry in summary["entries"] if entry["status"] != "done"]
    if open_ends:
        lines += ["## Not run", ""]
        lines += [f"- {e['partition']}, {e['method']}, training seed {e['seed']}: {e['status']}" for e in open_ends]
        lines += [""]
    lines += [f"Warning: {warning}\n" for warning in summary["warnings"]]
    lines += [
        f"Made by `{summary['command']}` at revision {summary['git_revision']}; hashes of weights are in table.json."
    ]
    return "\n".join(lines) + "\n"


def latex(summary: Mapping[str, Any]) -> str:
    """The whole summary as tables for a document that loads booktabs; how it is counted is in the first caption."""
    tables = [f"% {summary['command']}".replace("\n", " ")]
    for table, (title, make) in product(summary["tables"], PARTS):
        head, rows = make(table, summary["methods"])
        if rows:
            note = f" {counting(summary)} Paper: {summary['paper']}." if len(tables) == 1 else ""
            tables.append(latex_table(head, rows, f"{title}: {_where(table)}.{note}"))
    return "\n\n".join(tables) + "\n"


def _where(table: Mapping[str, Any]) -> str:
    partition = PARTITIONS.get(table["partition"], table["partition"])
    return f"{partition}, protocol {table['protocol']}, {table['trials']} trials for known and as many for novel pairs"
