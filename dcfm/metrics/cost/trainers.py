"""The trainers whose steps are counted, each with Table 4's formula and that of what it evaluates as run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from dcfm.attributes import MaskRates
from dcfm.methods.method import without_independence
from dcfm.metrics.cost import computation as formulas
from dcfm.metrics.cost.computation import Evaluations
from dcfm.trainers.fedavg import FedAvgConfig
from dcfm.trainers.local import LocalConfig
from dcfm.trainers.loop import LoopConfig
from dcfm.trainers.objective import IndependenceConfig, ObjectiveConfig
from dcfm.trainers.peers import PeerConfig
from dcfm.trainers.student import ReplayConfig, StudentConfig

BATCH: Final = 32
STEPS: Final = 24
"""Steps of a measurement: a whole number of blocks of every student's replay below."""


@dataclass(frozen=True)
class Trainer:
    """A trainer with one configuration, and its formulas: Table 4's (``paper``) and as run.

    Args:
        config: its type tells which trainer.
        paper: evaluations by Table 4 for ``k`` attributes, ``None`` for what the paper lacks.
        paper_formula, as_run_formula: forward / backward, in words of ``k``.
        why: the two differ, one reason each.
        factored: train a factored network.
    """

    config: LocalConfig | FedAvgConfig | PeerConfig | StudentConfig
    paper: Callable[[int], Evaluations] | None
    paper_formula: str | None
    as_run_formula: str
    why: tuple[str, ...] = ()
    factored: bool = False


_LOOP: Final = LoopConfig(steps=STEPS, batch=BATCH, warmup=0, checkpoint_every=STEPS)
_APART: Final = "flow matching evaluates masked labels (Eq. 8) and shares no evaluation with the CI term: 1 more"
_OWN: Final = "c of the composition's k + 1 terms are the silo's own, 1 or more as the routing is drawn; Table 4 has 1"
_TWO: Final = "a replayed point serves two steps, so the teachers cost half an evaluation"
_SHARE: Final = "the CI term sees a share of the batch"

_PAIR: Final = (
    "as pictures and X-rays train: not in Table 4; a contrast of four whole labels instead of all k + 2 terms, at "
    "points that the network walked to in 4 steps, on a share of the batch"
)
_CONTRAST: Final = {"pairwise": True, "contrast": True, "paths": "own"}


def _objective(**changes: object) -> ObjectiveConfig:
    values = {"weight": 1.0, "share": 1.0, "labels": "own"} | changes
    masks = MaskRates(0.75, 0.08, 0.02, pair=0.15) if changes.get("pairwise") else MaskRates()
    return ObjectiveConfig(masks, IndependenceConfig(**values))  # type: ignore[arg-type]


def _local(**changes: object) -> LocalConfig:
    return LocalConfig(_LOOP, _objective(**changes))


def _student(replay: ReplayConfig, **changes: object) -> StudentConfig:
    return StudentConfig(_LOOP, _objective(labels="global", **changes), replay)


_LOCAL: Final = ("k+2 / k+2", "1 + (k+2) / 1 + (k+2)")
_ONCE: Final = ReplayConfig(paths=BATCH, steps=6, reuse=1.0, held=0.0)
_TWICE: Final = replace(_ONCE, reuse=2.0)

TRAINERS: Final[Mapping[str, Trainer]] = {
    "flow matching alone": Trainer(_local(weight=0.0), lambda k: formulas.matching_evaluations(), "1 / 1", "1 / 1"),
    "FedFlow, a silo's step": Trainer(
        FedAvgConfig(steps=STEPS, batch=BATCH, objective=_objective(weight=0.0)),
        lambda k: formulas.matching_evaluations(),
        "1 / 1",
        "1 / 1",
    ),
    "factored": Trainer(
        LocalConfig(_LOOP, replace(without_independence(_objective()), masks=MaskRates(1.0, 0.0, 0.0))),
        None,
        None,
        "k+1 / k+1",
        ("not in the paper: a factored network is k + 1 evaluations of the one it shares",),
        factored=True,
    ),
    "local CI, own labels": Trainer(_local(), formulas.local_evaluations, *_LOCAL, why=(_APART,)),
    "local CI, global labels": Trainer(_local(labels="global"), formulas.local_evaluations, *_LOCAL, why=(_APART,)),
    "local CI, share 1/8": Trainer(
        _local(share=0.125),
        formulas.local_evaluations,
        "k+2 / k+2",
        "1 + (k+2)/8 / 1 + (k+2)/8",
        why=(_APART, _SHARE),
    ),
    "local CI, pairwise": Trainer(
        _local(pairwise=True),
        None,
        None,
        "1 + 4 / 1 + 4",
        why=("not in Table 4: a random pair of attributes instead of all, 4 evaluations whatever k",),
    ),
    "local CI, own paths": Trainer(
        _local(paths="own"),
        formulas.local_evaluations,
        "k+2 / k+2",
        "1 + 4 + (k+2) / 1 + (k+2)",
        why=(_APART, "4 steps to points on the network's own paths, without gradient"),
    ),
    "DCFM-A": Trainer(
        PeerConfig(_LOOP, _objective()),
        formulas.peers_evaluations,
        "k+2 / 2",
        "1 + (k+2) / 1 + (1+c)",
        why=(_APART, _OWN),
    ),
    "DCFM-A, share 1/4": Trainer(
        PeerConfig(_LOOP, _objective(share=0.25)),
        formulas.peers_evaluations,
        "k+2 / 2",
        "1 + (k+2)/4 / 1 + (1+c)/4",
        why=(_APART, _SHARE, _OWN),
    ),
    "DCFM-A, contrast": Trainer(
        PeerConfig(_LOOP, _objective(share=0.25, labels="held", **_CONTRAST)),
        None,
        None,
        "1 + (4 + 4)/4 / 1 + (1+c)/4",
        why=(_PAIR,),
    ),
    "DCFM-B, a point used once": Trainer(
        _student(_ONCE),
        formulas.student_evaluations,
        "k+3 / k+2",
        "1 + 1 + (k+2) / 1 + (k+2)",
        why=(_APART,),
    ),
    "DCFM-B, a point used twice": Trainer(
        _student(_TWICE),
        formulas.student_evaluations,
        "k+3 / k+2",
        "1/2 + 1 + (k+2) / 1 + (k+2)",
        why=(_APART, _TWO),
    ),
    "DCFM-B, used twice, share 1/4": Trainer(
        _student(_TWICE, share=0.25),
        formulas.student_evaluations,
        "k+3 / k+2",
        "1/2 + 1 + (k+2)/4 / 1 + (k+2)/4",
        why=(_APART, _SHARE, _TWO),
    ),
    "DCFM-B, contrast, teachers compose": Trainer(
        replace(_student(_TWICE), objective=_objective(share=0.5, labels="held", **_CONTRAST), teachers_compose=True),
        None,
        None,
        "1/2 + 1 + (4 + 4)/2 / 1 + 1/2",
        why=(_PAIR,),
    ),
}
"""What :func:`dcfm.metrics.cost.steps.measure_step` knows, by name."""
