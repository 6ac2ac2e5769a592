"""Computation: forward and backward evaluations of a network in one training step, counted, beside Table 4's formulas.

The unit is ``B``, one evaluation for each sample of the batch; a step's cost in these units does not depend on the
network. Forward counts all evaluations, backward those that a gradient goes back through; what frozen networks do is
forward only. Table 4, written for ``k`` attributes (the paper prints ``k = 2``), counts one joint evaluation for flow
matching and CI term together:

=====================  ===========  ===========  ==============================================================
flow matching alone    ``1``        ``1``
with local CI          ``k + 2``    ``k + 2``    joint, unconditional, ``k`` marginals
DCFM-A                 ``k + 2``    ``2``        joint and one own term; the other terms are frozen peers'
DCFM-B                 ``k + 3``    ``k + 2``    as local CI, and the frozen teacher once
=====================  ===========  ===========  ==============================================================

The ``*_as_run`` functions count what :mod:`dcfm.trainers` does. It differs in three ways: flow matching evaluates its
masked labels (Eq. 8) and shares nothing with the CI term; the CI term sees a share of the batch; and a replayed point
of DCFM-B costs the teacher one evaluation but is used more than once. Where a contrast replaces the full term it has
four evaluations whatever ``k``, and where teachers compose (``teachers_compose``) three of these are theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from dcfm.fields import value_weights
from dcfm.silos import LabelHistogram
from dcfm.task import WithOtherNetwork
from dcfm.trainers.objective import IndependenceConfig
from dcfm.trainers.student import StudentConfig


@dataclass(frozen=True)
class Evaluations:
    """Of one training step, in units of the batch ``B``."""

    forward: float | int
    backward: float | int


@dataclass
class EvaluationCounter:
    """Rows that networks evaluated, and rows that a gradient came back to; several networks may share one counter."""

    forward: int = 0
    backward: int = 0

    def watch(self, network: nn.Module) -> nn.Module:
        """Count the evaluations of this network and of copies of it (``copy.deepcopy``); returns the network."""

        def count_gradient(gradient: Tensor) -> None:
            self.backward += len(gradient)

        def count(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
            self.forward += len(output)
            if output.requires_grad:
                output.register_hook(count_gradient)

        network.register_forward_hook(count)
        return network

    def per_step(self, steps: int, batch: int) -> Evaluations:
        """What was counted over ``steps`` steps of ``batch`` samples, per step and sample."""
        return Evaluations(self.forward / (steps * batch), self.backward / (steps * batch))


@dataclass(frozen=True)
class CountedTask(WithOtherNetwork):
    """A task all of whose networks are counted."""

    counter: EvaluationCounter

    def network(self) -> nn.Module:
        return self.counter.watch(self.inner.network())


def matching_evaluations() -> Evaluations:
    """Table 4: flow matching without a CI term."""
    return Evaluations(1, 1)


def local_evaluations(k: int) -> Evaluations:
    """Table 4: flow matching and local CI over ``k`` attributes."""
    return Evaluations(k + 2, k + 2)


def peers_evaluations(k: int) -> Evaluations:
    """Table 4: DCFM-A with one of the composition's terms served by the silo itself."""
    return Evaluations(k + 2, 2)


def student_evaluations(k: int) -> Evaluations:
    """Table 4: DCFM-B."""
    return Evaluations(k + 3, k + 2)


def factored_as_run(k: int) -> Evaluations:
    """The ``factored`` arm: its one evaluation is ``k + 1`` of the network that it shares."""
    return Evaluations(k + 1, k + 1)


def term_share(config: IndependenceConfig, batch: int) -> float:
    """Samples of the CI term, as a share of the batch: rounded to whole samples, at least one; none at weight 0."""
    return max(1, round(config.share * batch)) / batch if config.weight > 0 else 0.0


def _path_evaluations(config: IndependenceConfig) -> int:
    return config.path_steps if config.paths == "own" else 0


def _terms(k: int, config: IndependenceConfig) -> int:
    return 4 if config.pairwise else k + 2


def local_as_run(k: int, config: IndependenceConfig, batch: int) -> Evaluations:
    """Stage I as run: ``1 + s (k + 2)`` with ``s`` the CI term's share of the batch; 4 in place of ``k + 2`` for the
    pairwise term; walking to points on the network's own paths is forward only."""
    share, terms = term_share(config, batch), _terms(k, config)
    return Evaluations(1 + share * (terms + _path_evaluations(config)), 1 + share * terms)


def peers_as_run(k: int, config: IndependenceConfig, batch: int, own_terms: float | int) -> Evaluations:
    """DCFM-A as run: ``1 + s (k + 2)`` forward, ``1 + s (1 + c)`` backward, ``c`` the number of the composition's
    ``k + 1`` terms that the routing leaves to the silo itself (:func:`expected_own_terms`); of a pair 4 and 3."""
    share = term_share(config, batch)
    return Evaluations(1 + share * (_terms(k, config) + _path_evaluations(config)), 1 + share * (1 + own_terms))


def student_as_run(k: int, config: StudentConfig, steps: int) -> Evaluations:
    """DCFM-B as run over ``steps`` steps of a task that does not inpaint: Stage I's cost, and forward only the
    teachers' (:func:`teacher_as_run`). Where teachers compose, all of the CI term but the student's joint evaluation is
    theirs, forward only too."""
    batch, independence = config.loop.batch, config.objective.independence
    own = local_as_run(k, independence, batch)
    backward = 1 + term_share(independence, batch) if config.teachers_compose else own.backward
    return Evaluations(own.forward + teacher_as_run(config, steps), backward)


def teacher_as_run(config: StudentConfig, steps: int, holds: bool = False) -> float:
    """Evaluations of the teachers for the replay of ``steps`` student steps, per step in units of ``B``.

    A block has ``paths * steps`` points for each stage of the solver, one evaluation each, and ``held`` times as many
    more for tasks that inpaint (``holds``); it serves ``reuse * points / B`` steps. Over many steps this is
    ``1 / reuse``.
    """
    blocks = math.ceil(steps / config.steps_of_block(holds))
    return blocks * config.replay.points(holds) / (steps * config.loop.batch)


def expected_own_terms(
    histograms: Sequence[LabelHistogram], index: int, y: Int[Tensor, "n k"], routing: str = "support"
) -> float:
    """How many of Eq. 12's ``k + 1`` terms silo ``index`` serves itself, on average over labels ``y``.

    Terms fall to it independently with probabilities ``w_i`` (``p(a|0)``, ``p(a|y_i)``; ``1/n`` for uniform routing),
    and where none does, it serves the unconditional one: ``sum_i w_i + prod_i (1 - w_i)``.
    """
    if routing == "uniform":
        weights = torch.full((y.shape[1] + 1, len(y)), 1 / len(histograms))
    else:
        weights = value_weights(histograms, y)[..., index]
    return float((weights.sum(0) + (1 - weights).prod(0)).mean())
