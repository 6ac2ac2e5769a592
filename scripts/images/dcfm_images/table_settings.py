"""What the table compares: cells, each a method trained on a partition with a seed."""

from dataclasses import dataclass, field
from pathlib import Path

from dcfm.methods import registry
from dcfm.published import resolve_device
from dcfm.silos import PARTITIONS
from dcfm_images.evaluation_settings import EvaluationError, EvaluationSettings

REAL = "real"
"""In place of a method: real digits of the silos, coloured as asked for; what a perfect model would score."""


@dataclass(frozen=True)
class Cell:
    """One cell of the table."""

    partition: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.partition}/seed{self.seed}/{self.method}"

    def training(self, runs: Path) -> Path:
        """The folder of all trainings that share its silos."""
        return runs / self.partition / f"seed{self.seed}"

    def published(self, runs: Path) -> Path:
        """The folder of its trained model."""
        return self.training(runs) / "published" / self.method

    def results(self, out: Path) -> Path:
        """The folder of its evaluation."""
        return out / self.partition / f"seed{self.seed}" / self.method


@dataclass(frozen=True)
class TableSettings:
    """What to compare and how.

    Args:
        methods: names of registered methods, in the table's order.
        partitions: in the table's order.
        seeds: of trainings.
        runs: folder of trainings, ``<partition>/seed<k>/published/<method>``.
        out: folder of results.
        train, evaluate: do what is missing; else take what is there.
        training: overrides of ``configs/images/train.yaml`` for what is trained.
        evaluation: how models are evaluated.
        digits, folder: where real digits come from, if not from where the trainings took them.
        redo: evaluate again what was evaluated with other weights or settings, in place of an error.
        max_cells: how many cells at most are worked on; ``None`` for all.
        device: ``auto``, ``cpu``, ``cuda``.

    Raises:
        ValueError: a value that cannot be.
    """

    methods: tuple[str, ...]
    partitions: tuple[str, ...] = ("iid", "noniid")
    seeds: tuple[int, ...] = (0,)
    runs: Path = Path("runs/images/table")
    out: Path = Path("runs/images/table/results")
    train: bool = True
    evaluate: bool = True
    training: tuple[str, ...] = ()
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    digits: str | None = None
    folder: Path | None = None
    redo: bool = False
    max_cells: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, given, allowed in (
            ("methods", self.methods, registry.names()),
            ("partitions", self.partitions, PARTITIONS),
            ("seeds", self.seeds, None),
        ):
            if not given or len(set(given)) != len(given):
                raise EvaluationError(f"{name}={list(given)}: give one or more, each once")
            if allowed is not None and (unknown := [value for value in given if value not in allowed]):
                raise EvaluationError(f"unknown {name} {', '.join(map(repr, unknown))}; there are {', '.join(allowed)}")
        if min(self.seeds) < 0 or (self.max_cells is not None and self.max_cells < 1):
            raise EvaluationError(
                f"seeds={list(self.seeds)} are 0 or more, max_cells={self.max_cells} is at least 1, or null for all"
            )
        resolve_device(self.device)

    def cells(self) -> list[Cell]:
        """All cells, in the order in which they are run."""
        return [Cell(p, m, s) for p in self.partitions for s in self.seeds for m in self.methods]
