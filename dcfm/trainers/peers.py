"""DCFM-A: experts with cross-peer conditional independence (Eqs. 12-14).

After an allgather of weights and label histograms each silo goes on from its own Stage I network: flow matching on its
own data, and its joint velocity pulled to a composition whose terms are served by itself and by frozen peers.

Who serves a term is drawn per sample from the label statistics, ``r_i ~ p(a|y_i)`` and ``r_0 ~ p(a|0)``: uniform
routing would ask peers about values that they never saw, that is, untrained embeddings. Where no slot fell to the silo
itself, the unconditional one does.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from dcfm.artefacts import plain_settings
from dcfm.fields import Field, joint_weights, value_weights
from dcfm.losses import peer_independence_loss
from dcfm.mixtures import label_weights
from dcfm.seeds import derived
from dcfm.silos import LabelHistogram
from dcfm.task import Task, release
from dcfm.trainers import parallel
from dcfm.trainers.local import check_data, matching_with
from dcfm.trainers.loop import LoopConfig, Progress, fit
from dcfm.trainers.objective import IndependenceConfig, ObjectiveConfig, Points, independence_points


@dataclass(frozen=True)
class PeerConfig:
    """One round of DCFM-A.

    Args:
        rounds: allgathers, each followed by the loop below.
        routing: ``support`` draws who serves a term from the label statistics; ``uniform`` is the ablation.
        peers_per_round: how many peers, drawn anew for every silo and round, a silo trains against; all if ``None``.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=3000, learning_rate=3e-4))
    objective: ObjectiveConfig = field(
        default_factory=lambda: ObjectiveConfig(independence=IndependenceConfig(weight=0.3, labels="own"))
    )
    rounds: int = 1
    routing: str = "support"
    peers_per_round: int | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.routing not in ("support", "uniform"):
            raise ValueError(
                f"rounds={self.rounds} must be at least 1 and routing={self.routing!r} be 'support' or 'uniform'"
            )
        term = self.objective.independence
        if self.peers_per_round is not None and (self.peers_per_round < 1 or term.labels == "global" or term.contrast):
            raise ValueError(
                f"peers_per_round={self.peers_per_round} must be at least 1, or null for all, and the CI term's labels "
                "be 'own' or 'held' without contrast: a few peers need not hold every value of the global space"
            )


def choose_peers(silos: Sequence[int], per_round: int | None, number: int, *, seed: int) -> dict[int, list[int]]:
    """Whose networks each silo trains with in round ``number``: its own and ``per_round`` others, drawn uniformly.

    Args:
        silos: their numbers.
        per_round: see :attr:`PeerConfig.peers_per_round`; all if ``None`` or there are no more.
        number: of the round, from 1.
        seed: of the run.

    Returns:
        For each silo the numbers in ascending order.
    """
    chosen = {}
    for silo in silos:
        others = [other for other in silos if other != silo]
        if per_round is not None and per_round < len(others):
            generator = torch.Generator().manual_seed(derived(seed, number, silo))
            others = [others[i] for i in torch.randperm(len(others), generator=generator)[:per_round].tolist()]
        chosen[silo] = sorted([silo, *others])
    return chosen


def draw_routing(
    y: Int[Tensor, "batch k"],
    histograms: Sequence[LabelHistogram],
    index: int | None,
    generator: torch.Generator,
    routing: str = "support",
    pair: Int[Tensor, "4 batch k"] | None = None,
) -> Int[Tensor, "batch terms"]:
    """``r`` in ``{0 .. n-1}^(k+1)``, slot 0 the unconditional term, at least one slot equal to ``index``; with the four
    labels of a pair of attributes instead of ``y``, one slot for each of the first three, and none that is forced on a
    silo which does not hold what slot 0 asks for. Nor is one for ``index=None``, a network that is no silo's."""
    batch, terms = len(y), y.shape[1] + 1 if pair is None else 3
    weights = value_weights(histograms, y) if pair is None else holder_weights(histograms, pair[:3])
    if routing == "uniform":
        drawn = torch.randint(len(histograms), (batch, terms), generator=generator, device=y.device)
    else:
        drawn = torch.multinomial(weights.flatten(0, 1), 1, generator=generator).reshape(terms, batch).T.contiguous()
    if index is not None:
        free = (drawn == index).any(1) | (weights[0, :, index] == 0)
        drawn[:, 0] = torch.where(free, drawn[:, 0], index)
    return drawn


def holder_weights(
    histograms: Sequence[LabelHistogram], labels: Int[Tensor, "terms batch k"]
) -> Float[Tensor, "terms batch n"]:
    """``p(a|label)`` of each label, null tokens allowed: from the samples that agree with it in all that it gives, or,
    where no silo has one, from its values apart (:func:`~dcfm.mixtures.label_weights`)."""
    flat = labels.flatten(0, 1)
    joint, known = joint_weights(histograms, flat)
    weights = torch.where(known[:, None], joint, label_weights(histograms, flat))
    return weights.reshape(*labels.shape[:2], len(histograms))


def train_peers(
    task: Task,
    data: Shaped[Tensor, "n ..."],
    labels: Int[Tensor, "n k"],
    networks: Sequence[nn.Module],
    histograms: Sequence[LabelHistogram],
    index: int,
    config: PeerConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    snapshot: Callable[[int, nn.Module], None] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> nn.Module:
    """One round for silo ``index``: start from its own network, keep its peers frozen; returns the EMA network.

    Args:
        networks, histograms: of all silos, or of those chosen, in order, as the allgather brought them.
        origin: what the training comes from, see :func:`~dcfm.trainers.loop.fit`.
    """
    check_data(task, data, labels)
    if not 0 <= index < len(networks) or len(networks) != len(histograms):
        raise ValueError(
            f"silo {index} of {len(networks)} networks and {len(histograms)} histograms; give one of each a silo"
        )
    own = release(deepcopy(networks[index]), task).to(data.device)
    frozen = [parallel.shared(deepcopy(peer).requires_grad_(False).eval().to(data.device)) for peer in networks]
    objective = config.objective
    held = LabelHistogram.merge(histograms)

    def extra(network: Field, points: Points, generator: torch.Generator) -> Float[Tensor, ""]:
        at = independence_points(points, network, task.space, objective.independence, generator, held)
        routing = draw_routing(at.y, histograms, index, generator, config.routing, at.pair)
        return peer_independence_loss(
            network, frozen, routing, index, at.x, at.t, at.y, task.space.null, at.held, objective.weight, at.pair
        )

    loss = matching_with(extra, task, data, labels, config.loop.batch, objective)
    return fit(
        own,
        loss,
        config.loop,
        seed=seed,
        settings={"config": plain_settings(config)},
        origin=origin,
        checkpoint=checkpoint,
        progress=progress,
        snapshot=snapshot,
    )
