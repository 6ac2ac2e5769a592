"""Choosing the toy's settings on other geometries by known combinations, some of them withheld from training.

A withheld combination is one that some silo does hold and could score, but that no silo trains on: it stands in for the
novel ones, which are never looked at (:class:`dcfm.selection.KnownOnly` refuses). A candidate's score is the share of
samples in the queried mode, observed and withheld combinations weighing the same, by the better sampling rule.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from jaxtyping import Int
from torch import Tensor

from dcfm.methods import registry
from dcfm.methods.method import RULES
from dcfm.selection import Selection, select
from dcfm.toy.cell import Cell
from dcfm.toy.problem import make_problem
from dcfm.toy.variants import Variant

CRITERION: Final = (
    "samples within the 99 % radius of the queried mode; known combinations only, observed and withheld ones weighing "
    "the same; the better of the sampling rules"
)


def read_candidates(given: Mapping[str, Any]) -> dict[str, list[Variant]]:
    """Candidates by method from a configuration: ``{method: {name: {training: ..., settings: ...}}}``.

    Raises:
        ValueError: an unknown method, or something other than ``training`` and ``settings``.
    """
    found = {}
    for method, candidates in given.items():
        if method not in registry.names():
            raise ValueError(f"unknown method {method!r}; the methods are {', '.join(registry.names())}")
        if not isinstance(candidates, Mapping) or not candidates:
            raise ValueError(f"{method}: give candidates by name, each with what it changes")
        for name, changes in candidates.items():
            if not isinstance(changes, Mapping) or set(changes) - {"training", "settings"}:
                raise ValueError(f"{method}.{name}={changes!r}; a candidate has the keys training and settings")
            if wrong := {key: value for key, value in changes.items() if not isinstance(value, Mapping)}:
                raise ValueError(
                    f"{method}.{name}={wrong}; training and settings hold what they change by name, such as "
                    "{training: {student: {weight: 2.0}}}"
                )
        found[method] = [
            Variant(str(name), method, changes.get("training", {}), changes.get("settings", {}))
            for name, changes in candidates.items()
        ]
    return found


def choose(variants: Sequence[Variant], records: Sequence[Mapping[str, Any]], cells: Sequence[Cell]) -> Selection:
    """The best of one method's candidates over all problems."""

    def score(variant: Variant, known: Int[Tensor, "m k"]) -> tuple[int, int]:
        found = [record[f"{variant.method}/{variant.name}"] for record in records]
        return max((_balanced(found, rule) for rule in RULES), key=lambda kn: kn[0] / kn[1])

    known = torch.cat([make_problem(cell.problem).known for cell in cells]) if _same_size(cells) else torch.empty(0)
    return select(
        {variant.name: variant for variant in variants},
        score,
        known,
        settings={v.name: {"training": dict(v.training), "settings": dict(v.settings)} for v in variants},
        criterion=CRITERION,
    )


def _same_size(cells: Sequence[Cell]) -> bool:
    sizes = {cell.problem.attributes for cell in cells}
    if len(sizes) != 1:
        raise ValueError(f"the problems have {sorted(sizes)} attributes; choose on problems with equally many")
    return True


def _balanced(found: Sequence[Mapping[str, Any]], rule: str) -> tuple[int, int]:
    """Hits of both kinds with equal weight, as successes of as many trials as there were observed and withheld."""
    rates, trials = [], 0
    for kind in ("observed", "withheld"):
        k, n = (sum(record[rule][kind][i] for record in found) for i in range(2))
        if n:
            rates.append(k / n)
            trials += n
    return round(trials * sum(rates) / len(rates)), trials
