"""The model card of an autoencoder."""

from pathlib import Path

from dcfm import artefacts
from dcfm.cards import Card, Measured
from dcfm_xray.autoencoder import shipped_autoencoder


def autoencoder_card(folder: Path) -> Card:
    """The card of the autoencoder in ``folder``, with what its artefact holds."""
    found = artefacts.load(folder)
    size, metrics, recipe = found.config["autoencoder"]["size"], found.metadata["metrics"], found.config["training"]
    command, error = metrics["command"], metrics["error"]
    use = "from dcfm_xray.autoencoder import load_autoencoder\n\nnetwork = load_autoencoder()"
    if folder != shipped_autoencoder():
        use = f'from pathlib import Path\n\n{use.removesuffix(")")}Path("FOLDER"))'
    rows = [("mean absolute error", error, "grey levels of 255")]
    rows += [(f"contrast kept, {name}", kept, "of 1") for name, kept in metrics["contrast_kept"].items()]
    return Card(
        f"Autoencoder of chest phantoms, {size} px",
        f"Brings a chest radiograph of {size} x {size} pixels to the latents that silos' flows generate, and back; "
        "frozen, the same for every silo (docs/xray.md). **Synthetic medical images are for research, not diagnosis.**",
        use,
        f"{recipe['images']:,} procedural phantoms that no silo owns, each finding drawn independently in "
        f"{100 * recipe['findings']:g} % of them. No real radiograph. Measured on held-out phantoms.",
        [
            "Trained and measured on phantoms; what it does to real radiographs is not in this table.",
            "What is small comes out dimmer: nodules most of all (see the table).",
            "Not a medical device.",
        ],
        "image-to-image",
        "chest-phantoms",
        [Measured(what, v["value"], v["low"], v["high"], v["n"], command, unit) for what, v, unit in rows],
        ("medical-imaging", "autoencoder", "synthetic-data"),
    )
