"""Metrics and tables as text: one model's on the screen, all methods' as Markdown and LaTeX."""

from collections.abc import Mapping
from typing import Any

from dcfm.markup import latex_table, markdown_table
from dcfm_xray.problem import WARNING

NOT_RUN = "not run"
GROUPS = ("known", "novel", "all")
EQUAL = "utility_at_equal_specificity"
"""Of the metrics: utility with thresholds that give every classifier the same specificity on test images."""

COUNTING = (
    "U: mean compositional recall (Eq. 18) in % over feasible sets of findings, of a classifier trained on synthetic "
    "pictures alone, on test images of patients that no silo has; precision beside it, over the sets that are "
    "predicted of some image, each alike however few these are. U at equal specificity: with thresholds at which every "
    "row has one specificity on the test images; what it has with its own thresholds, which U is by, is its mean over "
    "findings and the least. FID: Frechet distance to test "
    "images of the same sets in features of the classifier trained on real pictures. Known: some silo holds the set; "
    "novel: none does. [95 % bootstrap interval over patients and, where there are several, trainings]. Real pictures: "
    "the same classifier trained on real pictures of the training patients, withheld sets included: the ceiling."
)

NO_PATIENTS = (
    "These data name no patients: each image counts as one, and intervals are over images, too narrow where some are "
    "of the same patient."
)


def number(entry: Mapping[str, Any] | None, digits: int = 2, scale: float = 1.0) -> str:
    """Value and interval, or a dash where nothing could be counted."""
    if entry is None:
        return "-"
    value, low, high = (scale * entry[name] for name in ("value", "low", "high"))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def utility_entry(metrics: Mapping[str, Any], group: str, name: str) -> Mapping[str, Any] | None:
    """``utility`` or ``precision`` of a group, or :data:`EQUAL`; ``None`` where there is none."""
    where = EQUAL if name == EQUAL else "utility"
    found = (metrics.get(where) or {}).get(group)
    return None if found is None else found["utility" if name == EQUAL else name]


def distance_entry(metrics: Mapping[str, Any], group: str, name: str) -> Mapping[str, Any] | None:
    """``fid`` or ``kid`` of a group, or ``None``."""
    found = metrics.get("distances", {}).get(group)
    return None if found is None else found[name]


def describe_utility(metrics: Mapping[str, Any]) -> str:
    """Utility and precision by group."""
    parts = []
    for group in GROUPS:
        u, p = (utility_entry(metrics, group, name) for name in ("utility", "precision"))
        parts.append(f"{group} U {number(u, 1, 100.0)} %, precision {number(p, 1, 100.0)} %")
    return "; ".join(parts)


def describe_metrics(metrics: Mapping[str, Any]) -> str:
    """One model's metrics."""
    lines = [
        f"{metrics['method']}, {metrics['partition']}, sampled: {metrics['sampling']}, {metrics['evaluations']} "
        f"evaluations; {metrics['synthetic_images']} synthetic pictures, {metrics['test_images']} test images",
        describe_utility(metrics),
    ]
    for group in GROUPS:
        fid, kid = (distance_entry(metrics, group, name) for name in ("fid", "kid"))
        lines.append(f"{group}: FID {number(fid)}, KID x 1000 {number(kid, scale=1000.0)}")
    return "\n".join(lines)


