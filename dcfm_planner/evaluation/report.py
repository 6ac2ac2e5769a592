"""The report of an evaluation: counts with intervals, a table that prints, and files that appear whole or not at all.

How trials are counted, per cell and arm. ``n`` is every trial except those already *solved at the start* (feasible, and
the cube within the success radius of the goal before the first step), which are counted apart. A trial is a *success*
if its plan is feasible for the query and its cube is at the goal by OGBench's rule after the last step; an infeasible
plan is a failure. Every rate has a 95 % Wilson interval.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from dcfm.artefacts import git_revision, write_text_atomically
from dcfm.methods import registry
from dcfm.metrics.intervals import share
from dcfm_planner.domain import Domain
from dcfm_planner.domains.cube import CUBE
from dcfm_planner.evaluation.problems import CELLS
from dcfm_planner.evaluation.run import Results
from dcfm_planner.evaluation.success import NEVER
from dcfm_planner.evaluation.trials import PLANNER_ARM

RULES: Final[dict[str, Callable[[Any], bool]]] = {
    "feasible": lambda trial: trial.feasible,
    "success": lambda trial: trial.success,
    "success_strict": lambda trial: trial.success_strict,
    "touched": lambda trial: trial.feasible and trial.first_touch != NEVER,
}
"""What is counted, by the names of ``metrics.json``."""

_PATHS: Final = ("planned", "executed")


def solved_at_start(trial: Any) -> bool:
    """Whether a trial is outside the headline."""
    return trial.feasible and trial.at_start


def count(trials: Sequence[Any]) -> dict[str, Any]:
    """Rates of each rule over the trials that were not solved at the start, and what was left out."""
    counted = [trial for trial in trials if not solved_at_start(trial)]
    solved = [trial for trial in trials if solved_at_start(trial)]
    touches = [trial.first_touch for trial in counted if trial.feasible and trial.first_touch != NEVER]
    summary: dict[str, Any] = {name: share(sum(map(rule, counted)), len(counted)) for name, rule in RULES.items()}
    summary["solved_at_start"] = {"n": len(solved), "success": sum(trial.success for trial in solved)}
    summary["median_first_touch_step"] = float(np.median(touches)) if touches else None
    summary["median_final_distance_m"] = _median(trial.distance for trial in counted)
    return summary


def metrics(results: Results, command: str) -> dict[str, Any]:
    """Everything that ``metrics.json`` holds."""
    own = [trial for trial in results.trials if trial.arm == PLANNER_ARM]
    timing, settings, domain = results.timing, results.settings, results.settings.domain
    evaluation = domain.evaluation()
    return {
        "method": results.method,
        "partition": results.partition,
        "protocol": settings.protocol,
        "seed": settings.seed,
        "trials": settings.trials,
        "command": command,
        **{cell: count(_of(own, cell=cell)) for cell in CELLS},
        "kinds": {kind: count(_of(own, kind=kind)) for kind in evaluation.kinds},
        "pairs": {pair: count(_of(own, combination=pair)) for pair in map("-".join, product(*domain.space.values))},
        "controls": {
            arm: {cell: count(_of(results.trials, arm=arm, cell=cell)) for cell in CELLS} for arm in settings.controls
        },
        "gaps_m": {name: _median(getattr(trial, name) for trial in own) for name in evaluation.gaps},
        "infeasible_reasons": _reasons(own, evaluation.reasons),
        "planner": results.planner,
        "max_steps": settings.limit,
        **evaluation.describe(settings),
        "weights": settings.weights,
        "weights_sha256": results.weights_hash,
        "git_revision": git_revision(),
        "seconds_per_plan": timing.planning / max(timing.plans, 1),
        "seconds_per_control_step": timing.stepping / max(timing.steps, 1),
        "cost_over_stepping": (timing.planning + timing.acting + timing.stepping) / max(timing.stepping, 1e-9)
        if settings.protocol == "paper"
        else (timing.acting + timing.stepping) / max(timing.stepping, 1e-9),
        "seconds": results.seconds,
        "workers": results.workers,
    }


def _of(trials: Iterable[Any], **wanted: str) -> list[Any]:
    return [trial for trial in trials if all(getattr(trial, name) == value for name, value in wanted.items())]


def _median(values: Iterable[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else None


def _reasons(trials: Sequence[Any], names: Mapping[str, str]) -> dict[str, int]:
    """How often each reason was given, by the name of the first part that it contains, or by itself."""
    counts: dict[str, int] = {}
    for trial in trials:
        for reason in trial.reasons:
            what = next((text for key, text in names.items() if key in reason), reason)
            counts[what] = counts.get(what, 0) + 1
    return counts


def composed_novel(values: Mapping[str, Any]) -> str:
    """What a rule does not say of itself: the weights of Eq. 5, where a method composes by it what no silo holds
    (DCFM-A's joint rule) and they are not the paper's 1; of anything else nothing.

    Args:
        values: of a planner's ``metrics.json``.
    """
    rule, weights = (values["planner"] or {}).get("rule"), (values["planner"] or {}).get("guidance", ())
    if rule in (None, "composed") or values["method"] not in registry.names() or all(w == 1 for w in weights):
        return ""
    if registry.make(values["method"]).novel_rule(rule) != "composed":
        return ""
    return f"novel pairs composed, w = {', '.join(f'{w:g}' for w in weights)}"


def table(values: dict[str, Any], domain: Domain = CUBE) -> str:
    """What is printed: the headline, the combinations, the controls."""

    def cell(entry: dict[str, Any]) -> str:
        if not entry["n"]:
            return "no trials"
        return f"{entry['k']:>3}/{entry['n']:<3} {entry['rate']:6.1%} [{entry['low']:.1%}, {entry['high']:.1%}]"

    width = 33
    head = ("", "feasible", "success", "success, strict")
    names = ("feasible", "success", "success_strict")
    lines = [
        f"{values['method']}, {values['partition']}, protocol {values['protocol']}, seed {values['seed']} "
        "(k/n, rate, 95 % Wilson interval)",
        *filter(None, [composed_novel(values)]),
        "",
        f"{head[0]:<18}" + "".join(f"{name:<{width}}" for name in head[1:]),
    ]

    def row(title: str, entry: dict[str, Any]) -> str:
        return f"{title:<18}" + "".join(f"{cell(entry[name]):<{width}}" for name in names)

    for name in CELLS:
        lines.append(row(name, values[name]))
    for kind in [kind for kind in ("same", "adjacent") if kind in values["kinds"]]:
        lines.append(row(f"  known, {kind}", values["kinds"][kind]))
    for arm, entries in values["controls"].items():
        lines += [row(f"{arm}: {name}", entries[name]) for name in CELLS]
    solved = {name: values[name]["solved_at_start"]["n"] for name in CELLS}
    lines += [
        "",
        f"Solved at the start, not counted above: known {solved['known']}, novel {solved['novel']}. "
        "Infeasible plans count as failures.",
    ]
    if values["infeasible_reasons"]:
        lines.append(
            "Infeasible: " + ", ".join(f"{n} {what}" for what, n in values["infeasible_reasons"].items()) + "."
        )
    names = domain.space.names
    novel = {"-".join(combination) for combination in domain.novel}
    rows, columns = domain.space.values[0], list(product(*domain.space.values[1:]))  # one attribute: one empty column
    described = f"rows: {names[0]}, columns: {'-'.join(names[1:])}" if names[1:] else names[0]
    margin = max(map(len, rows)) + 4
    lines += [
        "",
        f"success by pair ({described}; * novel)",
        "",
        " " * margin + "".join(f"{'-'.join(column):>11}" for column in columns),
    ]
    for row_name in rows:
        pairs = ["-".join([row_name, *column]) for column in columns]
        entries = [(values["pairs"][pair]["success"], pair in novel) for pair in pairs]
        lines.append(
            f"{row_name:<{margin}}"
            + "".join(f"{e['k']:>6}/{e['n']}{'*' if star else ' ':<1}".rjust(11) for e, star in entries)
        )
    lines += [
        "",
        f"{values['seconds_per_plan']:.3f} s a plan (in batches), {values['seconds']:.0f} s in all "
        f"with {values['workers']} workers; all of it costs {values['cost_over_stepping']:.2f} times the bare stepping",
    ]
    return "\n".join(line.rstrip() for line in lines)


def trials_csv(trials: Sequence[Any]) -> str:
    """One line a trial, paths left out; positions as ``start_x`` and so on."""
    text = io.StringIO()
    plain = [f.name for f in fields(trials[0]) if f.name not in (*_PATHS, "start", "goal", "reasons")]
    ends = ["start_x", "start_y", "goal_x", "goal_y"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*plain, *ends, "solved_at_start", "reasons"])
    for trial in trials:
        row = [_plain(getattr(trial, name)) for name in plain]
        numbers = [f"{number:.5f}" for number in (*trial.start, *trial.goal)]
        writer.writerow([*row, *numbers, int(solved_at_start(trial)), "; ".join(trial.reasons)])
    return text.getvalue()


def _plain(value: bool | int | float | str) -> str | int:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.5f}"
    return value


def write_report(results: Results, out: Path, command: str, config: str) -> dict[str, Any]:
    """Write ``metrics.json``, ``trials.csv``, ``table.txt``, ``paths.png`` and ``config.yaml``; return the metrics.

    Args:
        results: of :func:`~dcfm_planner.evaluation.run.evaluate`.
        out: folder, made if missing.
        command: that gave the results.
        config: the resolved configuration as YAML.
    """
    domain = results.settings.domain
    values = metrics(results, command)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("metrics.json", "table.txt", "paths.png"):  # of an evaluation that lay here, whose trials go next
        (out / name).unlink(missing_ok=True)
    write_text_atomically(out / "config.yaml", config)
    write_text_atomically(out / "trials.csv", trials_csv(results.trials))
    write_text_atomically(out / "metrics.json", json.dumps(values, indent=2, allow_nan=False) + "\n")
    write_text_atomically(out / "table.txt", table(values, domain) + "\n")
    # Last, since what a domain draws is its own code, and an evaluation is not to be lost for a picture.
    domain.evaluation().draw(_of(results.trials, arm=PLANNER_ARM), out / "paths.png")
    return values
