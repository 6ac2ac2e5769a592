"""Measure how fast plans and evaluations are, on one core of the machine at hand.

    python scripts/benchmark_planner.py                                   # the shipped DCFM-B planner
    python scripts/benchmark_planner.py weights=cube-single/noniid/dcfm_a

Prints, with the machine they were measured on, and writes to ``out/benchmark.json``:

* seconds a plan from scratch, one at a time, and seconds of a large batch;
* the cost of evaluating - plans, replans, control, swapping simulations, stepping - over that of stepping the bare
  environment through the very same actions, the two in turns: the mean over turns and its 95 % interval (Student's).

Each in wall-clock seconds and in seconds of CPU time: on a busy machine the former are longer. The settings are
described in configs/benchmark_planner.yaml.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from omegaconf import DictConfig, OmegaConf

from dcfm.artefacts import write_text_atomically
from dcfm.configuration import check_same_settings, script, typed, writable
from dcfm.metrics.intervals import mean_interval
from dcfm.records import made_by
from dcfm_planner.controllers import TrackEffector
from dcfm_planner.evaluation.problems import Problems, make_problems
from dcfm_planner.evaluation.rollout import rollout
from dcfm_planner.evaluation.simulation import Simulations, Starts
from dcfm_planner.execution import Execution
from dcfm_planner.feasibility import check
from dcfm_planner.models import load_planner, planner_label
from dcfm_planner.plan import Plan
from dcfm_planner.planner import Planner


@dataclass
class Settings:
    """The keys of configs/benchmark_planner.yaml and their types."""

    weights: str
    device: str
    repeats: int
    batch: int
    trials: int
    turns: int
    seed: int
    out: str | None


@dataclass(frozen=True)
class Seconds:
    """Of one measurement: by the clock, and of this process's CPU time."""

    wall: float
    cpu: float


class Recorder:
    """A policy that remembers the actions of each row."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.actions: list[list[np.ndarray]] = [[] for _ in range(len(execution))]

    @property
    def finished(self) -> Bool[np.ndarray, " batch"]:
        return self.execution.finished

    def act(
        self, observation: Float[np.ndarray, "batch 28"], active: Bool[np.ndarray, " batch"] | None = None
    ) -> Float[np.ndarray, "batch 5"]:
        actions = self.execution.act(observation, active)
        rows = np.arange(len(actions)) if active is None else np.flatnonzero(active)
        for row in rows:
            if not self.finished[row]:
                self.actions[row].append(actions[row])
        return actions


def read_settings(config: DictConfig) -> Settings:
    """Check the types and ranges of what was given.

    Raises:
        ValueError: a value has the wrong type or is out of range.
    """
    settings = typed(config, Settings, "benchmark_planner")
    if min(settings.repeats, settings.batch, settings.trials, settings.turns - 1) < 1 or settings.seed < 0:
        raise ValueError("repeats, batch and trials must be at least 1, turns at least 2 and the seed at least 0")
    return settings


def timed(work: Callable[[], Any]) -> Seconds:
    """Seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def sample(planner: Planner, problems: Problems) -> Plan:
    """Plans from scratch."""
    generators = [torch.Generator().manual_seed(int(seed)) for seed in problems.noise_seed]
    return planner.sample(torch.from_numpy(problems.labels), generators)


def plan_seconds(planner: Planner, batch: int, repeats: int, seed: int) -> Seconds:
    """Median over repeats, after one that does not count."""
    problems = make_problems("paper", batch, seed)["novel"]
    sample(planner, problems)
    times = [timed(lambda: sample(planner, problems)) for _ in range(repeats)]
    return Seconds(statistics.median(t.wall for t in times), statistics.median(t.cpu for t in times))


@dataclass(frozen=True)
class Turn:
    """Evaluating some trials, then stepping the bare environment through the same actions.

    Attributes:
        evaluating, stepping: what either took.
        steps: control steps.
    """

    evaluating: Seconds
    stepping: Seconds
    steps: int


def evaluation_turns(planner: Planner, trials: int, turns: int, seed: int) -> list[Turn]:
    """Some turns, after one that does not count."""
    problems = make_problems("paper", trials, seed)["novel"]
    simulations = Simulations(trials)
    return [_turn(planner, problems, simulations) for _ in range(turns + 1)][1:]


