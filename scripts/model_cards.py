"""Write the model card of every shipped weight from its artefact and from recorded evaluations.

    python scripts/model_cards.py

Writes a ``README.md`` beside each shipped ``model.safetensors``. The settings are described in
configs/model_cards.yaml.
"""

from pathlib import Path

from omegaconf import DictConfig

from dcfm.cards import CARD, Card, write_card
from dcfm.configuration import script
from dcfm_images.card import reader_card
from dcfm_images.reader import shipped_reader
from dcfm_planner.card import planner_card
from dcfm_planner.models import available, weights_folder
from dcfm_xray.autoencoder import shipped_autoencoder
from dcfm_xray.card import autoencoder_card


def cards(results: Path) -> dict[Path, Card]:
    """The cards of all shipped weights, by folder."""
    found = {weights_folder() / name: planner_card(weights_folder() / name, name, results) for name in available()}
    found[shipped_reader()] = reader_card(shipped_reader())
    found[shipped_autoencoder()] = autoencoder_card(shipped_autoencoder())
    return found


@script("model_cards", "cards that were written are whole")
def main(config: DictConfig) -> None:
    """Write them all."""
    for folder, card in cards(Path(config.results)).items():
        write_card(folder, card)
        print(f"wrote {folder / CARD}")


if __name__ == "__main__":
    main()
