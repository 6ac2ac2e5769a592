"""Progress bars: of trainings, and of work in stages."""

import sys
from collections.abc import Callable

from tqdm import tqdm

StageProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0 where that is not known)."""

RUNNING = 0.98
"""Decay of the running means that a training's bar shows."""


class TrainingBar:
    """A progress bar a training, one below the other; a :data:`~dcfm.jobs.ProgressFactory`.

    Called without terms it draws itself anew: of steps that are told all at once, after they were done, only the first
    is drawn. Its rate is the mean since the start: the latest would take the first of such steps to have lasted as long
    as all of them.

    Args:
        name: of the training.
        position: among those that run at once.
    """

    def __init__(self, name: str, position: int) -> None:
        self.name, self.position = name, position
        self.bar: tqdm | None = None
        self.running: dict[str, float] = {}

    def __call__(self, done: int, total: int, terms: dict[str, float]) -> None:
        for term, value in terms.items():
            self.running[term] = RUNNING * self.running.get(term, value) + (1 - RUNNING) * value
        if self.bar is None:
            self.bar = tqdm(
                total=total,
                initial=done,
                desc=self.name,
                position=self.position,
                mininterval=5,
                smoothing=0,
                dynamic_ncols=True,
            )
        self.bar.update(done - self.bar.n)
        if not terms:
            self.bar.refresh()
        if done % 50 == 0 or done == total:
            self.bar.set_postfix({name: f"{value:.4f}" for name, value in self.running.items()}, refresh=False)
        if done == total:
            self.bar.close()


def silent(what: str, done: int, total: int) -> None:
    """No progress."""


class Stages:
    """A :data:`StageProgress`: one bar at a time; no length makes a line."""

    def __init__(self) -> None:
        self.what = ""
        self.bar: tqdm | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self.what:
            self.close()
            self.what = what
            if total:
                self.bar = tqdm(total=total, desc=what, dynamic_ncols=True, mininterval=1)
            else:
                tqdm.write(what, file=sys.stderr)
        if self.bar is not None:
            self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Leave the last bar as it is."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
