"""The model card of a reader."""

from pathlib import Path

from dcfm import artefacts
from dcfm.cards import Card, Measured


def reader_card(folder: Path) -> Card:
    """The card of the reader in ``folder``, with the accuracies that its artefact holds."""
    found = artefacts.load(folder)
    config, metrics = found.config, found.metadata["metrics"]
    measured = []
    for size, share in metrics["accuracy"].items():
        both = share["both"]
        rate, low, high = (100 * both[name] for name in ("rate", "low", "high"))
        what = f"digit and colour both right, {size} px"
        measured.append(Measured(what, rate, low, high, both["n"], metrics["command"]))
    return Card(
        "Reader of coloured digits",
        "Reads digit and colour of a picture; its last 64 features are the space `digits` of the FID, KID, precision "
        "and recall that judge generated pictures (docs/images.md). No silo may hold the digits that it learned from.",
        "from dcfm_images.reader import load_reader\n\nreader = load_reader().reader  # pictures in [-1, 1], any size",
        f"{config['digits']:,} digits of MNIST's test file ({config['trained_on']}), in random colours at "
        f"{min(config['sizes'])} to {max(config['sizes'])} pixels, turned, moved, blurred. Measured on "
        f"{metrics['measured_on']}.",
        [
            "A judge for this benchmark, not a digit recogniser for anything else.",
            "Distances in its features cannot be compared with published FIDs.",
        ],
        "image-classification",
        "colored-mnist",
        measured,
        ("image-classification", "evaluation"),
    )