def rows_of(table: Mapping[str, Any], titles: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of one partition's table."""
    head = ["method", "U known", "U novel", "U all", "precision known", "precision novel"]
    head += ["U known at equal specificity", "U novel at equal specificity", "specificity"]
    head += ["FID known", "FID novel", "FID all", "sampling"]
    most = max((row["trainings"] for row in table["rows"]), default=0)
    rows = []
    for row in table["rows"]:
        fewer = f" ({row['trainings']} of {most} trainings)" if row["run"] and row["trainings"] < most else ""
        cells = [titles[row["method"]] + fewer]
        if not row["run"]:
            rows.append([*cells, *[NOT_RUN] * (len(head) - 2), ""])
            continue
        cells += [number(row["utility"][group], 1, 100.0) for group in GROUPS]
        for group in GROUPS[:2]:
            over = row["precision_sets"][group]
            cells.append(number(row["precision"][group], 1, 100.0) + (f" ({over})" if over else ""))
        cells += [number(row[EQUAL][group], 1, 100.0) for group in GROUPS[:2]]
        cells.append(row["specificity"])
        cells += [number(row["fid"][group]) for group in GROUPS]
        rows.append([*cells, row["sampling"]])
    return head, rows


def markdown(summary: Mapping[str, Any]) -> str:
    """The whole summary as a page."""
    lines = ["# Chest X-rays, method by method", "", WARNING, "", COUNTING, ""]
    for table in summary["tables"]:
        lines += [
            f"## {table['partition']}, {table['data']}",
            "",
            markdown_table(*rows_of(table, summary["titles"])),
            "",
        ]
        if not table.get("knows_patients", True):
            lines += [NO_PATIENTS, ""]
        lines += [
            f"- Novel U{_at(found)} of "
            f"{summary['titles'][found['method']]} over that of {summary['titles'][found['baseline']]}: "
            f"{number(found)}{_seeds_of(found, summary)}"
            for found in table["ratios"]
        ]
        lines += [
            f"- No ratio of {summary['titles'][found['method']]}'s novel U{_at(found)} to that of "
            f"{summary['titles'][found['baseline']]}: one of them is 0 in a draw of the bootstrap"
            f"{_seeds_of(found, summary)}"
            for found in table.get("without_ratio", ())
        ]
        lines += [f"- Warning: {warning}" for warning in table.get("warnings", ())]
        lines.append("")
    lines += [f"Failed: {cell}: {reason}\n" for cell, reason in summary["failed"].items()]
    lines.append(f"Made by `{summary['command']}` at revision {summary['git_revision']}.")
    return "\n".join(lines) + "\n"


def sets_table(by_method: Mapping[str, Mapping[str, Any]]) -> str:
    """Every feasible set of findings by itself: the recall of Eq. 18 by method, sets that nobody holds last.

    Args:
        by_method: one training's ``metrics.json`` by title; one at least.
    """
    recalls: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for title, metrics in by_method.items():
        for group in GROUPS[:2]:
            for found in (metrics["utility"][group] or {"by_set": []})["by_set"]:
                recalls.setdefault((group, found["findings"]), {})[title] = found["recall"] or {"n": 0}
    rows = []
    for (group, findings), by_title in sorted(recalls.items(), key=lambda item: (item[0][0], item[0][1].count("|"))):
        shares = [by_title.get(title, {"n": 0}) for title in by_method]
        cells = [number({"value": r["rate"], **r} if r["n"] else None, 0, 100.0) for r in shares]
        images = "; ".join(dict.fromkeys(str(r["n"]) for r in shares))
        rows.append([findings.replace("|", ", "), group, images, *cells])
    return (
        f"{WARNING}\n\nCompositional recall (Eq. 18) in % of each feasible set [95 % Wilson interval, as if a patient's"
        " images were independent], thresholds as the classifiers have them; precision is in `metrics.json`.\n\n"
        + markdown_table(["findings", "set", "test images", *by_method], rows)
        + "\n"
    )


def _at(found: Mapping[str, Any]) -> str:
    """Which utility a ratio is of."""
    return " at equal specificity" if found["measure"] == EQUAL else ""


def _seeds_of(found: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """Of which trainings a ratio is, where these are not all of the table's."""
    seeds = found["training_seeds"]
    return "" if seeds == summary["training_seeds"] else f" (training seed {', '.join(map(str, seeds))} alone)"


def latex(summary: Mapping[str, Any]) -> str:
    """The same as tables for a document that loads booktabs."""
    parts = [f"% {summary['command']}".replace("\n", " ")]
    for table in summary["tables"]:
        note = f" {COUNTING} {WARNING}" if len(parts) == 1 else ""
        note += "" if table.get("knows_patients", True) else f" {NO_PATIENTS}"
        parts.append(latex_table(*rows_of(table, summary["titles"]), f"{table['partition']}.{note}"))
    return "\n\n".join(parts) + "\n"
