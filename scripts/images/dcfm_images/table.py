"""Doing what is missing of the table, entry by entry: train, choose how to sample, evaluate; then the control.

Every step leaves its result on disk when it is done, so that an interrupted table goes on where it was; an entry that
fails leaves all others alone.
"""

from collections.abc import Sequence
from functools import partial

from omegaconf import DictConfig, OmegaConf

from dcfm import comparison
from dcfm.comparison import Entry, attempt, check_recipes
from dcfm.curves import Watch
from dcfm.progress import StageProgress, silent
from dcfm.published import resolve_device
from dcfm_images.control import evaluate_real, silo_digits
from dcfm_images.evaluation import check, evaluate
from dcfm_images.evaluation_settings import EvaluationError
from dcfm_images.lineage import problem_of
from dcfm_images.models import load
from dcfm_images.pictures import check_each
from dcfm_images.problem import SPACE
from dcfm_images.reader import load_reader
from dcfm_images.table_settings import REAL, TableSettings
from dcfm_images.training import prepare
from dcfm_images.training import train as train_images


def run(settings: TableSettings, command: str, on_progress: StageProgress = silent) -> dict[str, str]:
    """Do what is missing, as far as ``settings`` allow.

    Args:
        settings: what to compare.
        command: that is run, for the record.
        on_progress: see :data:`~dcfm.progress.StageProgress`.

    Returns:
        What went wrong, by entry; the others are done.

    Raises:
        ValueError: settings of a training that cannot be, or that what is trained was not trained with, or of an
            evaluation of what is to be trained; before any work.
    """
    entries = settings.entries()
    if settings.train:
        check_recipes(entries, settings.runs, partial(training_config, settings))
        _check_missing(settings, [entry for entry in entries if not entry.trained(settings.runs)])
    failed: dict[str, str] = {}
    waiting = [entry for entry in entries if settings.train or entry.trained(settings.runs)]
    visited: list[Entry] = []
    worked: set[Entry] = set()  # what is there already tells no progress, and does not count towards max_entries
    for number, entry in enumerate(waiting, start=1):
        if len(worked) == settings.max_entries:
            break
        visited.append(entry)

        def show(what: str, done: int, total: int, entry: Entry = entry, number: int = number) -> None:
            worked.add(entry)
            on_progress(f"[{number}/{len(waiting)}] {entry}: {what}", done, total)

        attempt(str(entry), partial(_complete, settings, entry, command, show), failed)
    if settings.evaluate:
        for control in dict.fromkeys(Entry(entry.partition, REAL, entry.seed) for entry in visited):
            attempt(str(control), lambda control=control: _control(settings, control, command), failed)
    return failed


def _check_missing(settings: TableSettings, missing: Sequence[Entry]) -> None:
    """Raise ``ValueError`` now if a split that one seed does not give, or an evaluation that cannot be, would be found
    after the first training."""
    reader = load_reader() if settings.evaluate and missing else None
    for entry in {entry.training(settings.runs): entry for entry in missing}.values():
        config = training_config(settings, entry)
        for key, value in (("digits", settings.digits), ("folder", settings.folder)):
            if value is not None and config[key] != str(value):
                raise EvaluationError(f"{key}={value}, but training=[{key}={config[key]}]; give it once, as {key}=")
        ready = prepare(config)
        if reader is None:
            continue
        check(settings.evaluation, ready.problem, reader, resolve_device(ready.settings.device))
        check_each(silo_digits(ready.problem), SPACE.combinations(), settings.evaluation.each)  # of the control
        if settings.evaluation.snapshots and not ready.settings.snapshots:
            raise EvaluationError(
                f"snapshots={settings.evaluation.snapshots} judges weights that trainings keep on their way, and these "
                "keep none; give 'training=[\"snapshots=true\"]' too, or snapshots=0"
            )


def training_config(settings: TableSettings, entry: Entry) -> DictConfig:
    """The configuration of an entry's training, its digits those of the table unless ``training`` has others.

    Raises:
        ComparisonError: overrides that the configuration does not take.
    """
    config = comparison.training_config(
        entry, settings.runs, "dcfm_configs.images", "train", device=settings.device, training=settings.training
    )
    own = {word.partition("=")[0] for word in settings.training}
    for key, value in (("digits", settings.digits), ("folder", settings.folder)):
        if value is not None and key not in own:
            # Not as an override, whose grammar takes letters of a path for its own.
            OmegaConf.update(config, key, str(value).replace("${", r"\${"))
    return config


def _complete(settings: TableSettings, entry: Entry, command: str, on_progress: StageProgress) -> None:
    if not entry.trained(settings.runs):
        on_progress("training", 0, 0)
        config = training_config(settings, entry)
        train_images(config, progress=Watch.of(config))
    if settings.evaluate:
        evaluate(
            entry.published(settings.runs),
            entry.results(settings.out),
            settings.evaluation,
            command=command,
            device=settings.device,
            digits=settings.digits,
            folder=settings.folder,
            redo=settings.redo,
            on_progress=on_progress,
        )


def _control(settings: TableSettings, control: Entry, command: str) -> None:
    """Real digits in place of a model, from the silos of any method that was trained on them."""
    found = [m for m in settings.methods if Entry(control.partition, m, control.seed).trained(settings.runs)]
    if not found:
        return
    model = load(Entry(control.partition, found[0], control.seed).published(settings.runs), "cpu")
    problem = problem_of(model, digits=settings.digits, folder=settings.folder)
    device = resolve_device(settings.device)
    evaluate_real(
        problem,
        load_reader(device=device),
        control.results(settings.out),
        settings.evaluation,
        command=command,
        device=device,
        redo=settings.redo,
    )
