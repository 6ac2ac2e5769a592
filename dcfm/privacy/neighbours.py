"""Nearest neighbours: do generated samples lie nearer to the training data than new real samples do?

Of the training samples ``T`` and held-out ones ``H``, as many of each of every combination, which holds each generated
sample's nearest neighbour? A generator that copies nothing finds it in ``T`` half of the time (Platzer & Reutterer
2021). Which half is ``T`` is then drawn anew many times: the share's distribution if nothing were copied, whatever the
samples look like, and a p-value; where samples of one source, as a patient's images, lie on one side together, sources
are drawn. Of equally near ones, as in data on a grid, one is taken at random.

A *copy* is a generated sample that is nearer to some training sample of its combination than all but 1 % of the
held-out samples are to theirs, these weighted to have the generated ones' shares of combinations: of a combination of
which there is more training data all samples are nearer to it. By chance some 1 % are, a little more of few held-out
samples, ``(0.01 (n - 1) + 1) / (n + 1)`` of ``n``. The idea is that of Meehan, Chaudhuri
& Dasgupta (2020): compare generated-to-training with heldout-to-training distances. A generator that draws the typical
and leaves out the odd has more than 1 % without copying; so the same share is given for the half ``T`` and, with the
roles exchanged, for ``H``: a copier has more of the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from dcfm.metrics.bootstrap import Estimate, clustered_weights
from dcfm.metrics.intervals import wilson

COPY_LEVEL: Final = 0.01
DRAWS: Final = 2000
BLOCK: Final = 256


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples in the coordinates that are generated, with full labels.

    Attributes:
        sources: equal numbers are of one source, as a patient's images are: such samples are no independent witnesses.
            Each its own where it is ``None``.
    """

    x: Float[Tensor, " n *shape"]
    y: Int[Tensor, "n k"]
    sources: Int[Tensor, " n"] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Int[Tensor, " m"] | Bool[Tensor, " n"]) -> "Samples":
        return Samples(self.x[rows], self.y[rows], None if self.sources is None else self.sources[rows])


def joined(parts: Sequence[Samples]) -> Samples:
    """All of them, in order; of which sources they are is known where it is of each part."""
    sources = [part.sources for part in parts if part.sources is not None]
    known = torch.cat(sources) if len(sources) == len(parts) else None
    return Samples(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]), known)


def balanced(first: Samples, second: Samples, generator: torch.Generator) -> tuple[Samples, Samples]:
    """As many of each combination from both, drawn at random; combinations that one lacks fall out.

    Raises:
        ValueError: no combination is in both.
    """
    strata = torch.unique(torch.cat([first.y, second.y]), dim=0, return_inverse=True)[1]
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for stratum in strata.unique():
        rows = [(s == stratum).nonzero()[:, 0] for s in (strata[: len(first)], strata[len(first) :])]
        number = min(len(r) for r in rows)
        for part, r in zip(parts, rows, strict=True):
            part.append(r[torch.randperm(len(r), generator=generator)[:number]])
    if not sum(len(r) for r in parts[0]):
        raise ValueError("no combination occurs both in the training data and in the held-out data")
    return first[torch.cat(parts[0])], second[torch.cat(parts[1])]


def nearest(a: Samples, b: Samples) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """Distance and place of each sample's nearest neighbour among those of its combination, the first of equally near
    ones; infinite where none is."""
    distances, places = [], []
    other = b.x.flatten(1).double()
    for rows in torch.arange(len(a)).split(BLOCK):
        part = torch.cdist(a.x[rows].flatten(1).double(), other, compute_mode="donot_use_mm_for_euclid_dist")
        part[(a.y[rows][:, None] != b.y).any(-1)] = torch.inf
        found = part.min(1)
        distances.append(found.values)
        places.append(found.indices)
    return torch.cat(distances), torch.cat(places)


