"""Ways to sample whole labels from what a method trained, the same for all methods.

Known combinations choose among them (:func:`choose`, :mod:`dcfm.selection`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Final, Protocol, TypeVar, runtime_checkable

from jaxtyping import Int
from torch import Tensor

from dcfm.fields import Field, Guided
from dcfm.methods.method import FULL, RULES, Method
from dcfm.selection import Selection, select
from dcfm.silos import LabelHistogram


@dataclass(frozen=True)
class Sampling:
    """How whole labels are answered.

    Attributes:
        rule: see :meth:`dcfm.methods.method.Method.field`.
        weight: of guidance, in every term of Eq. 5 or of the whole label (:class:`~dcfm.fields.Guided`); 1: none.
    """

    rule: str
    weight: float = 1.0

    def field(
        self,
        method: Method,
        networks: Sequence[Field],
        histograms: Sequence[LabelHistogram],
        null: Int[Tensor, " k"],
    ) -> Field:
        """The field to sample from.

        Args:
            method: that trained the networks.
            networks, histograms: see :meth:`~dcfm.methods.method.Method.field`.
            null: the null tokens.

        Raises:
            ValueError: an unknown rule.
        """
        if self.rule == "composed":
            return method.field(networks, histograms, null, self.rule, (self.weight,) * len(null))
        answer = method.field(networks, histograms, null, self.rule)
        return answer if self.weight == 1 else Guided(answer, null, self.weight)


CANDIDATES: Final = {
    FULL: Sampling(FULL),
    "full, w = 1.5": Sampling(FULL, 1.5),
    "full, w = 2": Sampling(FULL, 2.0),
    "joint": Sampling("joint"),
    "composed, w = 1": Sampling("composed"),
    "composed, w = 1.5": Sampling("composed", 1.5),
}
"""By name, the plainest first: of equals the first is chosen."""


def candidates(rules: Sequence[str]) -> dict[str, Sampling]:
    """Those of :data:`CANDIDATES` that sample by one of these rules or have one of these names.

    Raises:
        ValueError: no rule, or what is neither a rule nor a name.
    """
    allowed = dict.fromkeys((FULL, *RULES, *CANDIDATES))
    if not rules or set(rules) - set(allowed):
        raise ValueError(f"rules={list(rules)}: give one or more of {', '.join(map(repr, allowed))}")
    return {name: sampling for name, sampling in CANDIDATES.items() if {name, sampling.rule} & set(rules)}


def only_candidate(rules: Sequence[str]) -> str | None:
    """The name of the candidate that one entry of ``rules`` fixes: nothing is chosen; ``None`` where something is.

    A rule that is a name too, ``full`` and ``joint``, means by itself that candidate, without guidance.
    """
    return rules[0] if len(rules) == 1 and rules[0] in CANDIDATES else None


@runtime_checkable
class Ruled(Protocol):
    """A frozen dataclass that says, among other things, by which rule whole labels are answered."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def rule(self) -> str: ...


Way = TypeVar("Way", bound=Ruled)


def choose(
    allowed: Mapping[str, Way],
    method: Method,
    successes: Callable[[Way, Int[Tensor, "m k"]], tuple[int, int]],
    known: Int[Tensor, "m k"],
    *,
    criterion: str,
    on_candidate: Callable[[int, int], None] | None = None,
) -> Selection:
    """Choose how a method is sampled, by known combinations only.

    Where it answers what nobody holds by another rule than known combinations
    (:meth:`~dcfm.methods.method.Method.novel_rule`), these are asked by both, and the worse of the two counts: the rule
    that novel ones never take would say nothing of them.

    Args:
        allowed: candidates by name, the plainest first.
        method: that is sampled.
        successes: given a way and the combinations to score, returns (successes, trials).
        known: whole labels of known combinations.
        criterion: what a success is, in words.
        on_candidate: called with (candidates scored, candidates).
    """
    notify = on_candidate or (lambda done, total: None)
    scored = 0
    notify(scored, len(allowed))

    def score(candidate: Way, known: Int[Tensor, "m k"]) -> tuple[int, int]:
        nonlocal scored
        ways = dict.fromkeys((candidate, replace(candidate, rule=method.novel_rule(candidate.rule))))
        worst = min(successes(way, known) for way in ways)
        scored += 1
        notify(scored, len(allowed))
        return worst

    return select(
        allowed,
        score,
        known,
        settings={name: asdict(candidate) for name, candidate in allowed.items()},
        criterion=f"{criterion}; by the rule for novel ones too where that is another one, the worse of the two",
    )
