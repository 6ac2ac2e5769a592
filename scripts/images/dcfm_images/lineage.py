"""What a trained model came from: its silos and its reference, and the weights that its training kept on the way."""

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from dcfm.published import check_data_known
from dcfm.runs import silos_hash
from dcfm_images.digits import load_digits
from dcfm_images.evaluation_settings import EvaluationError
from dcfm_images.models import LoadedModel
from dcfm_images.problem import Problem, make_problem


def problem_of(model: LoadedModel, *, digits: str | None = None, folder: Path | None = None) -> Problem:
    """The silos and the reference that a model was trained with, made again from its own settings.

    Args:
        model: trained.
        digits, folder: where the digits come from, if not from where the training took them.

    Raises:
        dcfm.published.ModelError: it was trained in a federation, whose silos keep their data.
        EvaluationError: the silos made here are not those that it was trained on, so that its reference is unknown.
    """
    check_data_known(model, "scripts/images/train.py")
    training = model.config["training"]
    own = training.get("folder")
    folder = folder or (None if own is None else Path(own))
    found = load_digits(folder, model.task.size, source=digits or training["digits"])
    problem = make_problem(
        found,
        silos=training["silos"],
        kind=training["partition"],
        alpha=training["alpha"],
        observed=training["observed"],
        reference=training["reference"],
        seed=training["seed"],
    )
    if silos_hash(problem.silos) != model.metadata["data_hash"]:
        raise EvaluationError(
            f"the digits found ({found.source}) give other silos than those that the model was trained on, so real "
            "digits that it never saw are not known; give the digits= and folder= of its training"
        )
    return problem


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
    networks = []
    for path in paths:
        network = model.method.task(model.task).network()
        network.load_state_dict(load_file(path))
        networks.append(network.to(model.device).eval().requires_grad_(False))
    return networks