def neighbour_test(generated: Samples, training: Samples, heldout: Samples, *, seed: int = 0) -> Mapping[str, Any]:
    """The share of generated samples with their nearest neighbour in the training data, and the share of copies.

    Args:
        generated: of combinations that occur in both other sets; others are left out.
        training, heldout: real samples, any numbers of them.
        seed: of the balancing, the bootstrap and the permutations.

    Raises:
        ValueError: no combination is in all three.
    """
    generator = torch.Generator().manual_seed(seed)
    half, other = balanced(training, heldout, generator)
    asked = (generated.y[:, None] == torch.unique(half.y, dim=0)).all(-1).any(1)
    generated = generated[asked]
    if not len(generated):
        raise ValueError("no generated sample is of a combination that both training and held-out data have")
    # In random order: of equally near samples the first is taken, which must not be a training sample always.
    order = torch.randperm(len(half) + len(other), generator=generator)
    pool = joined([half, other])[order]
    is_training = order < len(half)
    _, place = nearest(generated, pool)
    hit = is_training[place].double()
    # Samples with the same neighbour, or with neighbours of one source, are no independent witnesses.
    witnesses = place if pool.sources is None else pool.sources[place]
    weights = clustered_weights(witnesses, DRAWS, generator).double()
    share = Estimate.centred(float(hit.mean()), (weights @ hit) / weights.sum(1), least=0.0)
    if pool.sources is None:
        chance = _permuted(pool.y, is_training, place, generator)
    else:  # which sources are the training's is drawn anew, whatever their combinations: the wider of the two
        units = torch.unique(torch.stack([pool.sources, is_training], 1), dim=0, return_inverse=True)
        chance = _permuted(torch.zeros(len(units[0]), 1), units[0][:, 1].bool(), units[1][place], generator)
    p = (1 + int((chance >= hit.mean() - 1e-12).sum())) / (1 + DRAWS)
    to_training, _ = nearest(generated, training)
    real, _ = nearest(other, training)
    copies = int((to_training < _level(real, other.y, generated.y)).sum())
    low, high = wilson(copies, len(generated))  # given the level; that of few held-out samples varies besides
    of_half, of_heldout = _copied(generated, half, other), _copied(generated, other, half)
    ends = chance.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return {
        "generated": len(generated),
        "training": len(training),
        "training_compared": len(half),
        "held_out": len(other),
        "nearer_to_training": {
            "value": share.value,
            "low": share.low,
            "high": min(share.high, 1.0),
            "by_chance": ends,
            "p": p,
        },
        "copies": {"value": copies / len(generated), "low": low, "high": high, "by_chance": _chance(len(other))},
        "copies_of_as_many": {"training": of_half, "held_out": of_heldout},
        "median_distance": {
            "generated_to_training": float(to_training.median()),
            "heldout_to_training": float(real.median()),
        },
    }


def _copied(generated: Samples, of: Samples, real: Samples) -> float:
    """Share of ``generated`` nearer to ``of`` than all but 1 % of ``real``."""
    return float((nearest(generated, of)[0] < _level(nearest(real, of)[0], real.y, generated.y)).double().mean())


def _chance(held_out: int) -> float:
    """The share of new samples below the 1 % quantile, interpolated, of so many others like them."""
    return (COPY_LEVEL * (held_out - 1) + 1) / (held_out + 1)


def _level(
    distances: Float[Tensor, " n"], real: Int[Tensor, "n k"], generated: Int[Tensor, "g k"]
) -> Float[Tensor, ""]:
    """The distance below which 1 % of real samples lie, where their combinations count as often as those of generated
    ones, all of which are among them; linear between distances, as the quantile of equal weights."""
    _, strata = torch.unique(torch.cat([real, generated]), dim=0, return_inverse=True)
    ours, asked = strata[: len(real)], strata[len(real) :]
    number = int(strata.max()) + 1
    weights = asked.bincount(minlength=number).double() / ours.bincount(minlength=number).clamp(min=1)
    counted = weights[ours] > 0
    order = distances[counted].argsort()
    sorted_, weight = distances[counted][order], weights[ours][counted][order]
    reached = weight.cumsum(0) - weight[0]  # 0 at the nearest, all but one sample's share at the farthest
    at = COPY_LEVEL * reached[-1]
    above = int(torch.searchsorted(reached, at).clamp(min=1, max=len(reached) - 1)) if len(reached) > 1 else 0
    if above == 0:
        return sorted_[0]
    share = (at - reached[above - 1]) / (reached[above] - reached[above - 1])
    return torch.lerp(sorted_[above - 1], sorted_[above], share)


def _permuted(
    y: Shaped[Tensor, "n k"], is_training: Bool[Tensor, " n"], place: Int[Tensor, " g"], generator: torch.Generator
) -> Float[Tensor, " draws"]:
    """The share, where which real samples, or sources, are the training's is drawn anew within combinations ``y``."""
    strata = torch.unique(y, dim=0, return_inverse=True)[1]
    counts = torch.zeros(len(y), dtype=torch.float64).index_add_(0, place, torch.ones(len(place), dtype=torch.float64))
    total = torch.zeros(DRAWS, dtype=torch.float64)
    for stratum in strata.unique():
        rows = (strata == stratum).nonzero()[:, 0]
        order = torch.rand(DRAWS, len(rows), generator=generator).argsort(1)
        total += (is_training[rows][order] * counts[rows]).sum(1)
    return total / len(place)
