"""Train generative models of chest X-rays on silos that exchange weights and label histograms, and nothing else.

    python scripts/xray/train.py partition=noniid preset=quick out=runs/xray/quick

Synthetic medical images are for research, not for diagnosis. Everything under ``out`` is resumable: start the same
command again after an interruption. The keys are described in configs/xray/train.yaml, what is trained and how long in
configs/xray/preset.
"""

import hydra
from omegaconf import DictConfig

from dcfm.configuration import one_line_errors
from dcfm.progress import Stages, TrainingBar
from dcfm_xray.problem import WARNING
from dcfm_xray.training import train


@hydra.main(config_path="pkg://dcfm_configs.xray", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Check the settings, open the data, encode, train, publish."""
    print(WARNING)
    stages = Stages()
    with one_line_errors("nothing is lost: the same command goes on from the last checkpoints"):
        try:
            train(cfg, progress=TrainingBar, on_progress=stages)
        finally:
            stages.close()


if __name__ == "__main__":
    main()
