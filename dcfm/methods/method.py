"""What a method is: how a federation trains it, and which field its networks then make."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Final

from jaxtyping import Int
from torch import Tensor

from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.fields import Composed, Field
from dcfm.privacy.gradients import check_objective
from dcfm.silos import LabelHistogram
from dcfm.task import Task
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.objective import ObjectiveConfig
from dcfm.trainers.peers import PeerConfig
from dcfm.trainers.student import StudentConfig
from dcfm.weights import Weights

RULES: Final = ("joint", "composed")
"""Ways to answer whole labels; see :meth:`Method.field`."""
FULL: Final = "full"
"""A third way, ``joint`` for combinations that nobody holds too; of all methods here only DCFM-A knows a difference."""


@dataclass(frozen=True)
class Recipe:
    """What a task gives all methods to train with; each takes what it needs.

    Args:
        stage_one: of every silo alone, with the local CI term; methods without "+L" leave the term out.
        further: what the experts of DDM and DFD train on after Stage I, so that they get as many steps as DCFM's.
        peers: DCFM-A's rounds.
        student: DCFM-B's distillation.
        fedavg: FedFlow's rounds, and those of ``factored``.
        pooled: the one network on the union of the data.
    """

    stage_one: LocalConfig = field(default_factory=LocalConfig)
    further: LocalConfig = field(default_factory=LocalConfig)
    peers: PeerConfig = field(default_factory=PeerConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    fedavg: FedAvgConfig = field(default_factory=FedAvgConfig)
    pooled: LocalConfig = field(default_factory=LocalConfig)


class Method(ABC):
    """A way to train generative models over silos and to sample from what was trained.

    Attributes:
        title: as tables print it.
        decentralised: whether raw samples stay in their silos.
        baseline: whether tables hold the other decentralised methods against it; a new method is one of these others.
        private: the recipe's sections that it trains on data with, where they can be private: all of them or none.
    """

    title: str
    decentralised: ClassVar[bool] = True
    baseline: ClassVar[bool] = False
    private: ClassVar[tuple[str, ...]] = ()

    def check(self, recipe: Recipe) -> None:
        """Raise ``ValueError`` where this method cannot train with a recipe: it asks for privacy, and this method would
        train without, for all or for a part. Where several methods are trained, all are asked before the first."""
        given = private_sections(recipe)
        own, missing = ([name for name in self.private if (name in given) is there] for there in (True, False))
        if not given or not self.decentralised or (own and not missing):
            return
        asked, needed = (" and ".join(f"{name}.privacy" for name in names) for names in (own or given, missing))
        if own:
            raise ValueError(
                f"{asked} is given and {needed} is not, but {self.title} trains on the same data with both, so that "
                f"nothing would be protected; give {needed} too, or neither"
            )
        raise ValueError(
            f"{asked} is given, with which {self.title} does not train: it would be trained without privacy; "
            f"{f'give {needed}' if needed else 'leave it out'}, or train {self.title} in a run of its own"
        )

    def own(self, recipe: Recipe) -> Recipe:
        """The recipe with what this method changes of it, e.g. an objective without the CI term; the given one where it
        takes its parts as they are."""
        return recipe

    @abstractmethod
    def train(self, federation: Federation, recipe: Recipe, exchange: Exchange) -> list[Weights]:
        """Train; returns one network's weights, or one expert's a silo, where sampling takes place.

        Trainings whose artefacts lie under ``federation.out`` already are not repeated. All that passes between silos
        passes through ``exchange``, which must be one for :meth:`task`'s network.
        """

    @abstractmethod
    def field(
        self,
        networks: Sequence[Field],
        histograms: Sequence[LabelHistogram],
        null: Int[Tensor, " k"],
        rule: str = "joint",
        weights: tuple[float, ...] | None = None,
    ) -> Field:
        """The field of the trained networks.

        Args:
            networks: what :meth:`train` returned, as networks of :meth:`task`.
            histograms: one a silo.
            null: the null tokens.
            rule: ``joint`` answers a combination by what was trained on whole labels, where there is such an answer;
                ``composed`` answers every combination by Eq. 5; ``full`` none, not even what nobody holds.
            weights: guidance ``w`` of Eq. 5.

        Raises:
            ValueError: an unknown rule.
        """

    def novel_rule(self, rule: str) -> str:
        """The rule by which a combination that nobody holds is answered under ``rule``: the same, unless a method says
        otherwise. What known combinations choose for novel ones must be judged by that answer too."""
        return rule

    def exchange(self, federation: Federation) -> Exchange:
        """A new exchange for :meth:`train`, its template this method's network."""
        return replace(federation, task=self.task(federation.task)).exchange()

    def task(self, task: Task) -> Task:
        """The task whose ``network()`` this method trains: the given one, unless the method needs another network."""
        return task


def private_sections(recipe: Recipe) -> list[str]:
    """Names of the recipe's sections that train privately."""
    return [f.name for f in fields(recipe) if getattr(getattr(recipe, f.name), "privacy", None) is not None]


def private_parts(method: Method, recipe: Recipe) -> list[LocalConfig | FedAvgConfig]:
    """The sections that a method trains privately with, as it takes them, in the order of its trainings."""
    own = method.own(recipe)
    return [part for name in method.private if (part := getattr(own, name)).privacy is not None]


def check_recipe(methods: Sequence[Method], recipe: Recipe) -> None:
    """Raise ``ValueError`` where one of the methods cannot train with a recipe, or none would with what is private."""
    for method in methods:
        method.check(recipe)
    used = {name for method in methods for name in method.private}
    if unused := [name for name in private_sections(recipe) if name not in used]:
        takes = f"; what can be private here is {', '.join(sorted(used))}" if used else ""
        raise ValueError(
            f"{', '.join(f'{name}.privacy' for name in unused)}: none of {', '.join(m.title for m in methods)} trains "
            f"with that, so nothing is protected; leave it out{takes}"
        )
    for method in methods:
        for section in private_parts(method, recipe):
            check_objective(section.objective)


def check_rule(rule: str) -> None:
    """Raise ``ValueError`` unless the rule is one of :data:`RULES` or :data:`FULL`."""
    if rule not in (*RULES, FULL):
        raise ValueError(f"unknown rule {rule!r}; the rules are {', '.join(RULES)} and {FULL}")


def answered(answer: Field, rule: str, null: Int[Tensor, " k"], weights: tuple[float, ...] | None) -> Field:
    """A field that answers whole labels, as it is or by Eq. 5 over its own marginals, as ``rule`` says."""
    check_rule(rule)
    return Composed(answer, null, weights) if rule == "composed" else answer


def without_independence(objective: ObjectiveConfig) -> ObjectiveConfig:
    """The objective of a baseline without "+L": Eq. 9 alone."""
    return replace(objective, independence=replace(objective.independence, weight=0.0))
