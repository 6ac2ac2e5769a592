"""Loss curves: every training's terms of the loss, step by step, as CSV, and for TensorBoard on request.

    out/losses/<training>.csv         a row a step: step, loss and its terms
    out/tensorboard/<training>/       the same as scalars, where asked for

A training that resumes at step k goes on from its checkpoint, so rows from k on are dropped first: a file never holds a
step twice, and equals that of a training that was not interrupted. Nothing here is seen by the training.
"""

import csv
import importlib.util
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dcfm.artefacts import write_text_atomically
from dcfm.progress import TrainingBar
from dcfm.silos import file_stem
from dcfm.trainers.loop import Progress

LOSSES = "losses"
TENSORBOARD = "tensorboard"


def read_curve(path: Path) -> dict[str, list[float]]:
    """A training's curve: by name the column of ``step``, ``loss`` and each of its terms.

    Raises:
        ValueError: the file is not one of loss curves, or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        if head[:1] != ["step"]:
            raise ValueError(f"it begins with {head[:1]}, not with step")
        columns = [[float(row[i]) for row in rows] for i in range(len(head))]
    except (ValueError, IndexError, csv.Error) as error:
        raise ValueError(f"{path} is no file of loss curves, or damaged ({error}); delete it") from error
    return dict(zip(head, columns, strict=True))


class LossFile:
    """Writes one training's curve; called after every step, see :data:`~dcfm.trainers.loop.Progress`.

    Args:
        path: of the CSV file.
        events: the folder of TensorBoard's scalars, or ``None``.
    """

    def __init__(self, path: Path, events: Path | None = None) -> None:
        self.path, self.events = path, events
        self.names: list[str] = []
        self.writer: Any = None

    def __call__(self, done: int, total: int, terms: dict[str, float]) -> None:
        if not terms:
            return  # nothing was done yet
        if not self.names:
            self._begin(done, terms)
        values = [terms[name] for name in self.names]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(",".join([str(done), *(f"{value:.9g}" for value in values)]) + "\n")  # exact in float32
        if self.writer is not None:
            self._scalars(done, values)
            if done == total:
                self.writer.close()

    def _begin(self, done: int, terms: dict[str, float]) -> None:
        """Open, keeping the rows before step ``done`` where there are any of these terms."""
        self.names = list(terms)
        head, rows = ",".join(["step", *self.names]), []
        if self.path.is_file():
            first, *lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
            rows = [line for line in lines if first == head and _step_of(line, len(self.names)) < done]
        write_text_atomically(self.path, "\n".join([head, *rows]) + "\n")
        if self.events is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(self.events, ignore_errors=True)  # a kill loses what was buffered there, not here
        self.writer = SummaryWriter(str(self.events), purge_step=1)
        for row in rows:
            step, *values = row.split(",")
            self._scalars(int(step), [float(value) for value in values])

    def _scalars(self, step: int, values: list[float]) -> None:
        for name, value in zip(self.names, values, strict=True):
            self.writer.add_scalar(name, value, step)


def _step_of(line: str, terms: int) -> float:
    """The step of a whole row; infinity for one that a kill cut off."""
    try:
        step, *values = line.split(",")
        return float(step) if len([float(value) for value in values]) == terms else math.inf
    except ValueError:
        return math.inf


@dataclass
class _Asked:
    """What a configuration's word for yes or no is read as."""

    tensorboard: bool = False


@dataclass(frozen=True)
class Watch:
    """Bars and loss curves of all trainings under a folder; a :data:`~dcfm.jobs.ProgressFactory`.

    Args:
        out: the folder.
        tensorboard: write TensorBoard's files too.

    Raises:
        ValueError: TensorBoard is asked for and not installed.
    """

    out: Path
    tensorboard: bool = False

    @classmethod
    def of(cls, config: DictConfig) -> "Watch":
        """Of a training's configuration.

        Raises:
            ValueError: ``out`` is no folder, or see the class.
        """
        if config.out is None:
            raise ValueError("out=null: give the folder of artefacts, or leave the key out")
        asked = OmegaConf.merge(OmegaConf.structured(_Asked), {"tensorboard": config.tensorboard})
        return cls(Path(str(config.out)), asked.tensorboard)

    def __post_init__(self) -> None:
        if self.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise ValueError("tensorboard=true needs the package tensorboard: pip install 'dcfm[logs]'")

    def __call__(self, name: str, position: int) -> Progress:
        stem = file_stem(name)
        events = self.out / TENSORBOARD / stem if self.tensorboard else None
        return _Both(TrainingBar(name, position), LossFile(self.out / LOSSES / f"{stem}.csv", events))


@dataclass(frozen=True)
class _Both:
    bar: TrainingBar
    file: LossFile

    def __call__(self, done: int, total: int, terms: dict[str, float]) -> None:
        self.file(done, total, terms)
        self.bar(done, total, terms)
