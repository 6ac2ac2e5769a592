"""All methods side by side: train what is missing, evaluate it, compare novel utility with DDM+L's, draw Figures 8, 9.

An entry is a training folder's method: ``<runs>/<partition>/seed<k>/published/<method>``, its results under
``<out>/<partition>/seed<k>/<method>``. Every step leaves its result on disk when it is done, so that an interrupted
table goes on where it was. An entry that fails leaves all others alone; one that failed, is damaged or is not there is
shown as not run.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from omegaconf import DictConfig

from dcfm import comparison, records
from dcfm.artefacts import git_revision, write_text_atomically
from dcfm.comparison import (
    ComparisonError,
    Entry,
    attempt,
    check_list,
    check_recipes,
    check_weights,
    entries_of,
    other_trainings,
    other_within_seeds,
)
from dcfm.curves import Watch
from dcfm.methods import registry
from dcfm.metrics.bootstrap import Estimate, ratio
from dcfm.progress import StageProgress, silent
from dcfm.published import resolve_device
from dcfm.records import write_json
from dcfm.silos import PARTITIONS
from dcfm_xray.alike import JUDGED_BY, other_judges, paired, unlike
from dcfm_xray.evaluation import PICTURES, evaluate
from dcfm_xray.evaluation_settings import EvaluationSettings
from dcfm_xray.figures import draw_bars, draw_grid, read_pictures
from dcfm_xray.real import METRICS, REAL, RECORD
from dcfm_xray.text import EQUAL, GROUPS, distance_entry, latex, markdown, sets_table, utility_entry
from dcfm_xray.training import prepare, train

BASELINE: Final = "ddm_l"
"""What ratios are taken to."""


@dataclass(frozen=True)
class TableSettings:
    """What to compare.

    Args:
        methods: in the table's order.
        partitions, seeds: of the trainings.
        runs: folder of trainings.
        out: folder of results.
        real: folder of the classifiers trained on real pictures, ``<partition>/seed<k>/real``; ``None``: ``runs``.
        train, evaluate: do what is missing; else take what is there.
        training: overrides of ``configs/xray/train.yaml`` for what is trained, and for where data and autoencoder lie.
        evaluation: how.
        redo: evaluate again what was evaluated with other weights or settings, in place of an error.
        device: ``auto``, ``cpu``, ``cuda``.

    Raises:
        ValueError: a value that cannot be.
    """

    methods: tuple[str, ...]
    partitions: tuple[str, ...] = ("noniid",)
    seeds: tuple[int, ...] = (0,)
    runs: Path = Path("runs/xray/table")
    out: Path = Path("runs/xray/table/results")
    real: Path | None = None
    train: bool = True
    training: tuple[str, ...] = ()
    evaluate: bool = True
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    redo: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        check_list("methods", self.methods, registry.names())
        check_list("partitions", self.partitions, PARTITIONS)
        check_list("seeds", self.seeds)
        resolve_device(self.device)

    def results(self, entry: Entry) -> Path:
        """The folder of an entry's results; the real classifier's is beside its training, or in ``real``."""
        return entry.training(self.real or self.runs) / REAL if entry.method == REAL else entry.results(self.out)

    def copied(self, entry: Entry) -> bool:
        """Whether an entry's results can only be a copy, of which no record need be there: nothing is to be made, and
        of its trainings there is none that could have been judged again."""
        return not (self.train or self.evaluate) and not (entry.training(self.runs) / "published").is_dir()


def make_table(settings: TableSettings, command: str, on_progress: StageProgress = silent) -> dict[str, Any]:
    """Do what is missing, collect, and write ``table.json``, ``table.md``, ``table.tex`` and figures.

    Args:
        settings: what to compare.
        command: for the record.
        on_progress: see :data:`~dcfm.progress.StageProgress`.

    Returns:
        The content of ``table.json``; ``failed`` names the entries that could not be trained or evaluated.

    Raises:
        ValueError: settings of a training that cannot be, or that what is trained was not trained with, before any
            work; all entries failed, and nothing is written.
    """
    failed: dict[str, str] = {}
    entries = entries_of(settings.partitions, settings.seeds, settings.methods)
    if settings.train:
        check_recipes(entries, settings.runs, partial(training_config, settings))
        missing = [entry for entry in entries if not entry.trained(settings.runs)]
        for entry in {entry.training(settings.runs): entry for entry in missing}.values():
            prepare(training_config(settings, entry))  # a split that one seed does not give is an error now
    for entry in entries:
        if settings.train or entry.trained(settings.runs):
            attempt(str(entry), lambda entry=entry: _complete(settings, entry, command, on_progress), failed)
    found = collect(settings, failed)
    summary = summarise(settings, command, found, failed)
    comparison.check_any(summary, failed)
    settings.out.mkdir(parents=True, exist_ok=True)
    _write(settings, summary, found)
    return summary


def training_config(settings: TableSettings, entry: Entry) -> DictConfig:
    """The configuration of an entry's training.

    Raises:
        dcfm.comparison.ComparisonError: overrides that the configuration does not take.
    """
    return comparison.training_config(
        entry, settings.runs, "dcfm_configs.xray", "train", device=settings.device, training=settings.training
    )


def _complete(settings: TableSettings, entry: Entry, command: str, on_progress: StageProgress) -> None:
    def show(what: str, done: int, total: int) -> None:
        on_progress(f"{entry}: {what}", done, total)

    config = training_config(settings, entry)
    if not entry.trained(settings.runs):
        train(config, progress=Watch.of(config), on_progress=show)
    if settings.evaluate:
        # Where these lie now: they may have been moved since the training.
        given = (config.path, config.autoencoder, config.pretrained)
        path, autoencoder, pretrained = (None if value is None else Path(value) for value in given)
        evaluate(
            entry.published(settings.runs),
            settings.results(entry),
            settings.evaluation,
            command=command,
            device=settings.device,
            redo=settings.redo,
            real=settings.results(Entry(entry.partition, REAL, entry.seed)),
            path=path,
            autoencoder=autoencoder,
            pretrained=pretrained,
            on_progress=show,
        )


def collect(settings: TableSettings, failed: dict[str, str]) -> dict[Entry, dict[str, Any]]:
    """The metrics that are there of the entries that did not fail, and of the real classifiers of their trainings.

    What cannot be read is added to ``failed``. What an entry that failed left there earlier was not made as asked for.
    """
    found: dict[Entry, dict[str, Any]] = {}
    for partition in settings.partitions:
        for seed in settings.seeds:
            entries = [Entry(partition, method, seed) for method in settings.methods]
            for entry in entries:
                _collect_one(settings, entry, found, failed)
            # Each evaluation checks the real classifier; where all failed, nobody did.
            if any(entry in found for entry in entries) or not any(str(entry) in failed for entry in entries):
                _collect_one(settings, Entry(partition, REAL, seed), found, failed)
    return found


def _collect_one(
    settings: TableSettings, entry: Entry, found: dict[Entry, dict[str, Any]], failed: dict[str, str]
) -> None:
    def read() -> None:
        if (metrics := _read(settings.results(entry), copied=settings.copied(entry))) is not None:
            check_weights(entry, metrics, settings.runs)
            found[entry] = metrics

    if str(entry) not in failed:
        attempt(str(entry), read, failed)


def summarise(
    settings: TableSettings, command: str, found: Mapping[Entry, Mapping[str, Any]], failed: Mapping[str, str]
) -> dict[str, Any]:
    """All numbers of the table.

    Args:
        settings: what is compared.
        command: for the record.
        found: see :func:`collect`.
        failed: why entries are not there.
    """
    return {
        "what": "utility, precision and distances, method by method; intervals 95 %",
        "command": command,
        "git_revision": git_revision(),
        "training_seeds": list(settings.seeds),
        "titles": {name: registry.make(name).title for name in settings.methods} | {REAL: "real pictures"},
        "tables": [_table(settings, partition, found) for partition in settings.partitions],
        "failed": dict(failed),
    }


def _table(settings: TableSettings, partition: str, every_entry: Mapping[Entry, Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, dict[int, Any]] = {}
    for method in (*settings.methods, REAL):
        there = {seed: every_entry.get(Entry(partition, method, seed)) for seed in settings.seeds}
        found[method] = {seed: metrics for seed, metrics in there.items() if metrics is not None}
    every = [metrics for by_seed in found.values() for metrics in by_seed.values()]
    warnings = other_trainings(found) + unlike({method: list(by_seed.values()) for method, by_seed in found.items()})
    warnings += other_judges(found) + other_within_seeds(found, JUDGED_BY)
    ratios, without = [], []
    for method in registry.contenders(settings.methods):
        both = [seed for seed in found.get(method, {}) if seed in found.get(BASELINE, {})]
        common = [seed for seed in both if paired(found[method][seed], found[BASELINE][seed])]
        if unlike({name: [found[name][s] for s in common] for name in (method, BASELINE) if common}):
            continue  # a ratio of what was not judged alike says nothing
        for measure in ("utility", EQUAL) if common else ():
            pair = [_mean_of([found[name][s] for s in common], "novel", measure) for name in (method, BASELINE)]
            if None in pair:
                continue
            ours, baseline = pair
            of = {"method": method, "baseline": BASELINE, "measure": measure, "training_seeds": common}
            if all(min(entry.value, *entry.draws) > 0 for entry in pair):  # type: ignore[union-attr]
                ratios.append(of | dict(ratio(ours, baseline).as_dict()))  # type: ignore[arg-type]
            else:
                without.append(of)
    return {
        "partition": partition,
        "data": _each_of(every, "data") or "nothing run",
        "knows_patients": all(metrics.get("test_patients", 0) is not None for metrics in every),
        "rows": [_row(method, by_seed) for method, by_seed in found.items()],
        "ratios": ratios,
        "without_ratio": without,
        "warnings": warnings,
    }


def _read(folder: Path, copied: bool) -> dict[str, Any] | None:
    path = folder / METRICS
    if records.read(folder / RECORD, only=[METRICS]) is None and not (copied and path.is_file()):
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ComparisonError(f"{path} is damaged ({error}); copy it again") from error


def _row(method: str, by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    every = list(by_seed.values())
    row: dict[str, Any] = {"method": method, "run": bool(every), "trainings": len(every)}
    row["training_seeds"] = list(by_seed)
    for name in ("utility", EQUAL, "precision", "fid", "kid"):
        row[name] = {}
        for group in GROUPS:
            found = _mean_of(every, group, name)
            row[name][group] = None if found is None else dict(found.as_dict())
    row["precision_sets"] = {group: _predicted(every, group) for group in GROUPS}
    row["specificity"] = _specificity(every)
    row["sampling"] = _each_of(every, "sampling")
    return row


def _predicted(every: Sequence[Mapping[str, Any]], group: str) -> str | None:
    """Of how many sets precision is a mean, of how many there are, the fewest of the trainings; ``None`` of all."""
    found = [of for metrics in every if (of := (metrics.get("utility") or {}).get(group)) is not None]
    fewest = max((of.get("sets_never_predicted", 0) for of in found), default=0)
    return f"{found[0]['sets'] - fewest} of {found[0]['sets']} sets" if fewest else None


def _specificity(every: Sequence[Mapping[str, Any]]) -> str:
    """On test images in %, with the classifiers' own thresholds: the mean over trainings and findings that some image
    lacks, the least."""
    found = [value for metrics in every for value in metrics.get("specificity_on_test", {}).values()]
    values = [value for value in found if value is not None]
    return f"{100 * sum(values) / len(values):.1f} (least {100 * min(values):.0f})" if values else "-"


def _each_of(every: Sequence[Mapping[str, Any]], name: str) -> str:
    """What the trainings say of ``name``, each answer once."""
    return "; ".join(dict.fromkeys(str(metrics.get(name, "")) for metrics in every))


def _mean_of(every: Sequence[Mapping[str, Any]], group: str, name: str) -> Estimate | None:
    """The mean over trainings, with an interval over trainings and judging; ``None`` where one of them has no value."""
    pick: Callable[..., Any] = utility_entry if name in ("utility", EQUAL, "precision") else distance_entry
    parts = [entry for metrics in every if (entry := pick(metrics, group, name)) is not None]
    if not parts or len(parts) < len(every):  # a mean of fewer would stand in a row of more
        return None
    length = min(len(part["draws"]) for part in parts)
    draws = torch.tensor([part["draws"][:length] for part in parts], dtype=torch.float64)
    return Estimate.over_trainings([part["value"] for part in parts], draws, least=None if name == "kid" else 0.0)


def _write(settings: TableSettings, summary: Mapping[str, Any], found: Mapping[Entry, Mapping[str, Any]]) -> None:
    out = settings.out
    write_json(out / "table.json", summary)
    write_text_atomically(out / "table.md", markdown(summary))
    write_text_atomically(out / "table.tex", latex(summary))
    for table in summary["tables"]:
        bars = out / f"bars-{table['partition']}.png"
        bars.unlink(missing_ok=True)  # those of an earlier table are not of this one
        if any(row["run"] for row in table["rows"]):
            draw_bars(table, summary["titles"], bars)
        for seed in settings.seeds:
            rows = {}
            for method in settings.methods:
                entry = Entry(table["partition"], method, seed)
                path = settings.results(entry) / PICTURES
                if entry in found and path.is_file():
                    rows[summary["titles"][method]] = read_pictures(path)
            grid = out / f"grid-{table['partition']}-seed{seed}.png"
            copied = settings.copied(Entry(table["partition"], REAL, seed)) and any(
                Entry(table["partition"], method, seed) in found for method in settings.methods
            )
            if rows or not copied:
                grid.unlink(missing_ok=True)  # beside a copy, which mostly comes without pictures, it is the copy's
            if rows:
                draw_grid(rows, grid)
            sets = out / f"sets-{table['partition']}-seed{seed}.md"
            sets.unlink(missing_ok=True)
            entries = {method: Entry(table["partition"], method, seed) for method in (*settings.methods, REAL)}
            if judged := {summary["titles"][m]: found[entry] for m, entry in entries.items() if entry in found}:
                write_text_atomically(sets, sets_table(judged))
