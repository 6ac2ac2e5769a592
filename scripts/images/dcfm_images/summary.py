"""The table as plain data: what ``table.json`` holds, and what is printed and drawn.

A value of several trainings is their mean, its interval over trainings too
(:meth:`dcfm.metrics.bootstrap.Estimate.over_trainings`); of shares the draws are normal ones, as wide as each
training's own interval.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, Final

import torch

from dcfm import records
from dcfm.artefacts import git_revision
from dcfm.comparison import Entry, check_weights, other_trainings, other_within_seeds
from dcfm.methods import registry
from dcfm.metrics.bootstrap import Estimate, ratio
from dcfm.metrics.intervals import share
from dcfm_images.judging import CELLS
from dcfm_images.matrices import warnings_of
from dcfm_images.paper import BASELINES, SOURCE, printed
from dcfm_images.results import METRICS, RECORD, read_metrics
from dcfm_images.table_settings import REAL, TableSettings

COMMON: Final = ("features", "feature_weights_sha256", "each", "draws", "data", "size", "seed", "solver", "evaluations")
"""What all evaluations of a partition should have in common; of the digits, what they are and not where they lay."""

# Of the digits the hashes tell.
PAIRED: Final = (
    *(key for key in COMMON if key != "data"),
    "reader_sha256",
    "reference_sha256",
    "data_sha256",
    "bootstrap",
)
"""What two evaluations must have in common for their bootstrap draws to belong together."""

JUDGED_BY: Final = {"reference_sha256": "real digits", "reader_sha256": "readers"}
"""What rows of one training seed must have in common to be compared, by its name in their metrics."""

CEILING: Final = "pooled"
"""Its ratio to the best baseline tells how low that of a decentralised method can be expected to get."""

DRAWS: Final = 1000
"""Of a share over trainings."""

WIDTH: Final = 1.959964
"""Standard deviations in half a 95 % interval."""

Evaluated = Mapping[int, Mapping[str, Any]]
"""``metrics.json`` by training seed."""


def summarise(settings: TableSettings, command: str, failed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """All numbers of the table, read from the entries' folders.

    Args:
        settings: what is compared.
        command: that makes this table.
        failed: what went wrong, by entry: these are shown as not run, whatever lies in their folders, and so are those
            whose results turn out to be damaged.
    """
    titles = {name: registry.make(name).title for name in settings.methods} | {REAL: "real digits"}
    failed = dict(failed or {})
    tables = [_table(settings, partition, failed) for partition in settings.partitions]
    return {
        "what": "generated pictures of known and novel combinations against as many real ones; intervals 95 %",
        "command": command,
        "git_revision": git_revision(),
        "training_seeds": list(settings.seeds),
        "training_overrides": list(settings.training),
        "paper": SOURCE,
        "titles": titles,
        "tables": tables,
        "failed": failed,
    }


def evaluated(
    settings: TableSettings, partition: str, method: str, failed: dict[str, str]
) -> dict[int, dict[str, Any]]:
    """What is done of a method on a partition, by training seed, without what failed; damaged results, and those of
    other weights than the trained model's, are added to that."""
    found = {}
    for seed in settings.seeds:
        entry = Entry(partition, method, seed)
        if str(entry) in failed:
            continue
        folder = entry.results(settings.out)
        try:
            # Pictures may have been left out of a copy.
            if records.read(folder / RECORD, only=[METRICS]) is not None:
                metrics = read_metrics(folder)
                check_weights(entry, metrics, settings.runs)
                found[seed] = metrics
        except ValueError as error:
            failed[str(entry)] = str(error)
    return found


def best_baseline(found: Mapping[str, Evaluated], cell: str) -> str | None:
    """The paper's baseline of the least FID on known or novel combinations, among those that were run: the mean
    over the training seeds that all of these have, or over each one's own where they have none in common."""
    run = [method for method in BASELINES if found.get(method)]
    common = set.intersection(*(set(found[method]) for method in run)) if run else set()

    def fid(method: str) -> float:
        return mean(m[cell]["fid"]["value"] for seed, m in found[method].items() if seed in common or not common)

    return min(run, key=fid, default=None)


def ratio_to(ours: Evaluated, baseline: Evaluated, cell: str) -> dict[str, Any] | None:
    """FID of one method over that of another, after trainings with the same seeds, with a bootstrap interval.

    Draws belong together: noise, reference and the bootstrap's choices are the same for both; trainings where they are
    not (:data:`PAIRED`) have no ratio.
    """
    common = [seed for seed in ours if seed in baseline and _paired(ours[seed], baseline[seed])]
    if not common:
        return None
    return dict(ratio(*(_mean(which, cell, "fid", common) for which in (ours, baseline))).as_dict())


def _table(settings: TableSettings, partition: str, failed: dict[str, str]) -> dict[str, Any]:
    found = {method: evaluated(settings, partition, method, failed) for method in (*settings.methods, REAL)}
    best = {cell: best_baseline(found, cell) for cell in CELLS}
    rows = []
    for method, by_seed in found.items():
        row: dict[str, Any] = {"method": method, "run": bool(by_seed), "paper": printed(partition, method)}
        if by_seed:
            row |= {cell: _numbers(by_seed, cell) for cell in CELLS}
            row["made_with"] = {str(seed): _made_with(metrics) for seed, metrics in by_seed.items()}
        rows.append(row)
    ratios = [
        {"method": method, "cell": cell, "baseline": name}
        | (ratio_to(found[method], found[name], cell) or {"unlike": _unlike(found[method], found[name])})
        for method in (*registry.contenders(settings.methods), CEILING)
        for cell in CELLS
        if found.get(method) and (name := best[cell]) is not None
    ]
    alike = _alike(found)
    alike["warnings"] += warnings_of(settings, partition)
    return {"partition": partition, "rows": rows, "best_baseline": best, "ratios": ratios, **alike}


