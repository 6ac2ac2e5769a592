"""Evaluations of any planners, compared on the same problems: folders that ``scripts/plan_eval.py`` or
``scripts/plan_table.py`` left, whatever was trained and however."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from dcfm.artefacts import git_revision
from dcfm.comparison import ComparisonError
from dcfm.markup import markdown_table
from dcfm_planner.comparison.collate import Difference, Share
from dcfm_planner.comparison.paired import holm
from dcfm_planner.comparison.records import METRICS, TRIALS, Outcomes, read_outcomes
from dcfm_planner.comparison.text import P_OF_SEVERAL, share, test_cells
from dcfm_planner.evaluation.problems import CELLS
from dcfm_planner.evaluation.report import composed_novel
from dcfm_planner.evaluation.trials import PLANNER_ARM

QUESTION: Final = ("protocol", "seed", "trials")
"""What evaluations must have in common to be compared; that the problems are the same is checked one by one."""

EXECUTION: Final = ("controller", "execution", "max_steps")
"""What belongs to a result beside its weights and its sampling: where it differs, a table says so."""

SAME_PLACE: Final = 1e-3
"""m that given starts and goals may differ by, since a plan of single precision holds them."""

COUNTING: Final = (
    "Success in %, [95 % interval] and successes/trials; trials solved at the start are left out, infeasible plans are "
    "failures. Differences are in percentage points, on the same problems, with a 95 % interval; p: exact two-sided "
    "McNemar test; p (Holm): corrected over all rows of the second table. Where there are several trainings, on the "
    "same problems, the intervals are over these too (hierarchical bootstrap of trainings and problems), and "
    f"{P_OF_SEVERAL}"
)


@dataclass(frozen=True)
class Planner:
    """What one planner, or one method after several trainings, did.

    Attributes:
        title: in the table.
        folders: one a training.
        outcomes: of each training, known and novel.
        metrics: of each training, ``metrics.json``.
    """

    title: str
    folders: tuple[Path, ...]
    outcomes: tuple[Mapping[tuple[str, str], Outcomes], ...]
    metrics: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, title: str, folders: Sequence[Path]) -> "Planner":
        """From the folders of its evaluations.

        Raises:
            ComparisonError: a folder holds no whole evaluation.
        """
        if twice := len(folders) - len({folder.resolve() for folder in folders}):
            raise ComparisonError(f"{title}: {twice} of {len(folders)} folders are named twice; give one a training")
        outcomes, metrics = [], []
        for folder in folders:
            try:
                metrics.append(json.loads((folder / METRICS).read_text("utf-8")))
                outcomes.append(read_outcomes(folder / TRIALS))
            except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
                raise ComparisonError(
                    f"{title}: {folder} holds no evaluation ({error}); give folders that scripts/plan_eval.py "
                    "wrote, or scripts/plan_table.py: <out>/<partition>/seed<k>/<method>/<protocol>"
                ) from error
            if missing := [cell for cell in CELLS if (PLANNER_ARM, cell) not in outcomes[-1]]:
                raise ComparisonError(f"{title}: {folder / TRIALS} has no trials of {' and '.join(missing)} pairs")
            _check_counts(folder, metrics[-1], outcomes[-1])
        return cls(title, tuple(folders), tuple(outcomes), tuple(metrics))

    def share(self, cell: str) -> Share:
        """Success on known or novel pairs."""
        return Share.of([found[PLANNER_ARM, cell] for found in self.outcomes])

    def minus(self, other: "Planner", cell: str) -> Difference:
        """Success minus the other's, training by training in the order of their folders.

        Raises:
            ComparisonError: they have not as many trainings, or were not asked the same.
        """
        if len(self.outcomes) != len(other.outcomes):
            raise ComparisonError(
                f"{self.title} has {len(self.outcomes)} folders and {other.title} {len(other.outcomes)}; trainings are "
                "compared in their order: give as many of each"
            )
        pairs = zip(self.outcomes, other.outcomes, strict=True)
        return Difference.of([(mine[PLANNER_ARM, cell], its[PLANNER_ARM, cell]) for mine, its in pairs])


def compare(ours: Sequence[Planner], others: Sequence[Planner], command: str) -> dict[str, Any]:
    """Each of ours against each of the others, on novel and on known pairs: one family of tests, corrected by Holm.

    Args:
        ours, others: what is compared.
        command: for the record.

    Raises:
        ComparisonError: what was not asked the same problems, or has a title twice.
    """
    planners = [*ours, *others]
    titles = [planner.title for planner in planners]
    if len(set(titles)) != len(titles):
        raise ComparisonError(f"titles {titles}: give each one once")
    _check_question(planners)
    _check_given(planners)
    tests = [
        {"ours": a.title, "other": b.title, "cell": cell, **asdict(a.minus(b, cell))}
        for cell, a, b in product(("novel", "known"), ours, others)
    ]
    corrected = holm([test["p"] for test in tests])
    return {
        "what": "success rates of planners on known and on novel combinations; differences are on the same problems",
        "command": command,
        "git_revision": git_revision(),
        "counting": COUNTING,
        "rows": [
            {
                "title": planner.title,
                **{cell: asdict(planner.share(cell)) for cell in CELLS},
                "made_with": [
                    {"folder": str(folder), **{name: metrics.get(name) for name in (*QUESTION, *_MADE_WITH)}}
                    for folder, metrics in zip(planner.folders, planner.metrics, strict=True)
                ],
            }
            for planner in planners
        ],
        "tests": [test | {"p_holm": p} for test, p in zip(tests, corrected, strict=True)],
        "warnings": _warnings(planners),
    }


_MADE_WITH: Final = (
    "method",
    "partition",
    "planner",
    *EXECUTION,
    "weights",
    "weights_sha256",
    "git_revision",
    "command",
)


def markdown(comparison: Mapping[str, Any]) -> str:
    """A comparison as a page."""
    rows = [[row["title"], *(share(row[cell]) for cell in CELLS), _sampling(row)] for row in comparison["rows"]]
    tests = [test_cells(test["ours"], test["other"], test) for test in comparison["tests"]]
    lines = [
        markdown_table(["planner", *CELLS, "sampling"], rows),
        "",
        markdown_table(["test", "pairs", "difference", "only first", "only second", "n", "p", "p (Holm)"], tests),
        "",
        comparison["counting"],
        "",
        *(f"Warning: {warning}\n" for warning in comparison["warnings"]),
        f"Made by `{comparison['command']}` at revision {comparison['git_revision']}.",
    ]
    return "\n".join(lines) + "\n"


def _sampling(row: Mapping[str, Any]) -> str:
    """How a planner was sampled, as far as its evaluations say."""
    ways = []
    for made in row["made_with"]:
        how = made["planner"] or {}
        weights = ", ".join(f"{weight:g}" for weight in how.get("guidance", ()))
        rule = {"composed": f"composed, w = {weights}"}.get(how.get("rule", ""), how.get("rule"))
        solved = f"{how['steps']} {how['solver']} steps" if "steps" in how else None
        ways.append("; ".join(filter(None, [rule, composed_novel(made), solved])))
    # Evaluations of before rules were recorded say the end of what later ones say.
    short = {way for way in ways for said in ways if way != said and said.endswith(way)}
    return " | ".join(dict.fromkeys(way for way in ways if way not in short))


def _check_question(planners: Sequence[Planner]) -> None:
    asked: dict[str, list[str]] = {}
    for planner in planners:
        for folder, metrics in zip(planner.folders, planner.metrics, strict=True):
            question = ", ".join(f"{name}={metrics.get(name)}" for name in QUESTION)
            asked.setdefault(question, []).append(str(folder))
    if len(asked) > 1:
        apart = "; ".join(f"{question} in {', '.join(folders)}" for question, folders in asked.items())
        raise ComparisonError(f"these were not asked the same problems: {apart}")


def _check_counts(folder: Path, metrics: Mapping[str, Any], outcomes: Mapping[tuple[str, str], Outcomes]) -> None:
    """An interrupted run can leave new trials beside old metrics."""
    for cell in CELLS:
        found = outcomes[PLANNER_ARM, cell]
        counted, stated = int(found.success[found.counted].sum()), metrics[cell]["success"]["k"]
        if counted != stated:
            raise ComparisonError(
                f"{folder}: {TRIALS} has {counted} successes on {cell} pairs, {METRICS} {stated}; they are of two "
                "evaluations: run it again"
            )


def _check_given(planners: Sequence[Planner]) -> None:
    if planners[0].metrics[0].get("protocol") != "given":
        return
    first = planners[0].outcomes[0]
    for planner, cell in product(planners, CELLS):
        for folder, outcomes in zip(planner.folders, planner.outcomes, strict=True):
            mine, its = first[PLANNER_ARM, cell].ends, outcomes[PLANNER_ARM, cell].ends
            if mine.shape != its.shape or not np.allclose(mine, its, rtol=0, atol=SAME_PLACE):
                raise ComparisonError(
                    f"these were not asked the same problems: starts or goals of {cell} pairs in {folder} are others "
                    f"than in {planners[0].folders[0]}"
                )


def _warnings(planners: Sequence[Planner]) -> list[str]:
    found = []
    for planner in planners:
        hashes = [metrics.get("weights_sha256") for metrics in planner.metrics]
        if len(set(hashes)) < len(hashes):
            found.append(f"{planner.title}: the same weights in several folders count as several trainings")
    for name in EXECUTION:
        groups: dict[str, list[str]] = {}
        for planner in planners:
            for metrics in planner.metrics:
                if name in metrics:  # older evaluations, and domains without controllers, say less
                    groups.setdefault(json.dumps(metrics[name], sort_keys=True), []).append(planner.title)
        if len(groups) > 1:
            apart = " | ".join(f"{value} for {', '.join(dict.fromkeys(titles))}" for value, titles in groups.items())
            found.append(f"{name} differs: {apart}")
    return found
