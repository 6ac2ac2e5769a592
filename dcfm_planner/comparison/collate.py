"""From the entries' records and trials to the numbers of the table. No planner is needed, and nothing is run.

How it is counted. A success is that of :mod:`dcfm_planner.evaluation.report`; trials solved at the start are left out,
from a comparison where they were in either of the two. A rate of one training has Wilson's 95 % interval, of several
the hierarchical bootstrap's, never narrower than Wilson's over all trials (at 0 and 100 % a bootstrap has no width).
Two methods are compared on the same problems after trainings with the same seeds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from dcfm.comparison import ComparisonError
from dcfm.metrics.intervals import wilson
from dcfm_planner.comparison.bootstrap import hierarchical_interval
from dcfm_planner.comparison.paired import Counts
from dcfm_planner.comparison.records import METRICS, TRIALS, Outcomes, read_outcomes
from dcfm_planner.comparison.settings import ComparisonSettings
from dcfm_planner.comparison.state import State, look_at_all
from dcfm_planner.evaluation.problems import CELLS
from dcfm_planner.evaluation.trials import PLANNER_ARM
from dcfm_planner.quadrants import QUADRANTS

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
    def of(cls, trainings: Sequence[Bool[np.ndarray, " _"]]) -> "Share":
        """Of each training's successes."""
        filled = [successes for successes in trainings if len(successes)]
        k, n = sum(int(s.sum()) for s in filled), sum(map(len, filled))
        low, high = wilson(k, n)
        interval = "Wilson"
        if len(filled) > 1:
            drawn = _bootstrap([s.astype(np.float64) for s in filled])
            low, high, interval = min(low, drawn[0]), max(high, drawn[1]), "hierarchical bootstrap"
        return cls(k, n, k / n if n else None, low, high, interval)


@dataclass(frozen=True)
class Difference:
    """The first's success rate minus the second's, on the same problems, with a 95 % interval.

    Attributes:
        n: problems compared, over all trainings.
        first_only, second_only: discordant problems.
        p: of the exact two-sided McNemar test; the problems of all trainings count alike.
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
        firsts, seconds = [], []
        for first, second in pairs:
            if first.labels != second.labels or not np.array_equal(first.problem, second.problem):
                raise ComparisonError("two evaluations that were not asked the same problems cannot be compared")
            both = first.counted & second.counted
            if both.any():
                firsts.append(first.success[both])
                seconds.append(second.success[both])
        none = np.empty(0, dtype=bool)
        counts = Counts.of(np.concatenate([none, *firsts]), np.concatenate([none, *seconds]))
        low, high = counts.interval()
        interval = "Newcombe"
        if len(firsts) > 1:
            drawn = _bootstrap([a.astype(np.float64) - b for a, b in zip(firsts, seconds, strict=True)])
            low, high, interval = min(low, drawn[0]), max(high, drawn[1]), "hierarchical bootstrap"
        return cls(
            counts.n,
            counts.difference,
            low,
            high,
            interval,
            counts.first_only,
            counts.second_only,
            counts.p_value(),
        )


def _bootstrap(groups: Sequence[np.ndarray]) -> tuple[float, float]:
    return hierarchical_interval(groups, np.random.default_rng(BOOTSTRAP_SEED))


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
        return Share.of([_counted(found[arm, cell]) for found in self.outcomes.values()])

    def minus(self, other: "Evaluated", cell: str, arms: tuple[str, str] = (PLANNER_ARM, PLANNER_ARM)) -> Difference:
        """Success of this one minus that of the other, after trainings with the same seeds."""
        common = [seed for seed in self.outcomes if seed in other.outcomes]
        mine, its = arms
        return Difference.of([(self.outcomes[s][mine, cell], other.outcomes[s][its, cell]) for s in common])

    def pairs(self) -> dict[tuple[str, str], Share]:
        """Success by pair of quadrants."""
        found: dict[tuple[str, str], list[np.ndarray]] = {(s, t): [] for s in QUADRANTS for t in QUADRANTS}
        for by_cell in self.outcomes.values():
            for cell in CELLS:
                outcomes = by_cell[PLANNER_ARM, cell]
                for pair, trials in found.items():
                    asked = np.array([labels == pair for labels in outcomes.labels], dtype=bool)
                    trials.append(outcomes.success[asked & outcomes.counted])
        return {pair: Share.of(trials) for pair, trials in found.items()}


def _counted(outcomes: Outcomes) -> Bool[np.ndarray, " _"]:
    return outcomes.success[outcomes.counted]


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
