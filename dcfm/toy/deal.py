"""Dealing the observed combinations' samples to silos.

``iid``: every silo gets an equal share of everything. ``noniid``: the arrangement of the paper's Section 4,
generalised: silo ``j`` sees attribute ``j mod k`` at one value only. ``dirichlet``: each combination is split
over the silos in proportions drawn from ``Dir(alpha)``.
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from dcfm.attributes import AttributeSpace
from dcfm.silos import Silo, partition
from dcfm.toy.mixture import Mixture, label_name

DEALS: Final = ("iid", "noniid", "dirichlet")


def check_deal(kind: str, silos: int) -> None:
    """Raise ``ValueError`` for an unknown arrangement or fewer than one silo."""
    if kind not in DEALS:
        raise ValueError(f"unknown partition {kind!r}; the toy's partitions are {', '.join(DEALS)}")
    if silos < 1:
        raise ValueError(f"silos={silos}; give at least one")


def check_samples(samples: int, silos: int) -> None:
    """Raise ``ValueError`` unless every silo can have a sample of each of its combinations."""
    if samples < silos:
        raise ValueError(f"{samples} samples of a combination cannot be dealt to {silos} silos; give more samples")


def read_partitions(given: Any) -> list[str]:
    """``both`` (iid and noniid), one arrangement or a list of them, as a list without repetitions.

    Raises:
        ValueError: an unknown arrangement, or none.
    """
    if given == "both":
        return ["iid", "noniid"]
    kinds = given if isinstance(given, list) else [given]
    for kind in kinds:
        if kind not in DEALS:
            raise ValueError(f"unknown partition {kind!r}; the toy's partitions are {', '.join(DEALS)}, or both")
    if not kinds:
        raise ValueError(f"no partition is given; give some of {', '.join(DEALS)}, or both")
    return list(dict.fromkeys(kinds))


def silo_values(observed: Int[Tensor, "m k"], silos: int) -> list[tuple[int, int]]:
    """The attribute of each silo and the one value of it that the silo sees, in the ``noniid`` arrangement.

    The value is the one with more observed combinations (0 where both have as many), which leaves the fewest
    combinations over; from silo ``k`` on the other value, from silo ``2 k`` on the first again.
    """
    k = observed.shape[1]
    majority = [int((2 * observed[:, i].sum() > len(observed)).item()) for i in range(k)]
    return [(j % k, majority[j % k] ^ ((j // k) % 2)) for j in range(silos)]


def holders(observed: Int[Tensor, "m k"], silos: int, generator: torch.Generator) -> Bool[Tensor, "m silos"]:
    """Which silos hold which observed combination in the ``noniid`` arrangement.

    A combination is held by every silo whose value it has, and where there is none by one drawn at random.

    Raises:
        ValueError: a silo is left without any combination.
    """
    held = torch.stack([observed[:, i] == value for i, value in silo_values(observed, silos)], dim=1)
    for row in (~held.any(1)).nonzero()[:, 0].tolist():
        held[row, int(torch.randint(silos, (), generator=generator))] = True
    if not held.any(0).all():
        empty = (~held.any(0)).nonzero()[:, 0].tolist()
        raise ValueError(f"silo {empty[0]} of {silos} is left without data; use fewer silos or leave out fewer")
    return held


def deal(
    mixture: Mixture,
    observed: Int[Tensor, "m k"],
    kind: str,
    silos: int,
    samples: int,
    *,
    seed: int,
    alpha: float = 0.1,
) -> list[Silo]:
    """Draw ``samples`` points of every observed combination and deal them; every point goes to exactly one silo.

    Args:
        mixture: the geometry.
        observed: the combinations that occur.
        kind: one of :data:`DEALS`.
        silos: how many.
        samples: of each observed combination, in all silos together.
        seed: of the points and of the dealing.
        alpha: concentration of ``dirichlet``.

    Raises:
        ValueError: an unknown kind, too few samples for the silos, or a silo left without data.
    """
    check_deal(kind, silos)
    check_samples(samples, silos)
    generator = torch.Generator().manual_seed(seed)
    labels = observed.repeat_interleave(samples, dim=0)
    data = mixture.sample(labels, generator)
    if kind == "noniid":
        rows = _by_value(observed, silos, samples, generator)
    else:
        rows = partition("iid" if kind == "iid" else "noniid", labels, silos, generator, alpha=alpha)
    return [Silo(f"silo{j}", data[part], labels[part]) for j, part in enumerate(rows)]


def _by_value(
    observed: Int[Tensor, "m k"], silos: int, samples: int, generator: torch.Generator
) -> list[Int[Tensor, " _"]]:
    held = holders(observed, silos, generator)
    rows: list[list[Tensor]] = [[] for _ in range(silos)]
    for combination, row in enumerate(held):
        silos_of_it = row.nonzero()[:, 0].tolist()
        order = combination * samples + torch.randperm(samples, generator=generator)
        for silo, share in zip(silos_of_it, order.tensor_split(len(silos_of_it)), strict=True):
            rows[silo].append(share)
    return [torch.cat(parts).sort().values for parts in rows]


def describe(silos: Sequence[Silo], space: AttributeSpace) -> dict[str, dict[str, int]]:
    """How many samples of which combination each silo holds."""
    found = {}
    for silo in silos:
        histogram = silo.histogram(space)
        pairs = zip(histogram.combinations.tolist(), histogram.counts.tolist(), strict=True)
        found[silo.name] = {label_name(y): n for y, n in pairs}
    return found
