"""What the table compares: entries, each evaluated in the same way."""

from dataclasses import dataclass, field
from pathlib import Path

from dcfm.comparison import ComparisonError, Entry, check_list, entries_of
from dcfm.methods import registry
from dcfm.published import resolve_device
from dcfm.silos import PARTITIONS
from dcfm_images.evaluation_settings import EvaluationSettings

REAL = "real"
"""In place of a method: real digits of the silos, coloured as asked for; what a perfect model would score."""


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
        max_entries: how many entries at most are worked on; ``None`` for all.
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
    max_entries: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, given, allowed in (
            ("methods", self.methods, registry.names()),
            ("partitions", self.partitions, PARTITIONS),
            ("seeds", self.seeds, None),
        ):
            check_list(name, given, allowed)
        if self.max_entries is not None and self.max_entries < 1:
            raise ComparisonError(f"max_entries={self.max_entries}: give at least 1, or null for all")
        resolve_device(self.device)

    def entries(self) -> list[Entry]:
        """All entries, in the order in which they are run."""
        return entries_of(self.partitions, self.seeds, self.methods)
