"""Train generative models of chest X-rays on silos that exchange weights and label histograms, and nothing else.

    python scripts/xray/train.py partition=noniid preset=quick out=runs/xray/quick

Synthetic medical images are for research, not for diagnosis. Everything under ``out`` is resumable: start the same
command again after an interruption. The keys are described in configs/xray/train.yaml, what is trained and how long in
configs/xray/preset.
"""

from omegaconf import DictConfig

from dcfm.configuration import script
from dcfm.curves import Watch
from dcfm.progress import Stages
from dcfm_xray.problem import WARNING
from dcfm_xray.training import train


@script("xray/train", "nothing is lost: the same command goes on from the last checkpoints")
def main(cfg: DictConfig) -> None:
    """Check the settings, open the data, encode, train, publish."""
    print(WARNING)
    stages = Stages()
    try:
        train(cfg, progress=Watch.of(cfg), on_progress=stages)
    finally:
        stages.close()


if __name__ == "__main__":
    main()
