"""From the entries' records and trials to the numbers of the table. No planner is needed, and nothing is run.

How it is counted. A success is that of :mod:`dcfm_planner.evaluation.report`; trials solved at the start are left out,
from a comparison where they were in either of the two. All trainings are tried on the same problems. A rate of one
training has Wilson's 95 % interval, of several the hierarchical bootstrap's, never narrower than Wilson's over as many
trials as there are problems (at 0 and 100 % a bootstrap has no width). Two methods are compared on the same problems
after trainings with the same seeds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from dcfm.comparison import ComparisonError
from dcfm.metrics.intervals import wilson
from dcfm_planner.comparison.bootstrap import hierarchical_interval
from dcfm_planner.comparison.paired import Counts, sign_flip
from dcfm_planner.comparison.records import METRICS, TRIALS, Outcomes, read_outcomes
from dcfm_planner.comparison.settings import ComparisonSettings
from dcfm_planner.comparison.state import State, look_at_all
from dcfm_planner.evaluation.trials import PLANNER_ARM
from dcfm_planner.quadrants import NOVEL_PAIRS, QUADRANTS

BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Share:
    """``k`` successes of ``n`` trials, with a 95 % interval of the rate (``None`` without trials)."""

    k: int
    n: int
    rate: float | None
    low: float
    high: float
    interval: str

    @classmethod
    def of(cls, trainings: Sequence[Outcomes]) -> "Share":
        """Of each training's trials.

        Raises:
            ComparisonError: they were not asked the same.
        """
        _check_same(trainings)
        filled = [found for found in trainings if found.counted.any()]
        k = sum(int(found.success[found.counted].sum()) for found in filled)
        n = sum(int(found.counted.sum()) for found in filled)
        low, high = wilson(k, n)
        interval = "Wilson"
        if len(filled) > 1:
            success, counted = (np.stack([getattr(found, name) for found in filled]) for name in ("success", "counted"))
            problems = int(counted.any(0).sum())
            floor = wilson(problems * k / n, problems)
            (low, high), interval = _widened(floor, success, counted), "hierarchical bootstrap"
        return cls(k, n, k / n if n else None, low, high, interval)


@dataclass(frozen=True)
class Difference:
    """The first's success rate minus the second's, on the same problems, with a 95 % interval.

    Attributes:
        n: problems compared, over all trainings.
        first_only, second_only: discordant problems.
        p: of the exact two-sided McNemar test; of several trainings, of the sign-flip test of the problems
            (:mod:`dcfm_planner.comparison.paired`).
    """

    n: int
    difference: float | None
    low: float
    high: float
    interval: str
    first_only: int
    second_only: int
    p: float

    @classmethod
    def of(cls, pairs: Sequence[tuple[Outcomes, Outcomes]]) -> "Difference":
        """Of each training's outcomes of the first and of the second.

        Raises:
            ComparisonError: the two were not asked the same.
        """
        _check_same([outcomes for pair in pairs for outcomes in pair])
        filled = [(a.success, b.success, a.counted & b.counted) for a, b in pairs if (a.counted & b.counted).any()]
        none = np.empty(0, dtype=bool)
        counts = Counts.of(
            np.concatenate([none, *(first[both] for first, _, both in filled)]),
            np.concatenate([none, *(second[both] for _, second, both in filled)]),
        )
        low, high = counts.interval()
        interval, p = "Newcombe", counts.p_value()
        if len(filled) > 1:
            first, second, both = (np.stack(part) for part in zip(*filled, strict=True))
            differences = np.where(both, first.astype(np.int64) - second, 0)
            floor = counts.interval(problems=int(both.any(0).sum()))
            (low, high), interval = _widened(floor, differences, both), "hierarchical bootstrap"
            p = sign_flip(differences.sum(0))
        return cls(
            counts.n,
            counts.difference,
            low,
            high,
            interval,
            counts.first_only,
            counts.second_only,
            p,
        )


def _check_same(evaluations: Sequence[Outcomes]) -> None:
    for other in evaluations[1:]:
        if other.labels != evaluations[0].labels or not np.array_equal(other.problem, evaluations[0].problem):
            raise ComparisonError("two evaluations that were not asked the same problems cannot be compared")


def _widened(
    floor: tuple[float, float],
    values: Shaped[np.ndarray, "trainings problems"],
    counted: Bool[np.ndarray, "trainings problems"],
) -> tuple[float, float]:
    """The hierarchical bootstrap's interval, at least as wide as ``floor``."""
    low, high = hierarchical_interval(values.astype(np.float64), counted, np.random.default_rng(BOOTSTRAP_SEED))
    return min(low, floor[0]), max(high, floor[1])


