"""Doing what is missing of the table, cell by cell: train, choose how to sample, evaluate; then the control.

Every step leaves its result on disk when it is done, so that an interrupted table goes on where it was; a cell that
fails leaves all others alone.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from dcfm.artefacts import MANIFEST
from dcfm.progress import TrainingBar
from dcfm_images.control import evaluate_real
from dcfm_images.evaluation import Progress, evaluate, silent
from dcfm_images.evaluation_settings import EvaluationError
from dcfm_images.lineage import problem_of
from dcfm_images.models import load
from dcfm_images.reader import load_reader
from dcfm_images.table_settings import REAL, Cell, TableSettings
from dcfm_images.training import prepare
from dcfm_images.training import train as train_images

log = logging.getLogger(__name__)


def run(settings: TableSettings, command: str, on_progress: Progress = silent) -> dict[str, str]:
    """Do what is missing, as far as ``settings`` allow.

    Args:
        settings: what to compare.
        command: that is run, for the record.
        on_progress: see :data:`~dcfm_images.evaluation.Progress`.

    Returns:
        What went wrong, by cell; the others are done.

    Raises:
        ValueError: settings of a training that cannot be; before any work.
    """
    cells = settings.cells()
    missing = [cell for cell in cells if not trained(settings, cell)]
    if settings.train and missing:
        prepare(training_config(settings, missing[0]))
    failed: dict[str, str] = {}
    waiting = [cell for cell in cells if settings.train or trained(settings, cell)]
    chosen = waiting[: settings.max_cells]
    for number, cell in enumerate(chosen, start=1):
        place = f"[{number}/{len(chosen)}] {cell}: "
        _attempt(
            str(cell),
            lambda cell=cell, place=place: _complete(
                settings, cell, command, lambda what, *much: on_progress(place + what, *much)
            ),
            failed,
        )
    if settings.evaluate:
        for control in dict.fromkeys(Cell(cell.partition, REAL, cell.seed) for cell in chosen):
            _attempt(str(control), lambda control=control: _control(settings, control, command), failed)
    return failed


def trained(settings: TableSettings, cell: Cell) -> bool:
    """Whether the cell's model is there."""
    return (cell.published(settings.runs) / MANIFEST).is_file()


def training_config(settings: TableSettings, cell: Cell) -> DictConfig:
    """The configuration of a cell's training.

    Raises:
        EvaluationError: overrides that the configuration does not take.
    """
    overrides = [
        *settings.training,
        f"methods=[{cell.method}]",
        f"partition={cell.partition}",
        f"seed={cell.seed}",
        f"device={settings.device}",
        f"out={cell.training(settings.runs)}",
    ]
    begun = GlobalHydra.instance().is_initialized()
    try:
        with nullcontext() if begun else initialize_config_module("dcfm_configs.images", version_base="1.3"):
            return compose("train", overrides=overrides)
    except HydraException as error:
        raise EvaluationError(
            f"training={list(settings.training)} does not fit configs/images/train.yaml: {str(error).splitlines()[0]}"
        ) from error


def _attempt(name: str, work: Callable[[], None], failed: dict[str, str]) -> None:
    try:
        work()
    except (ValueError, OSError) as error:
        failed[name] = str(error)
    except Exception as error:  # a night's work is not lost for one cell
        log.exception("%s failed", name)
        failed[name] = f"{type(error).__name__}: {error}"


def _complete(settings: TableSettings, cell: Cell, command: str, on_progress: Progress) -> None:
    if not trained(settings, cell):
        on_progress("training", 0, 0)
        train_images(training_config(settings, cell), progress=TrainingBar)
    if settings.evaluate:
        evaluate(
            cell.published(settings.runs),
            cell.results(settings.out),
            settings.evaluation,
            command=command,
            device=settings.device,
            digits=settings.digits,
            folder=settings.folder,
            redo=settings.redo,
            on_progress=on_progress,
        )


def _control(settings: TableSettings, control: Cell, command: str) -> None:
    """Real digits in place of a model, from the silos of any method that was trained on them."""
    found = [m for m in settings.methods if trained(settings, Cell(control.partition, m, control.seed))]
    if not found:
        return
    model = load(Cell(control.partition, found[0], control.seed).published(settings.runs), "cpu")
    problem = problem_of(model, digits=settings.digits, folder=settings.folder)
    out = control.results(settings.out)
    evaluate_real(problem, load_reader(), out, settings.evaluation, command=command, redo=settings.redo)