def _unlike(ours: Evaluated, baseline: Evaluated) -> list[str]:
    """What keeps two methods from having a ratio."""
    common = [seed for seed in ours if seed in baseline]
    return [k for k in PAIRED if any(_differ(k, ours[s], baseline[s]) for s in common)] or ["training seeds"]


def _paired(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return not any(_differ(key, one, other) for key in PAIRED)


def _differ(key: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Data that a private training does not tell are taken for equal, where what their split leaves is."""
    unknown = key == "data_sha256" and None in (one.get(key), other.get(key))
    return not unknown and one.get(key) != other.get(key)


def _numbers(by_seed: Evaluated, cell: str) -> dict[str, Any]:
    seeds = list(by_seed)
    plain: dict[str, Any] = {name: dict(_mean(by_seed, cell, name, seeds).as_dict()) for name in ("fid", "kid")}
    for name in ("precision", "recall"):
        plain[name] = _share_over_trainings([by_seed[seed][cell][name] for seed in seeds], "value")
    for name in ("digit", "colour", "both"):
        parts = [by_seed[seed][cell]["accuracy"][name] for seed in seeds]
        counts = share(sum(part["k"] for part in parts), sum(part["n"] for part in parts))
        plain[f"accuracy_{name}"] = counts | _share_over_trainings(parts, "rate")
    plain["n"] = sum(by_seed[seed][cell]["n"] for seed in seeds)
    plain["fid_by_training_seed"] = {str(seed): by_seed[seed][cell]["fid"]["value"] for seed in seeds}
    return plain


def _mean(by_seed: Evaluated, cell: str, name: str, seeds: Sequence[int]) -> Estimate:
    parts = [by_seed[seed][cell][name] for seed in seeds]
    number = min(len(part["draws"]) for part in parts)  # evaluations may differ in it; there is a warning then
    draws = torch.tensor([part["draws"][:number] for part in parts], dtype=torch.float64)
    return Estimate.over_trainings([part["value"] for part in parts], draws, least=0.0 if name == "fid" else None)


def _share_over_trainings(parts: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """A share that is called ``name``; of one training as it was judged."""
    values = [part[name] for part in parts]
    low, high = (torch.tensor([part[end] for part in parts], dtype=torch.float64) for end in ("low", "high"))
    if len(parts) > 1:
        noise = torch.randn(len(parts), DRAWS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        draws = torch.tensor(values, dtype=torch.float64)[:, None] + noise * ((high - low) / (2 * WIDTH))[:, None]
        found = Estimate.over_trainings(values, draws, least=0.0)
        return {name: found.value, "low": found.low, "high": min(found.high, 1.0)}
    return {name: values[0], "low": float(low), "high": float(high)}


def _made_with(metrics: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("sampling", "solver", "evaluations", "weights_sha256", "data_sha256", "trained_at_revision", "git_revision")
    return {key: metrics.get(key) for key in kept}


def _told(key: str, metrics: Mapping[str, Any]) -> str:
    """A value as it is compared: of digits in a folder, what they are and not where they lay."""
    text = str(metrics[key])
    return text.rpartition(": ")[2] if key == "data" and text.startswith("folder ") else text


def _same_digits(rows: Sequence[Evaluated]) -> bool:
    """Trainings of one seed had the same digits in their silos, and the same are kept from them, wherever they came
    from."""
    for name in ("data_sha256", "reference_sha256"):  # control and private trainings have the latter alone
        found: dict[int, set[str]] = {}
        for by_seed in rows:
            for seed, metrics in by_seed.items():
                found.setdefault(seed, set()).update({metrics[name]} if metrics.get(name) is not None else ())
        if any(len(hashes) > 1 or (name == "reference_sha256" and not hashes) for hashes in found.values()):
            return False
    return True


def _alike(found: Mapping[str, Evaluated]) -> dict[str, Any]:
    """What all evaluations of a partition have in common, and warnings where they differ, or are of other trainings."""
    common: dict[str, Any] = {}
    warnings = other_trainings({method: by_seed for method, by_seed in found.items() if method != REAL})
    warnings += other_within_seeds(found, JUDGED_BY)
    for key in COMMON:
        # The control is nothing that a solver made.
        given = [by_seed for method, by_seed in found.items() if method != REAL or key not in ("solver", "evaluations")]
        every = [metrics for by_seed in given for metrics in by_seed.values()]
        values = list(dict.fromkeys(_told(key, metrics) for metrics in every if key in metrics))
        common[key] = values[0] if len(values) == 1 else values
        if len(values) > 1 and not (key == "data" and _same_digits(given)):
            warnings.append(f"{key} differs between methods: {', '.join(values)}; they cannot be compared")
    drawn: dict[str, list[str]] = {}
    for method, by_seed in found.items():
        for metrics in by_seed.values():
            drawn.setdefault(metrics.get("bootstrap", "combinations vary in number"), []).append(method)
    if len(drawn) > 1:
        each = "; ".join(f"{how}: {', '.join(dict.fromkeys(methods))}" for how, methods in drawn.items())
        warnings.append(f"intervals are of different bootstrap draws ({each}), and cannot be compared; values can")
    return {"common": common, "warnings": warnings}
