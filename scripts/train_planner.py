"""Train the planner on silos that exchange weights and label histograms, and nothing else.

    python scripts/train_planner.py partition=noniid preset=quick out=runs/noniid
    python scripts/train_planner.py data=my-play-data.npz 'methods=[dcfm_b]' preset=full device=cuda out=runs/mine

Everything under ``out`` is resumable: start the same command again after an interruption.
"""

import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig

from dcfm.cards import write_card
from dcfm.configuration import script, typed
from dcfm.curves import Watch
from dcfm_planner.card import planner_card
from dcfm_planner.models import shipped_name, weights_folder
from dcfm_planner.progress import collection_bar
from dcfm_planner.training import Settings, read_domain, train

log = logging.getLogger("train_planner")


@script(
    "train_planner",
    "the same command goes on from the last checkpoints, and from collected episodes where the domain keeps them",
)
def main(cfg: DictConfig) -> None:
    """Check the settings, collect play data if there is none, train, publish."""
    given, domain = typed(cfg, Settings, "train_planner"), read_domain(cfg.domain)
    # What cannot be shipped is an error now, not after the training.
    names = {method: shipped_name(given.partition, method, domain) for method in given.methods} if given.ship else {}
    folders = train(cfg, progress=Watch.of(cfg), collecting=collection_bar)
    for method, folder in folders.items():
        if method in names:
            target = weights_folder() / names[method]
            ship(folder, target, names[method])
            log.info("shipped as %s", target)


def ship(folder: Path, target: Path, name: str) -> None:
    """Put a published planner among those that the package ships, whole or not at all; it replaces what was there.

    Args:
        folder: where it was published.
        target: where it is shipped.
        name: that it is shipped by.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=".ship-") as near:
        new, old = Path(near) / "new", Path(near) / "old"
        shutil.copytree(folder, new)
        write_card(new, planner_card(new, name))  # scripts/model_cards.py adds what is measured later
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except BaseException:  # an interrupt too: what was shipped is not lost with the folder
            if old.exists():
                old.rename(target)
            raise


if __name__ == "__main__":
    main()
