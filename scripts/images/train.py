"""Train image models on silos of coloured digits that exchange weights and label histograms, and nothing else.

    python scripts/images/train.py partition=noniid preset=quick out=runs/images/quick

Everything under ``out`` is resumable: start the same command again after an interruption. The keys are described in
configs/images/train.yaml, what is trained and how long in configs/images/preset.
"""

from omegaconf import DictConfig

from dcfm.configuration import script
from dcfm.curves import Watch
from dcfm_images.training import train


@script("images/train", "nothing is lost: the same command goes on from the last checkpoints")
def main(cfg: DictConfig) -> None:
    """Check the settings, load digits, train, publish."""
    train(cfg, progress=Watch.of(cfg))


if __name__ == "__main__":
    main()
