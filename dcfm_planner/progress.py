"""A progress bar of the collection of play data; trainings have theirs in :mod:`dcfm.progress`."""

from collections.abc import Callable

from tqdm import tqdm


def collection_bar(episodes: int) -> Callable[[int, int], None]:
    """A progress bar for a collection: what to call with (episodes done, episodes in all) after each."""
    bar = tqdm(total=episodes, unit="episode", desc="collecting play data")

    def show(done: int, total: int) -> None:
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show
