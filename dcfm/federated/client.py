"""The ClientApp: one silo. It answers what the server asks with trainings on its own data, and lets nothing else out.

Where the data lies is the node's affair, told to its SuperNode and to nobody else:

    --node-config 'partition-id=0 data="/srv/hospital/data.safetensors"'

``partition-id`` is the silo's number. Beside the data the silo keeps its work, from which a question that is asked
again is answered, and a training that was cut off goes on:

    work/<run>              of a run, which its settings name: result, its own ledger.jsonl and seconds.jsonl, and its
                            trainings, named by what came from others (with other silos a run asks another training)
    work/stage1/<training>  of all runs that have the same Stage I
    work/privacy.json       what all private trainings cost (:mod:`dcfm.federated.spending`)
    work/noised_*           the one noise on the counts of the labels
    work/errors.log         what went wrong in any run
    work/data_file          whose work this is

Every answer passes one door (:func:`door`): whatever is no parcel of weights, a histogram or scalars is withheld, and
so is the text of an error, which could quote data; it is in ``errors.log`` beside the data.
"""

import logging
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from dcfm.artefacts import MANIFEST, load, load_tensors, save_tensors
from dcfm.exchange import Payload
from dcfm.federated.node import Node
from dcfm.federated.parcels import Parcel, by_number, kind_of, mark, pack, scalar, scalars, unpack
from dcfm.federated.silo_files import claim
from dcfm.federated.tasks import own_recipe
from dcfm.privacy.accounting import check_sizes
from dcfm.published import resolve_device
from dcfm.seeds import training_seed
from dcfm.silos import LabelHistogram
from dcfm.task import build_network
from dcfm.trainers.fedavg import train_round
from dcfm.trainers.local import check_data
from dcfm.weights import Weights, fingerprint

log = logging.getLogger(__name__)


class SiloError(RuntimeError):
    """A silo could not answer. The text names the phase and the kind of error, nothing from the silo."""


Phase = Callable[[Node, Parcel], Parcel]


def introduce(node: Node, parcel: Parcel) -> Parcel:
    """Who this is: number and label histogram.

    Raises:
        ValueError: the work folder is another silo's, the device cannot be used, or the data is no such task's or too
            small to be trained on privately: now, and not hours later.
    """
    claim(node.data)
    silo, recipe = node.silo(), node.problem.recipe
    check_data(node.problem.task, silo.data, silo.labels)
    resolve_device(node.settings.device)
    samples = {node.name: len(silo)}
    check_sizes(recipe.stage_one.privacy, recipe.stage_one.loop.batch, samples)
    check_sizes(recipe.fedavg.privacy, recipe.fedavg.batch, samples)
    return {"scalars": scalars(number=node.number), "histogram": node.histogram().state_dict()}


def stage_one(node: Node, parcel: Parcel) -> Parcel:
    """Stage I (Eqs. 8-11)."""
    config = node.problem.recipe.stage_one
    weights = node.train("local", "stage1", node.first(config), config, (node.silo(), config, None))
    if config.privacy is not None:
        node.note_privacy(config.privacy, config.loop.batch, config.loop.steps, fingerprint([weights])[:12])
    return {"weights": weights}


def peers(node: Node, parcel: Parcel) -> Parcel:
    """A round of DCFM-A (Eqs. 12-14) from the peers' weights and histograms; its own the silo has."""
    number, config = scalar(parcel, "round"), node.problem.recipe.peers
    first, before = node.first(node.problem.recipe.stage_one), node.work / f"dcfm_a/round_{number - 1}"
    own = _own(node, [first] if number == 1 else [path.parent for path in before.glob(f"*/{MANIFEST}")], parcel)
    order, gathered, histograms = _gathered(node, parcel, own)
    # Its own labels as they are: those of its data must be found in them, and what is trained here is of its data.
    histograms[order.index(node.number)] = node.silo().histogram(node.problem.task.space)
    arguments = (node.silo(), gathered, histograms, order.index(node.number), config)
    folder, start = f"dcfm_a/round_{number}", fingerprint(gathered)
    place = node.resting(folder, config, gathered, histograms)
    return {"weights": node.train("peers", folder, place, config, arguments, start, part=number - 1)}


def distil(node: Node, parcel: Parcel) -> Parcel:
    """DCFM-B's student (Eqs. 15-17), on a silo instead of the server."""
    config = own_recipe(node.settings.protocol, node.problem.recipe).student
    own = _own(node, [node.first(node.problem.recipe.stage_one)], parcel)
    _, gathered, histograms = _gathered(node, parcel, own)
    arguments, start = (gathered, histograms, config), fingerprint(gathered)
    place = node.resting("dcfm_b", config, gathered, histograms)
    return {"weights": node.train("student", "dcfm_b", place, config, arguments, start, index=0)}


