"""Progress bars of trainings and of the collection of play data."""

from collections.abc import Callable

from tqdm import tqdm


class TrainingBar:
    """A progress bar a training, one below the other; a :data:`~dcfm.decentralized.ProgressFactory`.

    Args:
        name: of the training.
        position: among those that run at once.
    """

    def __init__(self, name: str, position: int) -> None:
        self.name, self.position = name, position
        self.bar: tqdm | None = None

    def __call__(self, done: int, total: int, terms: dict[str, float]) -> None:
        if self.bar is None:
            self.bar = tqdm(
                total=total, initial=done - 1, desc=self.name, position=self.position, mininterval=5, dynamic_ncols=True
            )
        self.bar.update(1)
        if done % 50 == 0 or done == total:
            self.bar.set_postfix({name: f"{value:.4f}" for name, value in terms.items()}, refresh=False)
        if done == total:
            self.bar.close()


def collection_bar(episodes: int) -> Callable[[int, int], None]:
    """A progress bar for a collection: what to call with (episodes done, episodes in all) after each."""
    bar = tqdm(total=episodes, unit="episode", desc="collecting play data")

    def show(done: int, total: int) -> None:
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show
