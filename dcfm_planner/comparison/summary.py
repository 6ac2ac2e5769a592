"""The table as plain data: what ``table.json`` holds, and what is printed and drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from typing import Any

from dcfm.artefacts import git_revision
from dcfm.comparison import Entry
from dcfm.methods import registry
from dcfm_planner.comparison.collate import Collated, Evaluated
from dcfm_planner.comparison.paired import holm
from dcfm_planner.comparison.paper import SOURCE, printed
from dcfm_planner.comparison.recipe import recipe_warnings
from dcfm_planner.comparison.settings import CEILING, CONTROLS, ComparisonSettings
from dcfm_planner.comparison.state import State
from dcfm_planner.evaluation.problems import CELLS
from dcfm_planner.evaluation.trials import PLANNER_ARM


def summarise(collated: Collated, command: str, failed: Mapping[Entry, str] | None = None) -> dict[str, Any]:
    """All numbers of the table, with what they were made with.

    Args:
        collated: what is done.
        command: that makes this table.
        failed: what went wrong, by entry.
    """
    settings = collated.settings
    made = {name: registry.make(name) for name in settings.methods}
    return {
        "what": "success rates of planners in MuJoCo, on known and on novel pairs of quadrants; differences are of "
        "success rates on the same problems; all intervals 95 %",
        "command": command,
        "git_revision": git_revision(),
        "seed": settings.seed,
        "training_seeds": list(settings.seeds),
        "training_overrides": list(settings.training),
        "paper": SOURCE,
        "methods": {name: {"title": m.title, "decentralised": m.decentralised} for name, m in made.items()},
        "tables": [
            {
                "partition": partition,
                "protocol": protocol,
                "trials": settings.trials_of(protocol),
                "rows": rows(collated, partition, protocol),
                "tests": tests(collated.at(partition, protocol)),
                "composition": composition(collated.at(partition, protocol)),
            }
            for partition, protocol in product(settings.partitions, settings.protocols)
        ],
        "entries": [_entry(settings, state, (failed or {}).get(state.entry)) for state in collated.states],
        "warnings": warnings(collated),
    }


def rows(collated: Collated, partition: str, protocol: str) -> list[dict[str, Any]]:
    """One row a method, those that were not run included."""
    evaluated = {found.method: found for found in collated.at(partition, protocol)}
    best = max(evaluated.values(), key=lambda e: e.share("known").rate or 0.0, default=None)
    ceiling = evaluated.get(CEILING)
    table = []
    for method in collated.settings.methods:
        row: dict[str, Any] = {"method": method, "paper": printed(partition, protocol, method)}
        found = evaluated.get(method)
        if found is None:
            table.append(row | {"run": False})
            continue
        row |= {"run": True, "training_seeds": list(found.outcomes)}
        row |= {cell: asdict(found.share(cell)) for cell in CELLS}
        row["by_training_seed"] = {
            str(seed): {cell: asdict(found.after(seed).share(cell)) for cell in CELLS} for seed in found.outcomes
        }
        row["minus_pooled"] = (
            {cell: asdict(found.minus(ceiling, cell)) for cell in CELLS} if ceiling not in (None, found) else None
        )
        row["known_minus_best"] = asdict(found.minus(best, "known")) | {"best": best.method} if best else None
        row["pairs"] = {f"{s}-{t}": asdict(share) for (s, t), share in found.pairs().items()}
        row["made_with"] = {
            str(seed): {
                "sampling": state.chosen,
                **{name: value for name, value in (state.provenance or {}).items() if name != "recipe"},
                "evaluated_by": found.metrics[seed]["git_revision"],
                "command": found.metrics[seed]["command"],
            }
            for seed, state in found.states.items()
        }
        table.append(row)
    return table


def tests(evaluated: Sequence[Evaluated]) -> list[dict[str, Any]]:
    """Each decentralised method that is no baseline against each that is, on novel and on known pairs: one family,
    corrected by Holm."""
    found = {e.method: e for e in evaluated}
    compared = [
        {"method": a, "baseline": b, "cell": cell, **asdict(found[a].minus(found[b], cell))}
        for cell, a, b in product(("novel", "known"), registry.contenders(found), registry.baselines(found))
    ]
    corrected = iter(holm([test["p"] for test in compared if test["n"]]))
    return [test | {"p_holm": next(corrected) if test["n"] else 1.0} for test in compared]


def composition(evaluated: Sequence[Evaluated]) -> list[dict[str, Any]]:
    """What the labels add where start and goal are held: success with the right ones minus with none or wrong ones."""
    return [
        {
            "method": found.method,
            "cell": cell,
            "right": asdict(found.share(cell)),
            "labels": {
                control: {
                    "share": asdict(found.share(cell, control)),
                    "right_minus": asdict(found.minus(found, cell, (PLANNER_ARM, control))),
                }
                for control in CONTROLS[found.protocol]
            },
        }
        for found, cell in product(evaluated, ("novel", "known"))
        if CONTROLS[found.protocol]
    ]


def warnings(collated: Collated) -> list[str]:
    """What a reader must know: entries that were not trained on the same data or with the same settings, or not with
    those that the table's overrides give."""
    found = []
    for what, name in (("data_sha256", "on the same data"), ("recipe_sha256", "with the same settings")):
        for partition, seed in product(collated.settings.partitions, collated.settings.seeds):
            groups: dict[Any, list[str]] = {}
            for state in collated.states:
                if state.entry.partition == partition and state.entry.seed == seed and state.provenance:
                    groups.setdefault(state.provenance.get(what), []).append(state.entry.method)
            if what == "data_sha256":
                groups.pop(None, None)  # of private trainings, which do not tell
            if len(groups) > 1:
                apart = " | ".join(", ".join(group) for group in groups.values())
                found.append(f"{partition}, training seed {seed}: not all were trained {name}: {apart}")
    return found + recipe_warnings(collated.settings, collated.states)


def _entry(settings: ComparisonSettings, state: State, error: str | None) -> dict[str, Any]:
    missing = [protocol for protocol in settings.protocols if protocol not in state.evaluations]
    if error is not None:
        status = f"failed: {error}"
    elif not missing:
        status = "done"
    elif state.trained or state.evaluations:  # shipped results have no weights beside them
        status = f"not evaluated: {', '.join(missing)}"
    else:
        status = "not trained"
    recipe = {} if state.recipe is None else {"recipe": state.recipe}
    return {**asdict(state.entry), "status": status, **recipe}
