"""Train over silos that run Flower, all on this machine: in a simulation, or as separate processes over TLS.

    python scripts/federate.py protocol=dcfm_b task=toy partition=noniid
    python scripts/federate.py protocol=dcfm_b task=toy engine=deployment out=runs/loopback

This machine deals the data to silo files first (``out/silos``); with several machines each silo brings its own, see
docs/federation.md. Ctrl-C or SIGTERM ends the run, with engine=running too; the same command goes on from what was
received. Exit status 1: too few silos were left.
"""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from tqdm import tqdm

from dcfm.configuration import script

try:
    from dcfm.federated.launch import federate, summary
    from dcfm.federated.processes import FlowerError
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is missing; install the extra: pip install 'dcfm[federated]'")


def run(config: DictConfig, overrides: list[str]) -> None:
    """Run, with a line that says what is waited for; print how it ended."""
    lines: list[tqdm] = []  # begun with the first status: what is wrong before has the screen for itself

    def follow(status: Mapping[str, Any]) -> None:
        waiting = f", waiting for {', '.join(status['waiting_for'])}" if status["waiting_for"] else ""
        if not lines:
            lines.append(tqdm(bar_format="{desc} [{elapsed}]"))
        lines[0].set_description_str(f"{status['phase']}{waiting}")

    try:
        outcome = federate(config, overrides, follow)
    finally:
        for line in lines:
            line.close()
    print(summary(Path(config.out)))
    print(f"{outcome.seconds:.0f} s, {outcome.starting:.0f} s of them to start Flower")
    if outcome.status["state"] != "finished":
        sys.exit(f"error: {outcome.status['reason']}")
    print(f"wrote {config.out}/published/{config.protocol}, result, ledger.jsonl")


@script("federate", "the same command goes on from what was received")
def main(config: DictConfig) -> None:
    """One line for each thing that can be wrong."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # of timeout, systemd, Slurm: ends all that was begun, too
    try:
        run(config, list(HydraConfig.get().overrides.task))
    except FlowerError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