def _own(node: Node, places: Sequence[Path], parcel: Parcel) -> Weights:
    """The silo's own network that the server goes on from, among the trainings in ``places``.

    Raises:
        ValueError: none of them is it.
    """
    asked = scalar(parcel, "own")
    for place in places:
        weights = load(place, template=node.problem.task.network().state_dict()).weights
        if mark(weights) == asked:
            return weights
    raise ValueError(
        "the server goes on from a network that this silo does not have (there are "
        f"{', '.join(map(str, places)) or 'none'}): its work was deleted, or its data is "
        f"another; bring {node.home} back, or start a run with another out="
    )


def _gathered(node: Node, parcel: Parcel, own: Weights) -> tuple[list[int], list[Weights], list[LabelHistogram]]:
    """Numbers, weights and histograms of all silos in order, the silo's own, which were not sent, among them."""
    experts = by_number(parcel, "weights") | {node.number: own}
    histograms = {n: LabelHistogram.from_state_dict(h) for n, h in by_number(parcel, "histogram").items()}
    histograms[node.number] = node.histogram()
    order = sorted(experts)
    return order, [experts[n] for n in order], [histograms[n] for n in order]


def fedavg(node: Node, parcel: Parcel) -> Parcel:
    """A silo's part of a round of federated averaging; the last answer is kept, and given again if asked again."""
    config = own_recipe(node.settings.protocol, node.problem.recipe).fedavg
    silo, device = node.silo(), node.device
    number = scalar(parcel, "round")
    path = node.answered(number, parcel["weights"], config)
    if path.exists():
        return {"weights": load_tensors(path)}
    network = build_network(node.problem.task, parcel["weights"], device)
    seed = training_seed(node.settings.seed, node.number)
    data, labels = silo.data.to(device), silo.labels.to(device)
    checkpoint = path.with_suffix(".checkpoint.safetensors") if config.long else None
    train_round(node.problem.task, data, labels, network, config, number, seed=seed, checkpoint=checkpoint)
    if config.privacy is not None:
        node.note_privacy(config.privacy, config.batch, config.steps)
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    shutil.rmtree(path.parent, ignore_errors=True)
    save_tensors(path, weights)
    return {"weights": weights}


def deliver(node: Node, parcel: Parcel) -> Parcel:
    """Keep the result: one network, or the other silos' experts and histograms; its own the silo has."""
    shutil.rmtree(
        node.work / "result", ignore_errors=True
    )  # of an earlier delivery, which others may have been part of
    for key, payload in parcel.items():
        save_tensors(node.work / "result" / f"{key.replace('/', '_')}.safetensors", payload)
    return {"scalars": scalars(kept=len(parcel))}


def enter(node: Node, parcel: Mapping[str, Payload]) -> None:
    """Check what came in and enter it into the silo's ledger."""
    _pass(node, parcel, "download")


def door(node: Node, parcel: Mapping[str, Payload]) -> None:
    """The only way out: check each payload to be of its kind and enter it into the silo's ledger.

    Raises:
        ValueError: something else, or weights that are not finite or of another architecture.
    """
    _pass(node, parcel, "upload")


def _pass(node: Node, parcel: Mapping[str, Payload], direction: str) -> None:
    exchange = node.exchange()
    for key, payload in parcel.items():
        getattr(exchange, direction)(node.name, kind_of(key), payload)
    exchange.ledger.to_jsonl(node.work / "ledger.jsonl")


def answer(phase: Phase, message: Message, context: Context) -> Message:
    """Run a phase between the two doors.

    Raises:
        SiloError: it failed; why is in the silo's own ``errors.log``, or, where there is none yet, its SuperNode's log.
    """
    torch.set_num_threads(1)
    node = None
    try:
        node = Node.of(context)
        parcel = unpack(message.content)
        enter(node, parcel)
        begun = time.monotonic()
        reply = phase(node, parcel)
        node.note_seconds(message.metadata.group_id, time.monotonic() - begun)
        door(node, reply)
        return Message(pack(reply), reply_to=message)
    except Exception as error:
        log.exception("%s failed", phase.__name__)
        if node is not None:
            node.home.mkdir(parents=True, exist_ok=True)
            with (node.home / "errors.log").open("a", encoding="utf-8") as file:
                file.write(f"{phase.__name__}: {traceback.format_exc()}\n")
        where = "the silo's errors.log" if node is not None else "the log of the silo's SuperNode"
        raise SiloError(f"{phase.__name__} failed: {type(error).__name__}; {where} says why") from None


def make_app() -> ClientApp:
    """The app, each phase under its name."""
    app = ClientApp()

    def register(phase: Phase, category: Callable[..., Any]) -> None:
        @category(phase.__name__)
        def handle(message: Message, context: Context) -> Message:
            return answer(phase, message, context)

    register(introduce, app.query)
    for phase in (stage_one, peers, distil, fedavg, deliver):
        register(phase, app.train)
    return app


app = make_app()
