"""Train the autoencoder whose latents are generated, on phantoms that no silo owns.

    python scripts/xray/train_autoencoder.py out=runs/xray/autoencoder

Writes the artefact, with its error on held-out phantoms and what it keeps of each finding, and ``findings.png``:
phantoms above, reconstructions below. The keys are described in configs/xray/train_autoencoder.yaml.
"""

from dataclasses import dataclass, replace

import torch
from omegaconf import DictConfig

from dcfm.cards import write_card
from dcfm.configuration import script, typed, writable
from dcfm.curves import Watch
from dcfm.published import resolve_device
from dcfm.records import command_line
from dcfm_xray.autoencoder import (
    AutoencoderConfig,
    load_autoencoder,
    save_autoencoder,
    shipped_autoencoder,
    train_autoencoder,
)
from dcfm_xray.card import autoencoder_card
from dcfm_xray.problem import WARNING
from dcfm_xray.reconstruction import measure, picture

HELD_OUT = 1
"""Added to the seed of the training's phantoms, a number of images apart, for those that are measured on."""


@dataclass
class Settings:
    """The keys of configs/xray/train_autoencoder.yaml and their types."""

    size: int
    latent: int
    channels: list[int]
    images: int
    findings: float
    source_seed: int
    noise: float
    edges: float
    squares: float
    steps: int
    batch: int
    learning_rate: float
    measured: int
    contrasts: int
    seed: int
    device: str
    tensorboard: bool
    ship: bool
    out: str


def run(config: DictConfig) -> None:
    """Check, train, measure, write."""
    given = typed(config, Settings, "xray/train_autoencoder")
    loop = replace(
        AutoencoderConfig().loop,
        steps=given.steps,
        batch=given.batch,
        learning_rate=given.learning_rate,
        checkpoint_every=250,
    )
    names = ("size", "latent", "images", "findings", "source_seed", "noise", "edges", "squares")
    recipe = AutoencoderConfig(channels=given.channels, loop=loop, **{name: getattr(given, name) for name in names})
    if min(given.measured, given.contrasts) < 2 or given.seed < 0 or given.size < 32:
        raise ValueError(
            f"measured={given.measured}, contrasts={given.contrasts}, seed={given.seed}, size={given.size}: measure on "
            "at least 2 phantoms of at least 32 pixels, and give a seed of 0 or more"
        )
    device = resolve_device(given.device)
    out = writable(given.out)
    watch = Watch(out, given.tensorboard)
    torch.set_num_threads(1)
    trained = train_autoencoder(
        recipe,
        seed=given.seed,
        checkpoint=out / "training.safetensors",
        progress=watch("autoencoder", 0),
        device=str(device),
    ).cpu()
    trained.half().float()  # as it is stored
    held_out = given.source_seed + given.images + HELD_OUT
    metrics = measure(trained, measured=given.measured, contrasts=given.contrasts, seed=held_out)
    metrics["command"] = command_line()
    for folder in [out, *([shipped_autoencoder()] if given.ship else [])]:
        save_autoencoder(trained, folder, recipe, metrics)
        write_card(folder, autoencoder_card(folder))
    picture(load_autoencoder(out), out / "findings.png", seed=held_out)
    error = metrics["error"]
    print(f"error {error['value']:.2f} [{error['low']:.2f}, {error['high']:.2f}] grey levels of 255, n = {error['n']}")
    for finding, kept in metrics["contrast_kept"].items():
        print(f"{finding:>20}: contrast kept {kept['value']:.2f} [{kept['low']:.2f}, {kept['high']:.2f}]")
    print(f"wrote {out}" + (f" and {shipped_autoencoder()}" if given.ship else ""))


@script("xray/train_autoencoder", "nothing is lost: the same command goes on from the last checkpoint")
def main(config: DictConfig) -> None:
    """Train with a bar; one line for each thing that can be wrong."""
    print(WARNING)
    run(config)


if __name__ == "__main__":
    main()