@dataclass(frozen=True)
class Evaluated:
    """A method's evaluations after all trainings on a partition, under one protocol.

    Attributes:
        outcomes: by training seed, then by (arm, known or novel).
        metrics: ``metrics.json`` by training seed.
        states: by training seed.
    """

    partition: str
    protocol: str
    method: str
    outcomes: Mapping[int, Mapping[tuple[str, str], Outcomes]]
    metrics: Mapping[int, Mapping[str, Any]]
    states: Mapping[int, State]

    def after(self, seed: int) -> "Evaluated":
        """After the training with one seed alone."""
        return replace(self, outcomes={seed: self.outcomes[seed]})

    def share(self, cell: str, arm: str = PLANNER_ARM) -> Share:
        """Success on known or novel pairs."""
        return Share.of([found[arm, cell] for found in self.outcomes.values()])

    def minus(self, other: "Evaluated", cell: str, arms: tuple[str, str] = (PLANNER_ARM, PLANNER_ARM)) -> Difference:
        """Success of this one minus that of the other, after trainings with the same seeds."""
        common = [seed for seed in self.outcomes if seed in other.outcomes]
        mine, its = arms
        return Difference.of([(self.outcomes[s][mine, cell], other.outcomes[s][its, cell]) for s in common])

    def pairs(self) -> dict[tuple[str, str], Share]:
        """Success by pair of quadrants."""
        return {(s, t): self._pair((s, t)) for s in QUADRANTS for t in QUADRANTS}

    def _pair(self, pair: tuple[str, str]) -> Share:
        cell = "novel" if pair in NOVEL_PAIRS else "known"
        trainings = [found[PLANNER_ARM, cell] for found in self.outcomes.values()]
        asked = np.array([labels == pair for labels in trainings[0].labels], dtype=bool)
        return Share.of([replace(found, counted=found.counted & asked) for found in trainings])


@dataclass(frozen=True)
class Collated:
    """All evaluations that are done, and all entries with what is there of them."""

    settings: ComparisonSettings
    states: Sequence[State]
    evaluated: Mapping[tuple[str, str, str], Evaluated]

    def at(self, partition: str, protocol: str) -> list[Evaluated]:
        """The evaluated methods of a partition and a protocol, in the table's order."""
        keys = [(partition, protocol, method) for method in self.settings.methods]
        return [self.evaluated[key] for key in keys if key in self.evaluated]


def collect(settings: ComparisonSettings) -> Collated:
    """Read what is done.

    Raises:
        ComparisonError: results do not match what is asked for, or are damaged.
    """
    states = look_at_all(settings)
    found: dict[tuple[str, str, str], dict[int, State]] = {}
    for state in states:
        for protocol in state.evaluations:
            found.setdefault((state.entry.partition, protocol, state.entry.method), {})[state.entry.seed] = state
    evaluated = {}
    for key, by_seed in found.items():
        folders = {seed: state.entry.results(settings.out) / key[1] for seed, state in by_seed.items()}
        evaluated[key] = Evaluated(
            *key,
            outcomes={seed: read_outcomes(folder / TRIALS) for seed, folder in folders.items()},
            metrics={seed: json.loads((folder / METRICS).read_text("utf-8")) for seed, folder in folders.items()},
            states=by_seed,
        )
    return Collated(settings, states, evaluated)
