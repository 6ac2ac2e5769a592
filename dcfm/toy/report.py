"""What a toy run found: ``metrics.json`` and a table of methods by partitions, as Markdown."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dcfm.artefacts import git_revision, write_text_atomically
from dcfm.markup import markdown_table
from dcfm.methods.method import RULES
from dcfm.metrics.intervals import mean_interval

COLUMNS: Final = (("known", "mean"), ("known", "min"), ("novel", "mean"), ("novel", "min"))


def summarise(cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Per method and partition, over seeds: least and mean share of the known and of the novel combinations, and the
    mean sliced Wasserstein distance; each with an interval over the seeds where there are several. ``known`` and
    ``novel`` are by the chosen sampling rule, ``known joint`` and so on by either."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for cell in cells:
        for name, record in cell["methods"].items():
            entry = found.setdefault(name, {}).setdefault(cell["partition"], {"rules": [], "seeds": []})
            entry["rules"].append(record["rule"])
            entry["seeds"].append(cell["seed"])
            for kind in ("known", "novel"):
                for key, value in record.get(kind, {}).items():
                    entry.setdefault(kind, {}).setdefault(key, []).append(value)
                for rule, other in record["by_rule"].items():
                    if kind in other:
                        entry.setdefault(f"{kind} {rule}", {}).setdefault("mean", []).append(other[kind]["mean"])
    for partitions in found.values():
        for entry in partitions.values():
            for kind in entry.keys() - {"rules", "seeds"}:
                entry[kind] = {key: mean_interval(values) for key, values in entry[kind].items()}
    return found


def check_kept(out: Path, asked: Iterable[tuple[str, int, str]]) -> None:
    """Raise ``ValueError`` if ``metrics.json`` in a folder has results that a run would leave out of it.

    Args:
        out: the folder.
        asked: partition, seed and method of each result of the run.
    """
    path = out / "metrics.json"
    try:
        there = {
            (run["partition"], run["seed"], name)
            for run in json.loads(path.read_text(encoding="utf-8"))["runs"]
            for name in run["methods"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return  # nothing that could be lost
    if lost := sorted(there - set(asked)):
        partition, seed, name = lost[0]
        raise ValueError(
            f"{path} and the table beside it would lose {len(lost)} results that are not asked for now, such as "
            f"{name}, {partition}, seed {seed}; choose another out=, or ask for all of them"
        )


def metrics(cells: Sequence[Mapping[str, Any]], command: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``metrics.json``.

    Args:
        cells: records of :func:`dcfm.toy.experiment.run_cell`.
        command: that made them.
        settings: the resolved configuration.
    """
    return {
        "command": command,
        "git_revision": git_revision(),
        "made_at_revisions": sorted(set(_revisions(cells))),
        "settings": dict(settings),
        "definitions": {
            "share": "of the samples of a combination, those within the radius around the queried mode's centre that "
            "holds 99 % of the true mode; the true mode scores 0.99; low and high: 95 % Wilson interval",
            "sliced_wasserstein": "sliced 2-Wasserstein distance to as many fresh samples of the true mode",
            "by_rule": "either sampling rule, whatever was chosen; of that which was not, at most 500 samples (n) a "
            "combination",
            "known": "some silo holds samples of the combination; the others are novel",
            "rule": "joint: sampled by the whole label where the method has an answer to it, composed: by Eq. 5; "
            "chosen by the known combinations (selection); by_rule has both",
            "interval over seeds": "Student's t at 95 %",
        },
        "summary": summarise(cells),
        "runs": list(cells),
    }


def _revisions(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for cell in cells:
        for record in cell["methods"].values():
            if (found := record.get("selection", {}).get("git_revision")) is not None:
                yield found


def table(values: Mapping[str, Any]) -> str:
    """Methods by partitions in Markdown: share in the queried mode, in percent, known and novel, mean and least.

    With several seeds the least share is that of all seeds, and means carry half their 95 % interval. ``rule`` is the
    chosen sampling rule, which the shares before it are by; then the novel combinations' mean by either rule.
    """
    summary = values["summary"]
    titles = {name: record["title"] for cell in values["runs"] for name, record in cell["methods"].items()}
    partitions = list(dict.fromkeys(cell["partition"] for cell in values["runs"]))
    header = ["method"]
    for partition in partitions:
        header += [f"{partition} known", "least", "novel", "least", "SW novel", "rule", "novel joint", "composed"]
    rows = [
        [titles[name], *(cell for partition in partitions for cell in _cells(entries.get(partition)))]
        for name, entries in summary.items()
    ]
    return markdown_table(header, rows)


def _cells(entry: Mapping[str, Any] | None) -> list[str]:
    if entry is None:
        return ["-"] * 8
    row = []
    for kind in ("known", "novel"):
        shares = entry.get(kind)
        row += ["-", "-"] if shares is None else [_percent(shares["mean"]), f"{100 * shares['min']['least']:.1f}"]
    distance = entry.get("novel", {}).get("sliced_wasserstein")
    row.append("-" if distance is None else f"{distance['mean']:.2f}")
    rules = entry["rules"]
    counts = {rule: rules.count(rule) for rule in dict.fromkeys(rules)}
    row.append(rules[0] if len(counts) == 1 else ", ".join(f"{rule} {n}" for rule, n in counts.items()))
    for rule in RULES:
        shares = entry.get(f"novel {rule}")
        row.append("-" if shares is None else _percent(shares["mean"]))
    return row


def _percent(value: Mapping[str, float]) -> str:
    text = f"{100 * value['mean']:.1f}"
    return text if "low" not in value else f"{text} ± {50 * (value['high'] - value['low']):.1f}"


def write_report(
    cells: Sequence[Mapping[str, Any]], out: Path, command: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``metrics.json``, ``table.md`` and ``selection.json`` (each cell's choice of sampling rules) to ``out``."""
    values = metrics(cells, command, settings)
    chosen = {
        f"{cell['partition']}/seed{cell['seed']}": {
            name: record["selection"] for name, record in cell["methods"].items()
        }
        for cell in cells
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (("selection.json", chosen), ("metrics.json", values)):
        write_text_atomically(out / name, json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_text_atomically(out / "table.md", table(values) + "\n")
    return values


def describe_silos(cells: Sequence[Mapping[str, Any]]) -> str:
    """What each silo holds, a line each, and which combinations nobody does."""
    lines = []
    for cell in cells:
        lines.append(f"{cell['partition']}, seed {cell['seed']}: novel {', '.join(cell['novel']) or 'none'}")
        for silo, counts in cell["silos"].items():
            lines.append(f"  {silo}: " + ", ".join(f"{label}: {n}" for label, n in counts.items()))
    return "\n".join(lines)
