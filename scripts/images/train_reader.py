"""Train the network that reads digit and colour, and whose features judge pictures.

    python scripts/images/train_reader.py folder=path/of/mnist out=runs/images/reader

It learns from MNIST's test file; its accuracy is measured on digits of the train file.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from dcfm.cards import write_card
from dcfm.configuration import script, typed, writable
from dcfm.records import command_line
from dcfm_images.card import reader_card
from dcfm_images.digits import load_digits
from dcfm_images.reader import load_reader, shipped_reader
from dcfm_images.reader_training import ReaderConfig, measure, save_reader, train_reader


@dataclass
class Settings:
    """The keys of configs/images/train_reader.yaml and their types."""

    folder: str | None
    digits: str
    measured: int
    sizes: list[int]
    epochs: int
    batch: int
    learning_rate: float
    channels: list[int]
    seed: int
    ship: bool
    out: str


def run(config: DictConfig) -> None:
    """Load the digits, train, measure, write."""
    settings = typed(config, Settings, "images/train_reader")
    if len(settings.channels) != 3:
        raise ValueError(f"channels={settings.channels}: the reader has three convolutions; give three numbers")
    if settings.measured < 1 or not settings.sizes or min(settings.sizes) < 4:
        raise ValueError(
            f"measured={settings.measured}, sizes={settings.sizes}: give at least one digit and sizes of 4 or more"
        )
    first, second, third = settings.channels
    recipe = ReaderConfig((first, second, third), settings.epochs, settings.batch, settings.learning_rate)
    folder = None if settings.folder is None else Path(settings.folder)
    trained_on = load_digits(folder, source=settings.digits, part="test")
    judged_on = load_digits(folder, source=settings.digits, part="train")
    judged_on = judged_on[torch.arange(min(settings.measured, len(judged_on)))]
    out = writable(settings.out)
    torch.set_num_threads(1)
    with tqdm(desc="training the reader", dynamic_ncols=True) as bar:

        def show(done: int, steps: int, loss: float) -> None:
            bar.total = steps
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update(1)

        reader = train_reader(trained_on, recipe, seed=settings.seed, on_step=show)
    reader.half().float()  # as it is stored
    accuracy = measure(reader, judged_on, settings.sizes, seed=settings.seed)
    for folder in [out, *([shipped_reader()] if settings.ship else [])]:
        save_reader(
            folder,
            reader,
            recipe,
            trained_on,
            accuracy,
            seed=settings.seed,
            measured_on=f"the first {len(judged_on)} digits of {judged_on.source}, each in one random colour",
            command=command_line(),
        )
        load_reader(folder)
        write_card(folder, reader_card(folder))
    for size, found in accuracy.items():
        both = found["both"]
        print(f"{size:>3} px: digit and colour right {both['rate']:.2%} [{both['low']:.2%}, {both['high']:.2%}]")
    print(f"wrote {out}" + (f" and {shipped_reader()}" if settings.ship else ""))


@script("images/train_reader", "nothing was written")
def main(config: DictConfig) -> None:
    """Train with a bar; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
