"""Measure what the trainers reach of their network's own speed, on the machine at hand.

    python scripts/images/benchmark.py                       # the quick preset's network, one core
    python scripts/images/benchmark.py preset=full           # a GPU

Prints, and writes to ``out/training_benchmark.json``, for Stage I, DCFM-A and DCFM-B the seconds of a step, the
seconds that the same evaluations take in a bare forward/backward loop (see dcfm_images.benchmark), and their ratio. The
keys are described in configs/images/benchmark.yaml.
"""

import json
import os
import platform
from dataclasses import dataclass, fields
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from dcfm.artefacts import write_text_atomically
from dcfm.configuration import script, typed, writable
from dcfm.published import resolve_device
from dcfm.records import made_by
from dcfm_images.benchmark import Efficiency, check_timing, measure_trainer
from dcfm_images.training import prepare


@dataclass
class Settings:
    """The keys of configs/images/benchmark.yaml beyond those of a training, and their types."""

    trainers: list[str]
    turns: int
    steps: int


def run(config: DictConfig) -> None:
    """Measure, print, write.

    Raises:
        ValueError: settings that cannot be, before any work.
    """
    names = [part.name for part in fields(Settings)]
    timing = typed(OmegaConf.masked_copy(config, names), Settings, "images/benchmark")
    if not timing.trainers:
        raise ValueError("trainers=[] measures nothing; give some of stage_one, peers, student")
    for trainer in timing.trainers:
        check_timing(trainer, timing.turns, timing.steps)
    ready = prepare(OmegaConf.masked_copy(config, [str(key) for key in config if key not in names]))
    out, device = writable(ready.settings.out), resolve_device(ready.settings.device)
    torch.set_num_threads(1)
    results: list[Efficiency] = []
    for trainer in tqdm(timing.trainers, desc="trainers", dynamic_ncols=True):
        results.append(
            measure_trainer(
                trainer,
                ready.task,
                ready.problem,
                ready.recipe,
                device=device,
                turns=timing.turns,
                steps=timing.steps,
                seed=ready.settings.seed,
            )
        )
    content: dict[str, Any] = {
        **made_by(),
        "machine": machine(device),
        "digits": ready.problem.reference.source,
        "task": OmegaConf.to_container(config.task, resolve=True),
        "interval": "95 %, Student's over turns",
        "trainers": [result.as_dict() for result in results],
    }
    write_text_atomically(out / "training_benchmark.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    print(describe(results, content["machine"]))
    print(f"\nwrote {out / 'training_benchmark.json'}")


def describe(results: list[Efficiency], machine: dict[str, Any]) -> str:
    """The results as a table."""
    lines = [
        f"{machine['device']}, load {machine['load_average']}, torch {machine['torch']}\n",
        f"{'':<12}{'a step':>12}{'bare loop':>12}{'ratio':>8}  95 % interval",
    ]
    for r in results:
        lines.append(
            f"{r.trainer:<12}{1e3 * r.step_seconds:>9.1f} ms{1e3 * r.bare_seconds:>9.1f} ms{r.ratio:>8.2f}  "
            f"{r.low:.2f} to {r.high:.2f} (n = {r.n} x {r.steps} steps)"
        )
    return "\n".join(lines)


def machine(device: torch.device) -> dict[str, Any]:
    """What this was measured on."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"one core of {platform.machine()}",
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


@script("images/benchmark", "nothing was written")
def main(config: DictConfig) -> None:
    """Measure; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
