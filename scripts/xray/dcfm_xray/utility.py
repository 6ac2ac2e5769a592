"""Compositional recall, utility and precision (Eq. 18) of predicted sets of findings.

For a set ``S`` of findings, among test images ``x`` with findings ``y`` and predicted findings ``p(x)``::

    recall(S)    = |{x : S in y, S in p(x)}| / |{x : S in y}|
    precision(S) = |{x : S in y, S in p(x)}| / |{x : S in p(x)}|

Utility ``U`` is the mean of ``recall(S)`` over distinct feasible sets, the empty one left out; sets that no test image
has are left out and counted. Precision stands beside it because recall alone is won by saying yes; its mean is over
sets that were predicted at least once. Intervals: bootstrap over patients, all images of a patient together; a draw's
mean is over the sets that it holds. Where nothing or all is right, in the samples and so in every draw, the interval
ends at the mean over sets of Wilson's bounds for as many patients as have the set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm.metrics.bootstrap import Estimate, clustered_weights
from dcfm.metrics.intervals import share, wilson
from dcfm_xray.findings import describe, to_set


@dataclass(frozen=True, eq=False)
class Composition:
    """Which test images have, are predicted to have, and rightly are predicted to have each set."""

    sets: Int[Tensor, "m 14"]
    has: Bool[Tensor, "n m"]
    said: Bool[Tensor, "n m"]

    @classmethod
    def of(
        cls, predicted: Bool[Tensor, "n 14"], labels: Int[Tensor, "n 14"], sets: Int[Tensor, "m 14"]
    ) -> "Composition":
        """Of predictions, over the sets that are not empty.

        Raises:
            ValueError: no such set.
        """
        sets = sets[sets.sum(1) > 0]
        if not len(sets):
            raise ValueError("utility is a mean over sets of findings; give at least one that is not empty")
        wanted = sets.bool()[None]
        return cls(sets, (labels.bool()[:, None] | ~wanted).all(-1), (predicted[:, None] | ~wanted).all(-1))

    def recall(self, weights: Float[Tensor, "draws n"]) -> Float[Tensor, "draws m"]:
        """Of each set, images counted as often as their weights say; NaN where no image has the set."""
        return weights @ (self.has & self.said).to(weights) / (weights @ self.has.to(weights))

    def precision(self, weights: Float[Tensor, "draws n"]) -> Float[Tensor, "draws m"]:
        """Likewise; NaN where the set is predicted of no image."""
        return weights @ (self.has & self.said).to(weights) / (weights @ self.said.to(weights))

    def table(self) -> list[dict[str, Any]]:
        """A row a set: counts, recall and precision with Wilson intervals; ``None`` where nothing can be counted."""
        rows = []
        both = (self.has & self.said).sum(0).tolist()
        for label, k, n, said in zip(self.sets, both, self.has.sum(0).tolist(), self.said.sum(0).tolist(), strict=True):
            row = {
                "findings": describe(to_set(label.tolist())),
                "recall": share(k, n) if n else None,
                "precision": share(k, said) if said else None,
            }
            rows.append(row)
        return rows


def utility(
    predicted: Bool[Tensor, "n 14"],
    labels: Int[Tensor, "n 14"],
    patients: Int[Tensor, " n"],
    sets: Mapping[str, Int[Tensor, "_ 14"]],
    *,
    draws: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """``U`` and precision over each group of sets, as plain data.

    Args:
        predicted, labels, patients: of the test images.
        sets: groups of feasible sets by name, e.g. ``known`` and ``novel``; empty sets in them are left out.
        draws, seed: of the bootstrap; equal for two methods, their draws belong together.

    Returns:
        By group: ``utility`` and ``precision`` (value, interval, draws; ``null`` where nothing can be counted),
        ``sets``, ``sets_without_test_images``, ``sets_never_predicted``, ``by_set``.
    """
    weights = clustered_weights(patients, draws, torch.Generator().manual_seed(seed)).double()
    once = torch.ones(1, len(labels), dtype=torch.float64)
    found: dict[str, Any] = {}
    for name, group in sets.items():
        if not (group.sum(1) > 0).any():
            found[name] = None
            continue
        composition = Composition.of(predicted, labels, group)
        recall, precision = composition.recall(once), composition.precision(once)
        found[name] = {
            "utility": _mean(recall, composition.recall(weights), _patients(composition.has, patients)),
            "precision": _mean(precision, composition.precision(weights), _patients(composition.said, patients)),
            "sets": len(composition.sets),
            "sets_without_test_images": int(recall.isnan().sum()),
            "sets_never_predicted": int(precision.isnan().sum()),
            "by_set": composition.table(),
        }
    return found


def _patients(of: Bool[Tensor, "n m"], patients: Int[Tensor, " n"]) -> list[int]:
    """Of each set, the patients with an image that counts."""
    return [len(patients[column].unique()) for column in of.T]


def _mean(
    value: Float[Tensor, "1 m"], draws: Float[Tensor, "draws m"], patients: Sequence[int]
) -> dict[str, Any] | None:
    """Macro average and its interval, over what is not NaN; ``patients`` are those that each of the means is over."""
    whole, each = float(value.nanmean()), draws.nanmean(1)
    each = each[~each.isnan()]
    if whole != whole or not len(each):
        return None
    found = Estimate.centred(whole, each, least=0.0)
    if whole in (0.0, 1.0):
        bounds = [wilson(int(whole) * n, n)[whole == 0.0] for n in patients if n]
        end = sum(bounds) / len(bounds)
        found = replace(found, low=min(whole, end), high=max(whole, end))
    return dict(Estimate(found.value, found.low, min(found.high, 1.0), found.bias, found.draws).as_dict(draws=True))
