"""What is compared: entries, each under every protocol."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcfm.artefacts import MODEL, load
from dcfm.comparison import ComparisonError, Entry, check_list, entries_of, trained_with
from dcfm.methods import registry
from dcfm.methods.method import RULES
from dcfm.silos import PARTITIONS
from dcfm_planner.evaluation.problems import make_problems
from dcfm_planner.evaluation.run import EvaluationSettings
from dcfm_planner.models import Sampling, resolve_device

CEILING = "pooled"
"""The method without privacy, to which all others have a gap."""

CONTROLS = {"paper": (), "given": ("null", "wrong")}
"""Controls that run with each protocol: where start and goal are held, what do the labels add?"""


def provenance(entry: Entry, runs: Path) -> dict[str, Any] | None:
    """Hashes of an entry's weights' file, of its silos' data and of the settings that it was trained with, the settings
    themselves (``recipe``), and the revision of the code that trained it; ``None`` if it is not trained.

    Raises:
        dcfm.artefacts.ArtefactError: what is there is damaged.
    """
    if not entry.trained(runs):
        return None
    found = load(entry.published(runs))
    recipe = trained_with(found.config)
    return {
        "weights_sha256": found.metadata["files"][MODEL],
        "data_sha256": found.metadata["data_hash"],
        "recipe_sha256": hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
        "recipe": recipe,
        "git_revision": found.metadata["git_revision"],
    }


@dataclass(frozen=True)
class ComparisonSettings:
    """What to compare and how.

    Args:
        methods: names of registered methods, in the table's order.
        partitions, protocols: in the table's order.
        seeds: of trainings.
        trials, given_trials: for the known pairs, and as many for the novel ones; ``given_trials`` (``None``: as many)
            are those of protocol ``given``.
        seed: of the evaluation's noise.
        selection_seed: of the noise that sampling is chosen with; another one than ``seed``.
        selection_plans: plans a known pair that sampling is chosen with.
        rules: how methods may be sampled (:data:`dcfm.methods.method.RULES`); which of the ways is chosen for each.
        runs: folder of trainings.
        out: folder of results.
        train, evaluate: do what is missing; else take what is there.
        training: overrides of ``configs/train_planner.yaml`` for what is trained.
        redo: run again what was run with other weights or settings, in place of an error.
        max_entries: how many entries at most are worked on; ``None`` for all.
        device, workers, max_steps: see :class:`~dcfm_planner.evaluation.run.EvaluationSettings`.

    Raises:
        ComparisonError, ValueError: a value that cannot be.
    """

    methods: tuple[str, ...]
    partitions: tuple[str, ...] = ("noniid", "iid")
    seeds: tuple[int, ...] = (0,)
    protocols: tuple[str, ...] = ("paper", "given")
    trials: int = 300
    given_trials: int | None = None
    seed: int = 0
    selection_seed: int = 1
    selection_plans: int = 16
    rules: tuple[str, ...] = RULES
    runs: Path = Path("runs/table")
    out: Path = Path("runs/table/results")
    train: bool = True
    evaluate: bool = True
    training: tuple[str, ...] = ()
    redo: bool = False
    max_entries: int | None = None
    device: str = "auto"
    workers: int | None = None
    max_steps: int = 200

    def __post_init__(self) -> None:
        for name, given, allowed in (
            ("methods", self.methods, registry.names()),
            ("partitions", self.partitions, PARTITIONS),
            ("protocols", self.protocols, tuple(CONTROLS)),
            ("rules", self.rules, RULES),
            ("seeds", self.seeds, None),
        ):
            check_list(name, given, allowed)
        if self.selection_seed == self.seed or self.selection_seed < 0:
            raise ComparisonError(
                f"selection_seed={self.selection_seed}, seed={self.seed}: sampling is chosen with other noise than it "
                "is evaluated with; give two different seeds of 0 or more"
            )
        if self.redo and not self.evaluate:
            raise ComparisonError("redo=true evaluates again, and evaluate=false does not evaluate; give one of them")
        if self.selection_plans < 1:
            raise ComparisonError(f"selection_plans={self.selection_plans}: give at least 1 plan a known pair")
        if self.max_entries is not None and self.max_entries < 1:
            raise ComparisonError(f"max_entries={self.max_entries}: give at least 1, or null for all")
        resolve_device(self.device)
        for protocol in self.protocols:
            self.evaluation("", protocol, None)

    def entries(self) -> list[Entry]:
        """All entries, in the order in which they are run."""
        return entries_of(self.partitions, self.seeds, self.methods)

    def trials_of(self, protocol: str) -> int:
        """Trials of the known pairs under a protocol, and as many of the novel ones."""
        return self.given_trials if protocol == "given" and self.given_trials is not None else self.trials

    def evaluation(self, weights: str, protocol: str, sampling: Sampling | None) -> EvaluationSettings:
        """The settings of one evaluation."""
        trials = self.trials_of(protocol)
        make_problems(protocol, trials, self.seed)  # too many trials are an error now
        return EvaluationSettings(
            weights=weights,
            protocol=protocol,
            trials=trials,
            seed=self.seed,
            device=self.device,
            workers=self.workers,
            controls=CONTROLS[protocol],
            sampling=sampling,
            max_steps=self.max_steps,
        )
