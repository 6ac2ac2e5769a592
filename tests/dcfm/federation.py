"""Two small silos of the toy, their federation, and ways to cut its trainings off."""

from dataclasses import dataclass
from pathlib import Path

from dcfm.curves import Watch
from dcfm.decentralized import Federation
from dcfm.silos import Silo
from dcfm.trainers.loop import Progress
from tests.dcfm.trainers.toy import ToyTask, silo_data

TASK = ToyTask(width=8)


def silos() -> list[Silo]:
    parts = ([[0, 0], [0, 1]], [[0, 0], [1, 0]])
    return [Silo(f"silo{i}", *silo_data(list(p), 40, seed=i)) for i, p in enumerate(parts)]


def federation(out: Path, **options: object) -> Federation:
    return Federation(TASK, silos(), out, workers=0, **options)  # type: ignore[arg-type]


class Cut(Exception):
    """Ends a training between two checkpoints."""


@dataclass(frozen=True)
class CutAt:
    """Loss curves of a training that is killed before it tells of a step."""

    out: Path
    step: int
    silo: str = ""  # of one silo alone

    def __call__(self, name: str, position: int) -> Progress:
        watch = Watch(self.out)(name, position)

        def show(done: int, total: int, terms: dict[str, float]) -> None:
            if done == self.step and name.endswith(self.silo):
                raise Cut
            watch(done, total, terms)

        return show