def _turn(planner: Planner, problems: Problems, simulations: Simulations) -> Turn:
    state: dict[str, Any] = {}

    def evaluate() -> None:
        plan = sample(planner, problems)
        good = np.flatnonzero([bool(verdict) for verdict in check(plan, problems.labels)])
        if not len(good):
            raise ValueError("no feasible plan among so few trials; give more trials=")
        starts = Starts.proposed_by(plan[good])
        execution = Execution(planner, TrackEffector(), len(good))
        seeds = (problems.noise_seed[good] + 1).tolist()
        execution.begin(np.arange(len(good)), problems.labels[good], starts.goal_position, seeds, plan[good])
        recorder = Recorder(execution)
        rollout(simulations, starts, recorder)
        state.update(starts=starts, actions=recorder.actions)

    evaluating = timed(evaluate)
    env, starts, actions = simulations.environment, state["starts"], state["actions"]
    wall = cpu = 0.0
    for row, of_row in enumerate(actions):
        env.reset(seed=0, options=starts.options(row))

        def step(of_row: list[np.ndarray] = of_row) -> None:
            for action in of_row:
                env.step(action)

        spent = timed(step)
        wall, cpu = wall + spent.wall, cpu + spent.cpu
    return Turn(evaluating, Seconds(wall, cpu), sum(map(len, actions)))


def over_turns(turns: list[Turn]) -> dict[str, Any]:
    """Means over turns, as plain data, the ratio's with its interval."""
    clocks = ("wall", "cpu")
    seconds = {
        name: {clock: statistics.fmean(getattr(getattr(turn, part), clock) for turn in turns) for clock in clocks}
        for name, part in (("seconds", "evaluating"), ("bare_stepping_seconds", "stepping"))
    }
    ratios = {
        clock: mean_interval([getattr(t.evaluating, clock) / getattr(t.stepping, clock) for t in turns])
        for clock in clocks
    }
    return {"turns": len(turns), "control_steps": turns[0].steps, **seconds, "ratio": ratios}


def machine() -> dict[str, Any]:
    """What this was measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def run(config: DictConfig) -> None:
    """Measure, print, write."""
    settings = read_settings(config)
    out = writable(settings.out or f"runs/benchmark/{planner_label(settings.weights, '', '')}")
    check_same_settings(out, config, made="benchmark.json")
    torch.set_num_threads(1)
    here = machine()
    loaded = load_planner(settings.weights, device=settings.device)
    planner = loaded.planner
    single = plan_seconds(planner, 1, settings.repeats, settings.seed)
    batch = plan_seconds(planner, settings.batch, 2, settings.seed)
    evaluation = over_turns(evaluation_turns(planner, settings.trials, settings.turns, settings.seed))
    evaluating, stepping = (Seconds(**evaluation[name]) for name in ("seconds", "bare_stepping_seconds"))
    ratio, steps = evaluation["ratio"], evaluation["control_steps"]
    values = {
        "machine": here,
        **made_by(),
        "weights": settings.weights,
        "device": str(planner.device),
        "solver": {"method": planner.method, "steps": planner.steps},
        "plan_seconds": vars(single),
        "batch": settings.batch,
        "batch_seconds": vars(batch),
        "evaluation": {"trials": settings.trials, **evaluation},
    }

    def ends(clock: str) -> str:
        return f"{ratio[clock]['low']:.2f} to {ratio[clock]['high']:.2f}".rjust(14)

    write_text_atomically(out / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_text_atomically(out / "benchmark.json", json.dumps(values, indent=2) + "\n")
    print(
        f"{here['cpu']}, {here['cores']} cores, load {here['load_average']}, torch {here['torch']}; "
        f"{settings.weights} on one core of {planner.device}, {planner.method} with {planner.steps} steps\n\n"
        f"{'':<38}{'clock':>10}{'CPU time':>10}\n"
        f"{'one plan from scratch':<38}{single.wall:>8.3f} s{single.cpu:>8.3f} s\n"
        f"{f'a batch of {settings.batch} plans':<38}{batch.wall:>8.3f} s{batch.cpu:>8.3f} s\n"
        f"{f'evaluating {settings.trials} trials':<38}{evaluating.wall:>8.2f} s{evaluating.cpu:>8.2f} s\n"
        f"{f'the same {steps} steps, bare':<38}{stepping.wall:>8.2f} s{stepping.cpu:>8.2f} s\n"
        f"{'ratio':<38}{ratio['wall']['mean']:>10.2f}{ratio['cpu']['mean']:>10.2f}\n"
        f"{f'95 % interval over {settings.turns} turns':<38}{ends('wall')}{ends('cpu')}\n\n"
        f"wrote {out / 'benchmark.json'}"
    )


@script("benchmark_planner", "nothing was written")
def main(config: DictConfig) -> None:
    """Measure; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
