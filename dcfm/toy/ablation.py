"""The toy's ablation: DCFM-A and -B with one setting changed at a time; JSON and figure.

Every cell is a factor, a value, a method and a partition; over seeds, the known combinations' mean share in the queried
mode and the novel ones', each with Student's 95 % interval.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dcfm.artefacts import atomically, git_revision, write_text_atomically
from dcfm.methods import registry
from dcfm.metrics.intervals import mean_interval
from dcfm.toy.cell import Cell
from dcfm.toy.variants import Variant


def read_factors(given: Mapping[str, Any]) -> dict[str, dict[str, list[Variant]]]:
    """Variants by factor and value from a configuration: ``{factor: {value: {method: training changes}}}``.

    Raises:
        ValueError: an unknown method, or a factor without values.
    """
    found: dict[str, dict[str, list[Variant]]] = {}
    for factor, values in given.items():
        if not isinstance(values, Mapping) or not values:
            raise ValueError(f"factors.{factor}={values!r}; give values, each with what it changes by method")
        found[factor] = {}
        for value, methods in values.items():
            if not isinstance(methods, Mapping) or set(methods) - set(registry.names()):
                raise ValueError(
                    f"factors.{factor}.{value}={methods!r}; give changes by method ({', '.join(registry.names())})"
                )
            if wrong := {m: c for m, c in methods.items() if not isinstance(c, Mapping | None)}:
                raise ValueError(f"factors.{factor}.{value}: {wrong!r}; give what changes in the training, by name")
            found[factor][str(value)] = [
                Variant(f"{factor}={value}", method, changes or {}) for method, changes in methods.items()
            ]
    return found


def collect(
    factors: Mapping[str, Mapping[str, Sequence[Variant]]],
    cells: Sequence[Cell],
    records: Sequence[Mapping[str, Mapping[str, Any]]],
) -> list[dict[str, Any]]:
    """One row a factor, value, method and partition.

    Args:
        factors: what was varied.
        cells: partitions and seeds.
        records: for each cell, those of :func:`~dcfm.toy.variants.run_variants` with
            :func:`~dcfm.toy.variants.score_all`.
    """
    rows = []
    for factor, values in factors.items():
        for value, variants in values.items():
            for variant in variants:
                for partition in dict.fromkeys(cell.problem.partition for cell in cells):
                    row: dict[str, Any] = {"factor": factor, "value": value, "method": variant.method}
                    row |= {"partition": partition, "training": dict(variant.training)}
                    chosen = [
                        (cell.problem.seed, record[f"{variant.method}/{variant.name}"])
                        for cell, record in zip(cells, records, strict=True)
                        if cell.problem.partition == partition
                    ]
                    row |= {"seeds": [seed for seed, _ in chosen], "rules": [record["rule"] for _, record in chosen]}
                    for kind in ("known", "novel"):
                        shares = [record[kind][0] / record[kind][1] for _, record in chosen]
                        row[kind] = mean_interval(shares) | {"shares": shares, "n": chosen[0][1][kind][1]}
                    rows.append(row)
    return rows


def write(rows: Sequence[Mapping[str, Any]], cells: Sequence[Cell], out: Path, command: str) -> None:
    """Write ``ablation.json`` and ``ablation.png`` to ``out``."""
    content = {
        "command": command,
        "git_revision": git_revision(),
        "problem": cells[0].identity()["problem"],
        "training": cells[0].identity()["training"],
        "definitions": "shares of samples within the 99 % radius of the queried mode, mean over known or novel "
        "combinations; mean over seeds with Student's 95 % interval; sampling rule chosen on known combinations",
        "cells": list(rows),
    }
    write_text_atomically(out / "ablation.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    _draw(rows, out / "ablation.png")


def _draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    factors = list(dict.fromkeys(row["factor"] for row in rows))
    partitions = list(dict.fromkeys(row["partition"] for row in rows))
    figure = Figure(figsize=(2.6 * len(factors), 2.4 * len(partitions)), layout="constrained")
    axes = figure.subplots(len(partitions), len(factors), squeeze=False, sharey=True)
    for i, partition in enumerate(partitions):
        for j, factor in enumerate(factors):
            here = [row for row in rows if row["partition"] == partition and row["factor"] == factor]
            _panel(axes[i, j], here)
            axes[i, j].set_title(f"{factor}, {partition}", fontsize=9)
        axes[i, 0].set_ylabel("share in the queried mode", fontsize=8)
    axes[0, 0].legend(fontsize=6, loc="lower right")
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=90)


def _panel(axis: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    values = list(dict.fromkeys(row["value"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for m, method in enumerate(methods):
        mine = [row for row in rows if row["method"] == method]
        for kind, marker, fill in (("known", "o", "none"), ("novel", "s", "full")):
            places = [values.index(row["value"]) + 0.12 * (m - (len(methods) - 1) / 2) for row in mine]
            means = [row[kind]["mean"] for row in mine]
            bars = [row[kind].get("high", row[kind]["mean"]) - row[kind]["mean"] for row in mine]
            axis.errorbar(
                places,
                means,
                bars,
                label=f"{registry.make(method).title}, {kind}",
                marker=marker,
                fillstyle=fill,
                color=f"C{m}",
                markersize=4,
                linewidth=0.8,
                linestyle="-" if kind == "novel" else ":",
            )
    axis.set_xticks(range(len(values)), values, fontsize=7)
    axis.set_ylim(-0.02, 1.02)
    axis.tick_params(axis="y", labelsize=7)
    axis.grid(axis="y", linewidth=0.3)
