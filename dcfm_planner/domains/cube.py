"""OGBench's cube: pick-and-places between the quadrants of a table, the domain of this package's own results."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torch import nn

from dcfm.attributes import AttributeSpace
from dcfm_planner.columns import Layout
from dcfm_planner.domain import CollectionProgress, Segments
from dcfm_planner.layout import LAYOUT
from dcfm_planner.network import PlanNetwork
from dcfm_planner.quadrants import NOVEL_PAIRS, SPACE
from dcfm_planner.segments import cut

log = logging.getLogger(__name__)

DATA: Final = "data/cube-single-play-v0.npz"
"""Where play data is collected by default: ``data`` of configs/train_planner.yaml."""

if TYPE_CHECKING:
    from dcfm_planner.evaluation.problems import Problems
    from dcfm_planner.evaluation.run import EvaluationSettings
    from dcfm_planner.evaluation.trials import Trial, Workbench
    from dcfm_planner.planner import Planner


@dataclass(frozen=True)
class CubeSingle:
    """A :class:`dcfm_planner.domain.Domain`.

    Args:
        border_margin: m, see :func:`dcfm_planner.segments.cut`.
        train, val, seed: of the play data, where it is to be collected (:class:`dcfm_envs.collection.CollectionPlan`).

    Raises:
        ValueError: values that cannot be.
    """

    border_margin: float = 0.02
    train: int = 500
    val: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("train", 1), ("val", 0), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"collect.{name}={value!r}: give a whole number of at least {least}")
        if not 0 <= self.border_margin < inf:
            raise ValueError(f"border_margin={self.border_margin}: give metres, 0 or more")

    @property
    def name(self) -> str:
        return "cube-single"

    @property
    def space(self) -> AttributeSpace:
        return SPACE

    @property
    def layout(self) -> Layout:
        return LAYOUT

    @property
    def novel(self) -> tuple[tuple[str, str], ...]:
        return NOVEL_PAIRS

    @property
    def guidance(self) -> tuple[float, float]:
        return (1.5, 1.5)

    def evaluation(self) -> CubeEvaluation:
        return CubeEvaluation()

    def network(self, horizon: int, fold: int, channels: Sequence[int], condition: int) -> nn.Module:
        """A fresh :class:`~dcfm_planner.network.PlanNetwork`."""
        return PlanNetwork(SPACE.cardinalities, horizon, fold, tuple(channels), condition)

    def segments(
        self, source: str, horizon: int, workers: int = 1, collecting: CollectionProgress | None = None
    ) -> Segments:
        """One pick-and-place each, of play data (:mod:`dcfm_envs.sources`).

        A file that is absent is collected where that is meant: it is :data:`DATA`, or ``train``, ``val`` or ``seed``
        are not the defaults, or a collection of it was begun. Any other name may be misspelt.

        Raises:
            ValueError: a file that is absent and not to be collected, or does not end in ``.npz``, before any work, or
                data that cannot be used.
        """
        from dcfm_envs.collection import CollectionPlan, collect, episodes_folder
        from dcfm_envs.sources import is_file, open_play

        path, asked = Path(source), self != CubeSingle(self.border_margin)
        if is_file(source) and not path.exists():
            plan = CollectionPlan(self.train, self.val, self.seed)
            if not (asked or path == Path(DATA) or episodes_folder(plan, path.parent, path.stem).is_dir()):
                there = ", ".join(sorted(found.name for found in path.parent.glob("*.npz"))) or "none"
                raise ValueError(
                    f"data={source}: no such file (npz files in {path.parent}: {there}); give one that is there, or "
                    f"collect it with python scripts/collect.py name={path.stem} out={path.parent}"
                )
            if path.suffix != ".npz":  # collecting writes the stem's .npz, which may be another file
                raise ValueError(
                    f"data={source}: there is no such file, and play data is collected into files that end in .npz; "
                    f"give a file that is there, or {path.name}.npz to collect it"
                )
            if path.stem.endswith(("-marks", "-val")):
                raise ValueError(f"data={source}: there is no such file, and none on -marks or -val is collected")
            show = None if collecting is None else collecting(plan.train + plan.val)
            collect(plan, path.parent, name=path.stem, workers=workers, on_episode=show)
        elif asked:
            log.warning("data=%s is there and taken as it is: collect.* is of what is collected else", source)
        found = cut(open_play(source), horizon, self.border_margin)
        return Segments(found.trajectories, found.labels, found.counts)


@dataclass(frozen=True)
class CubeEvaluation:
    """A :class:`dcfm_planner.domain.Evaluation`: receding horizon, controllers, controls."""

    @property
    def controls(self) -> tuple[str, ...]:
        from dcfm_planner.evaluation.controls import CONTROLS

        return CONTROLS

    @property
    def max_steps(self) -> int:
        from dcfm_planner.evaluation.rollout import MAX_STEPS

        return MAX_STEPS

    @property
    def kinds(self) -> tuple[str, ...]:
        return ("same", "adjacent", "diagonal")

    @property
    def gaps(self) -> tuple[str, ...]:
        return ("effector_gap", "cube_gap", "start_jump", "goal_jump")

    @property
    def reasons(self) -> Mapping[str, str]:
        return {
            "m high": "cube not on the floor",
            "the cube starts in": "wrong source",
            "the cube ends in": "wrong target",
            "outside the workspace": "cube outside the workspace",
            "the effector starts": "effector out of bounds",
            "": "the arm cannot reach the start",
        }

    def problems(self, settings: EvaluationSettings) -> dict[str, Problems]:
        from dcfm_planner.evaluation.problems import make_problems

        return make_problems(settings.protocol, settings.trials, settings.seed)

    def bench(self, planner: Planner, settings: EvaluationSettings, batch: int) -> Workbench:
        from dcfm_planner.evaluation.trials import Workbench

        return Workbench(planner, settings.make_controller(), settings.options, batch, settings.limit)

    def describe(self, settings: EvaluationSettings) -> dict[str, Any]:
        track = f"track, {settings.lookahead} ahead"
        return {
            "controller": settings.controller if settings.controller == "planned" else track,
            "execution": asdict(settings.options),
        }

    def draw(self, trials: Sequence[Trial], path: Path) -> None:
        from dcfm_planner.evaluation.picture import draw_paths, table_from_above

        draw_paths(trials, path, table_from_above, axes=(1, 0))


CUBE = CubeSingle()
