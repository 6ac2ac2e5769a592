"""FedFlow, DCFM-A and DCFM-B as questions to silos: who trains when on what is as in :mod:`dcfm.decentralized`, and
with the same seeds so are the results.

Each returns the result, one network or one a silo, after it was delivered to every silo.
"""

import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from dcfm.artefacts import load_tensors, save_tensors
from dcfm.decentralized import TrainingJob, fingerprint, run_job
from dcfm.exchange import SERVER
from dcfm.federated.members import Members
from dcfm.federated.parcels import Parcel, scalars
from dcfm.federated.tasks import FederatedTask, fedavg_config
from dcfm.published import resolve_device
from dcfm.trainers.fedavg import moving_average, weighted_mean
from dcfm.weights import Weights


def run_protocol(members: Members, problem: FederatedTask) -> list[Weights]:
    """The protocol that the settings name.

    Raises:
        dcfm.federated.members.TooFewSilos: see :class:`~dcfm.federated.members.Members`.
    """
    protocol = members.settings.protocol
    if protocol == "dcfm_a":
        return dcfm_a(members, problem)
    if protocol == "dcfm_b":
        return dcfm_b(members, problem)
    return fedflow(members, problem)


def stage_one(members: Members) -> dict[int, Weights]:
    """Every silo alone; returns the weights by silo."""
    answers = members.ask("stage_one", "train.stage_one", {n: {} for n in members.numbers})
    return {n: parcel["weights"] for n, parcel in answers.items()}


def from_others(members: Members, weights: dict[int, Weights], to: int, histograms: bool) -> Parcel:
    """What silo ``to`` gets in an allgather: all that is not its own."""
    parcel: Parcel = {}
    for number in sorted(weights):
        if number != to:
            parcel[f"weights/{number}"] = weights[number]
            if histograms:
                parcel[f"histogram/{number}"] = members.histograms[number].state_dict()
    return parcel


def dcfm_a(members: Members, problem: FederatedTask) -> list[Weights]:
    """Rounds of an allgather and cross-peer training; a last allgather of the experts."""
    weights = stage_one(members)
    for number in range(1, problem.recipe.peers.rounds + 1):
        parcels = {
            n: from_others(members, weights, n, histograms=True) | {"scalars": scalars(round=number)} for n in weights
        }
        answers = members.ask(f"peers_{number}", "train.peers", parcels)
        weights = {n: parcel["weights"] for n, parcel in answers.items()}
    members.ask("deliver", "train.deliver", {n: from_others(members, weights, n, histograms=False) for n in weights})
    return [weights[n] for n in sorted(weights)]


def dcfm_b(members: Members, problem: FederatedTask) -> list[Weights]:
    """Upload once, distil on the server or on a silo, download once."""
    weights = stage_one(members)
    place = members.settings.distil_on
    if place == SERVER:
        student = distilled(members, problem, weights)
    else:
        silo = members.settings.silo_names.index(place)
        answers = members.ask("distil", "train.distil", {silo: from_others(members, weights, silo, histograms=True)})
        if silo not in answers:
            raise RuntimeError(
                f"{place}, which was to distil, {members.dropped[silo]}; start again, or with distil_on=server"
            )
        student = answers[silo]["weights"]
    receivers = [n for n in members.numbers if members.name(n) != place]
    members.ask("deliver", "train.deliver", {n: {"weights": student} for n in receivers})
    return [student]


def distilled(members: Members, problem: FederatedTask, weights: dict[int, Weights]) -> Weights:
    """The student, trained where the server runs; it goes on from a checkpoint after an interruption."""
    config, settings = problem.recipe.student, members.settings
    order = sorted(weights)
    uploaded = [weights[n] for n in order]
    arguments = (uploaded, [members.histograms[n] for n in order], config)
    job = TrainingJob("student", "dcfm_b", members.out / "dcfm_b", asdict(config), 0, arguments, fingerprint(uploaded))
    return run_job(job, problem.task, settings.seed, str(resolve_device(settings.device)), None, False)


def fedflow(members: Members, problem: FederatedTask) -> list[Weights]:
    """Rounds of downloads, local steps and uploads; the weights' moving average over rounds is the result."""
    config, state = fedavg_config(members.settings.protocol, problem.recipe), members.out / "fedavg.safetensors"
    torch.manual_seed(members.settings.seed)
    weights = {name: value.clone() for name, value in problem.task.network().state_dict().items()}
    done, average = 0, weights
    if state.exists():
        done, weights, average = _restored(state)
    for number in range(done, config.rounds):
        parcels: dict[int, Parcel] = {
            n: {"weights": weights, "scalars": scalars(round=number)} for n in members.numbers
        }
        label = f"fedavg_{number}"
        answers = members.ask(label, "train.fedavg", parcels)
        counts = [members.histograms[n].total for n in answers]
        weights = weighted_mean([parcel["weights"] for parcel in answers.values()], counts)
        average = moving_average(average, weights, min(config.ema, (number + 1) / (number + 10)))
        tensors = {f"weights.{k}": v for k, v in weights.items()} | {f"average.{k}": v for k, v in average.items()}
        save_tensors(state, tensors | {"done": torch.tensor(number + 1)})
        shutil.rmtree(members.out / "received" / label)
    members.ask("deliver", "train.deliver", {n: {"weights": average} for n in members.numbers})
    return [average]


def _restored(path: Path) -> tuple[int, Weights, Weights]:
    tensors = load_tensors(path)
    parts = [
        {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        for prefix in ("weights.", "average.")
    ]
    return int(tensors["done"]), parts[0], parts[1]
