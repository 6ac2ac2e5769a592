"""FedFlow, DCFM-A, DCFM-B and DCFM-B+R as questions to silos: who trains when on what is as in
:mod:`dcfm.decentralized`, and with the same seeds so are the results.

Each returns the result after it was delivered to every silo. A silo that misses the delivery is part of the result
still: what it sent before is in it.
"""

from dataclasses import dataclass

import torch

from dcfm.artefacts import plain_settings
from dcfm.exchange import SERVER
from dcfm.federated.members import Members
from dcfm.federated.parcels import Parcel, mark, scalars
from dcfm.federated.strategies import FedFlow, SiloGrid, label_of
from dcfm.federated.tasks import FederatedTask, own_recipe
from dcfm.jobs import TrainingJob, run_job
from dcfm.published import resolve_device
from dcfm.task import parameter_names
from dcfm.trainers.peers import choose_peers
from dcfm.weights import Weights, fingerprint


@dataclass(frozen=True)
class Result:
    """What a protocol made.

    Attributes:
        networks: one, or one a silo in the order of ``silos``.
        silos: the numbers of those that it is made of.
    """

    networks: list[Weights]
    silos: list[int]


def run_protocol(members: Members, problem: FederatedTask) -> Result:
    """The protocol that the settings name.

    Raises:
        dcfm.federated.members.TooFewSilos: see :class:`~dcfm.federated.members.Members`.
    """
    protocol = members.settings.protocol
    if protocol == "dcfm_a":
        return dcfm_a(members, problem)
    if protocol == "dcfm_b":
        return dcfm_b(members, problem)
    if protocol == "dcfm_b_r":
        return dcfm_b_r(members, problem)
    return fedflow(members, problem)


def stage_one(members: Members) -> dict[int, Weights]:
    """Every silo alone; returns the weights by silo."""
    answers = members.ask("stage_one", "train.stage_one", {n: {} for n in members.numbers})
    return {n: parcel["weights"] for n, parcel in answers.items()}


def from_others(members: Members, weights: dict[int, Weights], to: int) -> Parcel:
    """What silo ``to`` gets in an allgather: networks and histograms, all that is not its own."""
    parcel: Parcel = {}
    for number in sorted(weights):
        if number != to:
            parcel[f"weights/{number}"] = weights[number]
            parcel[f"histogram/{number}"] = members.histograms[number].state_dict()
    return parcel


def dcfm_a(members: Members, problem: FederatedTask) -> Result:
    """Rounds of an allgather and cross-peer training; a last allgather of the experts."""
    config, weights = problem.recipe.peers, stage_one(members)
    for number in range(1, config.rounds + 1):
        chosen = choose_peers(sorted(weights), config.peers_per_round, number, seed=members.settings.seed)
        parcels = {
            n: from_others(members, {m: weights[m] for m in chosen[n]}, n)
            | {"scalars": scalars(round=number, own=mark(weights[n]))}
            for n in weights
        }
        answers = members.ask(f"peers_{number}", "train.peers", parcels)
        weights = {n: parcel["weights"] for n, parcel in answers.items()}
    # With histograms, which weigh the experts: the rounds' are not kept by the silo, and need not be of all peers.
    members.deliver({n: from_others(members, weights, n) for n in weights})
    return Result([weights[n] for n in sorted(weights)], sorted(weights))


def dcfm_b(members: Members, problem: FederatedTask) -> Result:
    """Upload once, distil on the server or on a silo, download once."""
    student, made_of = distil(members, problem)
    receivers = [n for n in members.numbers if members.name(n) != members.settings.distil_on]
    members.deliver({n: {"weights": student} for n in receivers})
    return Result([student], made_of)


def dcfm_b_r(members: Members, problem: FederatedTask) -> Result:
    """DCFM-B, but for the delivery; then rounds of averaging that start from the student."""
    student, made_of = distil(members, problem)
    average = fedflow(members, problem, student)
    return Result(average.networks, made_of)  # whoever was averaged is part of the student


def distil(members: Members, problem: FederatedTask) -> tuple[Weights, list[int]]:
    """Stage I and the student, trained on the server or on a silo; and the silos that it is made of."""
    weights = stage_one(members)
    place = members.settings.distil_on
    if place == SERVER:
        student = distilled(members, problem, weights)
    else:
        silo = members.settings.silo_names.index(place)
        parcel = from_others(members, weights, silo)
        if silo in weights:
            parcel["scalars"] = scalars(own=mark(weights[silo]))
        answers = members.ask("distil", "train.distil", {silo: parcel})
        if silo not in answers:
            raise RuntimeError(
                f"{place}, which was to distil, {members.dropped[silo]}; start again, or with distil_on=server"
            )
        student = answers[silo]["weights"]
    return student, sorted(weights)


def distilled(members: Members, problem: FederatedTask, weights: dict[int, Weights]) -> Weights:
    """The student, trained where the server runs; it goes on from a checkpoint after an interruption."""
    settings = members.settings
    config = own_recipe(settings.protocol, problem.recipe).student
    order = sorted(weights)
    uploaded = [weights[n] for n in order]
    arguments = (uploaded, [members.histograms[n] for n in order], config)
    folder, started_from = members.out / "dcfm_b", fingerprint(uploaded)
    job = TrainingJob("student", "dcfm_b", folder, plain_settings(config), 0, arguments, started_from)
    begun = members.clock()
    student = run_job(job, problem.task, settings.seed, str(resolve_device(settings.device)), None, False)
    members.seconds["distil_on_server"] = round(members.clock() - begun, 1)
    return student


def fedflow(members: Members, problem: FederatedTask, start: Weights | None = None) -> Result:
    """Rounds of downloads, local steps and uploads, from ``start`` or from weights drawn by the seed; the weights'
    moving average over rounds is the result."""
    if start is None:
        torch.manual_seed(members.settings.seed)
        start = {name: value.clone() for name, value in problem.task.network().state_dict().items()}
    config = own_recipe(members.settings.protocol, problem.recipe).fedavg
    strategy = FedFlow(
        config, members.out / "fedavg.safetensors", members.out / "received", start, parameter_names(problem.task)
    )
    average = strategy.run(SiloGrid(members))
    members.leave_out(label_of(config.rounds - 1))  # also where no round was left to ask for
    members.deliver({n: {"weights": average} for n in members.numbers})
    return Result([average], members.took_part(label_of(0)))
