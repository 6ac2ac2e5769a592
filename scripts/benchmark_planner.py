"""How fast a trained planner is here: seconds a plan, seconds a batch, and what evaluating costs over bare stepping.

    python scripts/benchmark_planner.py
    python scripts/benchmark_planner.py weights=cube-single/noniid/dcfm_a repeats=50 out=runs/benchmark-a

Prints the figures with the machine that they were measured on and writes them to ``out/benchmark.json``. The settings
are described in configs/benchmark_planner.yaml.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "disable")  # no picture is drawn here

import gymnasium
import hydra
import torch
from omegaconf import DictConfig

import dcfm_envs  # noqa: F401 - registers the environment
from dcfm.artefacts import write_text_atomically
from dcfm_envs.registration import CUBE_SINGLE
from dcfm_planner.evaluation.run import EvaluationSettings, evaluate
from dcfm_planner.models import load_planner
from dcfm_planner.planner import Planner
from dcfm_planner.quadrants import KNOWN_PAIRS, NOVEL_PAIRS, pair_labels

BARE_STEPS = 1000


def machine() -> dict[str, str | int | None]:
    """The machine and the versions that speed depends on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def seconds(call: Callable[[], Any], repeats: int) -> dict[str, float | int]:
    """Wall time of a call after one warm-up: median, fastest and slowest."""
    call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return {"median": statistics.median(times), "min": min(times), "max": max(times), "n": repeats}


def plan_batch(planner: Planner, number: int) -> Callable[[], Any]:
    """A call that samples plans of all sixteen pairs in turn, from scratch; it returns once they are on the CPU."""
    labels = torch.from_numpy(pair_labels(KNOWN_PAIRS + NOVEL_PAIRS)).repeat(-(-number // 16), 1)[:number]
    generator = torch.Generator().manual_seed(0)
    return lambda: planner.sample(labels, generator)


def bare_step_seconds() -> float:
    """Seconds of one environment step, with random actions and nothing else."""
    env = gymnasium.make(CUBE_SINGLE, max_episode_steps=BARE_STEPS + 1)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(BARE_STEPS)]
    begin = time.perf_counter()
    for action in actions:
        env.step(action)
    elapsed = time.perf_counter() - begin
    env.close()
    return elapsed / BARE_STEPS


def run(cfg: DictConfig) -> None:
    """Measure, print, write."""
    if min(cfg.threads, cfg.repeats, cfg.batch, cfg.trials) < 1:
        raise ValueError("threads, repeats, batch and trials must each be at least 1")
    torch.set_num_threads(cfg.threads)
    loaded = load_planner(cfg.weights, device=cfg.device)
    one = seconds(plan_batch(loaded.planner, 1), cfg.repeats)
    many = seconds(plan_batch(loaded.planner, cfg.batch), max(3, cfg.repeats // 5))
    before = bare_step_seconds()
    results = evaluate(EvaluationSettings(weights=cfg.weights, trials=cfg.trials, device=cfg.device, workers=0))
    bare = (before + bare_step_seconds()) / 2
    timing = results.timing
    spent = timing.planning + timing.acting + timing.stepping
    values = {
        "weights": cfg.weights,
        "machine": machine(),
        "threads": cfg.threads,
        "seconds_per_plan": one,
        f"seconds_per_batch_of_{cfg.batch}": many,
        "bare_step_seconds": bare,
        "evaluation": {
            "trials": 2 * cfg.trials,
            "steps": timing.steps,
            "seconds": spent,
            "over_bare_stepping": spent / (bare * timing.steps),
        },
    }
    write_text_atomically(Path(cfg.out) / "benchmark.json", json.dumps(values, indent=2) + "\n")
    for name, value in machine().items():
        print(f"{name:<12}{value}")
    print(f"\none plan from scratch, {cfg.threads} thread(s): {one['median']:.3f} s (median of {one['n']})")
    print(f"a batch of {cfg.batch} plans: {many['median']:.2f} s (median of {many['n']})")
    print(f"a bare environment step: {1e3 * bare:.2f} ms, {1 / bare:.0f} steps a second")
    print(
        f"evaluating {2 * cfg.trials} trials ({timing.steps} steps) takes "
        f"{values['evaluation']['over_bare_stepping']:.2f} times the bare stepping of as many steps"
    )
    print(f"\nwrote {cfg.out}/benchmark.json")


@hydra.main(config_path="pkg://dcfm_configs", config_name="benchmark_planner", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Measure; one line for each thing that can be wrong."""
    try:
        run(cfg)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
