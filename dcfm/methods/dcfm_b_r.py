"""DCFM-B+R: DCFM-B's student, then a few rounds of federated averaging that start from it. Ours, not the paper's.

What either lacks the other has. The student knows nothing but what its teachers do, but all of it, at once; averaging
sees real data, but one silo's at a time: it composes if rounds are many and short, and with few long ones it falls
apart, since from random weights silos walk far from each other. From the student they do not walk far.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from dcfm.decentralized import Federation
from dcfm.exchange import Exchange
from dcfm.methods.method import Recipe
from dcfm.methods.single import SingleNetwork
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.student import StudentConfig
from dcfm.weights import Weights


@dataclass(frozen=True)
class DcfmBR(SingleNetwork):
    """Stage I up, a student that is trained for a part of DCFM-B's steps, ``rounds`` of averaging, the average down:
    ``2 rounds + 2`` models a silo.

    Args:
        rounds: of averaging.
        share: of the student's steps that are left out, and of ``further``'s that the rounds take in each silo instead:
            as many updates in all as DCFM-B's, where ``further`` has as many in all silos as the student.
        rate: learning rate of the first round, as a share of the recipe's for averaging.

    Raises:
        ValueError: no round, a share not in (0, 1), or a rate of 0 and less.
    """

    title: str = "DCFM-B+R"
    rounds: int = 3
    share: float = 0.5
    rate: float = 0.5
    private: ClassVar[tuple[str, ...]] = ("stage_one", "fedavg")

    def __post_init__(self) -> None:
        if self.rounds < 1 or not 0 < self.share < 1 or self.rate <= 0:
            raise ValueError(
                f"rounds={self.rounds}, share={self.share}, rate={self.rate}; give at least one round, a share between "
                "0 and 1 (without rounds the method is dcfm_b) and a rate above 0"
            )

    def student(self, recipe: Recipe) -> StudentConfig:
        """DCFM-B's, shorter."""
        loop = recipe.student.loop
        steps = max(1, round((1 - self.share) * loop.steps))
        return replace(recipe.student, loop=replace(loop, steps=steps, warmup=min(loop.warmup, steps // 2)))

    def averaging(self, recipe: Recipe) -> FedAvgConfig:
        """The recipe's local training with few long rounds, in which the rate falls to the next one's."""
        steps = max(1, round(self.share * recipe.further.loop.steps / self.rounds))
        return replace(
            recipe.fedavg,
            rounds=self.rounds,
            steps=steps,
            learning_rate=self.rate * recipe.fedavg.learning_rate,
            warmup=steps // 4,
            continuous=True,
            checkpoint_every=1,
        )

    def own(self, recipe: Recipe) -> Recipe:
        return replace(recipe, student=self.student(recipe), fedavg=self.averaging(recipe))

    def train(self, federation: Federation, recipe: Recipe, exchange: Exchange) -> list[Weights]:
        self.check(recipe)
        own, local = self.own(recipe), federation.stage_one(recipe.stage_one)
        student = federation.dcfm_b(local, own.student, exchange, "dcfm_b_r_student", deliver=False)
        average = federation.fedavg("dcfm_b_r", own.fedavg, exchange, student, recipe.stage_one)
        for silo in federation.silos:
            exchange.download(silo.name, "weights", average)
        return [average]
