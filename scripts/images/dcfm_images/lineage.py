"""What a trained model came from: its silos and its reference, and the weights that its training kept on the way."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from dcfm.federated.silo_files import read_silo
from dcfm.published import check_dealt, of_federation
from dcfm.runs import trained_on
from dcfm.task import frozen_networks
from dcfm_images.digits import CLASSES, Digits, load_digits
from dcfm_images.evaluation_settings import EvaluationError
from dcfm_images.models import LoadedModel
from dcfm_images.problem import SPACE, Problem, make_problem


def problem_of(
    model: LoadedModel, *, digits: str | None = None, folder: Path | None = None, otherwise: str = "sample from it"
) -> Problem:
    """The silos and the reference that a model was trained with, made again from its own settings.

    Args:
        model: trained.
        digits, folder: where the digits come from, if not from where the training took them.
        otherwise: see :func:`dcfm.published.check_dealt`.

    Raises:
        dcfm.published.ModelError: it was trained in a federation whose silos were not dealt so.
        EvaluationError: the silos made here are not those that it was trained on, so that its reference is unknown.
    """
    training = model.config["training"]
    own = training.get("folder")
    source = digits or ("folder" if folder is not None else training["digits"])
    if folder is None and own is not None and (source == "folder" or Path(own).exists()):
        folder = Path(own)  # one that is gone is no loss where mirrors have the same files: the silos' hash tells
    found = load_digits(folder, model.task.size, source=source)
    problem = make_problem(
        found,
        silos=training["silos"],
        kind=training["partition"],
        alpha=training["alpha"],
        observed=training["observed"],
        reference=training["reference"],
        seed=training["seed"],
    )
    if of_federation(model):
        check_dealt(model, list(problem.histograms.values()), "scripts/images/train.py", otherwise)
    elif not trained_on(model, problem.silos):
        raise EvaluationError(
            f"the digits found ({found.source}) give other silos than those that the model was trained on, so real "
            "digits that it never saw are not known; give the digits= and folder= of its training (below 28 pixels an "
            "old processor may round them otherwise, too)"
        )
    return problem


def problem_with(model: LoadedModel, held_back: Path) -> Problem:
    """What a model of a federation is judged by: digits that somebody kept from its silos, and the silos' histograms as
    they were published. A combination that all silos suppressed in these, or that their noise hides, counts as novel.

    Args:
        model: trained in a federation.
        held_back: file as :func:`~dcfm.federated.silo_files.write_silo` writes it: grey bytes ``(n, size, size)`` and
            labels whose first column is the digit. That no silo had them is the caller's word.

    Raises:
        EvaluationError: a model of ``scripts/images/train.py``, whose reference is known; digits of another size or
            type; no combination that is novel.
        ValueError: no such file, or not of that kind.
    """
    if not of_federation(model):
        raise EvaluationError(
            f"held_back={held_back}: {model.name} was not trained in a federation, and which digits its silos had "
            "follows from its training; leave held_back out"
        )
    found, size = read_silo(held_back, "held back"), model.task.size
    labels = found.labels[:, 0].long()
    if found.data.dtype != torch.uint8 or tuple(found.data.shape[1:]) != (size, size):
        raise EvaluationError(
            f"{held_back} holds {found.data.dtype} of shape {tuple(found.data.shape)}; the model's digits are "
            f"torch.uint8 of shape (n, {size}, {size})"
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < CLASSES:
        raise EvaluationError(
            f"{held_back}: the labels' first column reaches from {int(labels.min())} to {int(labels.max())}; it is the "
            f"digit, 0 to {CLASSES - 1}"
        )
    known, novel = SPACE.split(model.known)
    if not len(novel):
        raise EvaluationError(
            "the silos' histograms have all combinations; none is novel, so there is nothing to judge"
        )
    reference = Digits(found.data, labels, f"file {held_back}: {len(labels)} digits, held back from a federation")
    histograms = {f"silo{i}": histogram for i, histogram in enumerate(model.histograms)}
    return Problem(SPACE, known, novel, [], reference, histograms)


def kept_weights(model: LoadedModel, trained_at: Path) -> list[tuple[int, list[Path]]]:
    """The weights that a training kept on its last stage, by step: one file, or one a silo.

    Raises:
        EvaluationError: there are none.
    """
    root, silos = trained_at.parent.parent, [f"silo{i}" for i in range(len(model.histograms))]
    if model.name == "dcfm_a":
        rounds = sorted((root / "dcfm_a").glob("round_*"), key=lambda path: int(path.name.removeprefix("round_")))
        folders = [rounds[-1] / f"{silo}.snapshots" for silo in silos] if rounds else []
    elif model.name.startswith(("ddm", "dfd")):
        stage = "further" if model.name.endswith("_l") else "further_no_ci"
        folders = [root / stage / f"{silo}.snapshots" for silo in silos]
    else:
        folders = [root / f"{model.name}.snapshots"]
    steps = [{int(p.stem.removeprefix("step_")): p for p in folder.glob("step_*.safetensors")} for folder in folders]
    common = sorted(set.intersection(*map(set, steps))) if steps else []
    if not common:
        raise EvaluationError(
            f"the training of {model.name} under {root} kept no weights on its way; train it with snapshots=true "
            "in another out=, since what is finished is not trained again, or evaluate with snapshots=0"
        )
    return [(step, [paths[step] for paths in steps]) for step in common]


def restored(model: LoadedModel, paths: Sequence[Path]) -> list[nn.Module]:
    """A model's networks with the weights in these files, one file a network."""
    return frozen_networks(model.method.task(model.task), [load_file(path) for path in paths], model.device)
