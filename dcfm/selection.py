"""Choosing a hyperparameter by known combinations only, in a way that cannot look at the novel ones unseen.

What a method does on combinations that nobody holds is what it is judged by, so it must not decide a choice. Here the
function that scores a candidate is *given* the combinations to score, and these are known ones; whatever field it
samples from, it can wrap in :class:`KnownOnly`, which refuses every other whole label. Everything tried, its score and
the choice go into ``selection.json``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dcfm.artefacts import git_revision, write_text_atomically
from dcfm.fields import Field
from dcfm.metrics.intervals import share

Candidate = TypeVar("Candidate")


class LeakError(ValueError):
    """A choice asked about a combination that it must not see."""


@dataclass(frozen=True)
class KnownOnly:
    """A field that answers labels for known combinations only; a null token stands for any value.

    Args:
        field: asked where the label may be asked.
        known: the known combinations.
        null: the null tokens.
    """

    field: Field
    known: Int[Tensor, "m k"]
    null: Int[Tensor, " k"]

    def __call__(
        self,
        x: Float[Tensor, " batch *shape"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, " batch *shape"] | None = None,
    ) -> Float[Tensor, " batch *shape"]:
        check_known(y, self.known, self.null)
        return self.field(x, t, y, held)


def check_known(y: Int[Tensor, "batch k"], known: Int[Tensor, "m k"], null: Int[Tensor, " k"]) -> None:
    """Raise :class:`LeakError` if a label can stand for no known combination (a null token stands for any value)."""
    known, open_ = known.to(y.device), y == null.to(y.device)
    fits = ((y[:, None] == known) | open_[:, None]).all(-1).any(1)
    if not fits.all():
        raise LeakError(
            f"a choice asked about the label {y[~fits][0].tolist()}, which is no known combination; score known "
            "combinations only"
        )


@dataclass(frozen=True)
class Selection:
    """What was tried and what was chosen.

    Attributes:
        chosen: the name of the candidate with the highest score, the first of them in case of a tie.
        scores: successes and trials of each candidate.
        settings: what each candidate's name stands for, as plain data.
        known: the combinations that were scored.
        criterion: what a success is, in words.
    """

    chosen: str
    scores: Mapping[str, tuple[int, int]]
    settings: Mapping[str, Any]
    known: Int[Tensor, "m k"]
    criterion: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file; rates with 95 % Wilson intervals."""
        tried = {}
        for name, (k, n) in self.scores.items():
            tried[name] = {"settings": self.settings[name], "score": share(k, n)}
        return {
            "chosen": self.chosen,
            "criterion": self.criterion,
            "scored_combinations": self.known.tolist(),
            "tried": tried,
            "git_revision": git_revision(),
        }

    def to_json(self, path: str | Path) -> None:
        """Write ``selection.json``, whole or not at all."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n")


def select(
    candidates: Mapping[str, Candidate],
    score: Callable[[Candidate, Int[Tensor, "m k"]], tuple[int, int]],
    known: Int[Tensor, "m k"],
    *,
    settings: Mapping[str, Any] | None = None,
    criterion: str = "",
) -> Selection:
    """Score every candidate on the known combinations and choose the best.

    Args:
        candidates: by name.
        score: given a candidate and the combinations to score, returns (successes, trials).
        known: whole labels of known combinations, no more.
        settings: what each candidate's name stands for, for the record; the candidates' ``str`` where left out.
        criterion: what a success is, in words, for the record.

    Raises:
        ValueError: no candidate, no combination, settings that lack a candidate, or a score without trials.
    """
    if not candidates or not len(known):
        raise ValueError(f"{len(candidates)} candidates and {len(known)} known combinations; give at least one of each")
    described = settings or {name: str(candidate) for name, candidate in candidates.items()}
    if missing := [name for name in candidates if name not in described]:
        raise ValueError(
            f"settings describe {', '.join(map(repr, described))} but not {', '.join(map(repr, missing))}; describe "
            "every candidate, or leave settings out"
        )
    scores = {name: score(candidate, known.clone()) for name, candidate in candidates.items()}
    for name, (k, n) in scores.items():
        if not 0 <= k <= n or n == 0:
            raise ValueError(f"candidate {name!r} scored {k} of {n}; a score is successes of at least one trial")
    chosen = max(scores, key=lambda name: scores[name][0] / scores[name][1])
    return Selection(chosen, scores, dict(described), torch.as_tensor(known), criterion)
