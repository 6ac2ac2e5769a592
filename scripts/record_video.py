"""Film planned moves: paths drawn into the scene, executed in MuJoCo, as MP4 and GIF.

    python scripts/record_video.py                                      # the four diagonal moves, DCFM-B
    python scripts/record_video.py 'pairs=[TL-BR]' 'methods=[dcfm_a,dcfm_b]' protocol=given   # also side by side
    python scripts/record_video.py 'methods=[runs/noniid/published/dcfm_b]' out=runs/video/mine

Each film is a trial of scripts/plan_eval.py with the same protocol and seed. Films and ``videos.json``, which tells
what is in them, are written to ``out``. The settings are described in configs/record_video.yaml.
"""

import json
import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from dcfm.artefacts import git_revision, write_text_atomically
from dcfm.configuration import script, typed, writable
from dcfm_envs.rendering import prepare_rendering
from dcfm_planner.controllers import TrackEffector
from dcfm_planner.evaluation.rollout import MAX_STEPS
from dcfm_planner.execution import ExecutionOptions
from dcfm_planner.models import METHODS, LoadedPlanner, load_planner, shipped_name
from dcfm_planner.video.files import check_formats, write
from dcfm_planner.video.recording import Recorder, Recording, choose_pairs, choose_problem

SMALLEST = 64
RECORD = "videos.json"


@dataclass
class Settings:
    """The keys of configs/record_video.yaml and their types."""

    pairs: Any
    methods: list[str]
    partition: str
    protocol: str
    problem: int
    seed: int
    formats: list[str]
    every: int
    width: int
    height: int
    shadows: bool
    antialias: bool
    columns: int
    out: str
    device: str
    max_steps: int


def check(given: Settings) -> None:
    """What no other place checks before the work starts.

    Raises:
        ValueError: a value that cannot be.
    """
    if not given.methods:
        raise ValueError("methods=[]: give at least one, e.g. 'methods=[dcfm_b]'")
    if min(given.width, given.height) < SMALLEST:
        raise ValueError(f"width={given.width}, height={given.height}: give at least {SMALLEST} pixels each")
    if given.every < 1 or given.columns < 1 or not 1 <= given.max_steps <= MAX_STEPS:
        raise ValueError(
            f"every={given.every}, columns={given.columns}, max_steps={given.max_steps}: give at least 1 of each, and "
            f"at most {MAX_STEPS} steps"
        )
    check_formats(given.formats)


def load(given: Settings) -> dict[str, LoadedPlanner]:
    """The planners by a name for their files, each name once."""
    planners: dict[str, LoadedPlanner] = {}
    for method in given.methods:
        where = shipped_name(given.partition, method) if method in METHODS else method
        loaded = load_planner(where, device=given.device)
        name = f"{loaded.method}-{loaded.partition}"
        planners[name if name not in planners else f"{name}-{len(planners) + 1}"] = loaded
    return planners


def describe(recording: Recording, loaded: LoadedPlanner) -> dict[str, Any]:
    """What ``videos.json`` says about a film."""
    trial = recording.trial
    return {
        "source": trial.source,
        "target": trial.target,
        "cell": trial.cell,
        "index": trial.index,
        "weights_sha256": loaded.metadata["files"]["model.safetensors"],
        "feasible": trial.feasible,
        "reasons": list(trial.reasons),
        "success": trial.success,
        "success_strict": trial.success_strict,
        "steps": trial.steps,
        "distance_m": trial.distance if math.isfinite(trial.distance) else None,
    }


def run(config: DictConfig) -> None:
    """Check, look for a GL, execute, draw, write."""
    given = typed(config, Settings, "record_video")
    check(given)
    problems = [choose_problem(pair, given.protocol, given.problem, given.seed) for pair in choose_pairs(given.pairs)]
    planners = load(given)
    out = writable(given.out)
    prepare_rendering()  # before mujoco is imported
    torch.set_num_threads(1)
    from dcfm_planner.video.film import frames_per_second, hold_ends, pictures, side_by_side
    from dcfm_planner.video.stage import Stage

    fps, films = frames_per_second(given.every), {}
    recorder = Recorder(next(iter(planners.values())).planner, TrackEffector(), ExecutionOptions(), given.max_steps)
    stage = Stage(
        recorder.bench.simulations.environment.model,
        given.width,
        given.height,
        shadows=given.shadows,
        antialias=given.antialias,
    )
    with tqdm(total=len(problems) * len(planners), unit="film", desc="filming") as bar:
        for problem in problems:
            row = []
            for name, loaded in planners.items():
                recorder.use(loaded.planner)
                recording = recorder.record(problem, name)
                row.append(list(pictures(recording, stage, given.every)))
                film = f"{recording.pair}-{name}"
                films[film] = describe(recording, loaded) | save(out, film, hold_ends(row[-1], given.every), fps, given)
                bar.update()
            if len(row) > 1:
                film = f"{recording.pair}-side-by-side"
                frames = hold_ends(side_by_side(row, given.columns), given.every)
                films[film] = {"methods": list(planners)} | save(out, film, frames, fps, given)
    stage.close()
    values = {
        "command": shlex.join(["python", *sys.argv]),
        "git_revision": git_revision(),
        "protocol": given.protocol,
        "seed": given.seed,
        "problem": given.problem,
        "frames_per_second": fps,
        "films": films,
    }
    write_text_atomically(out / RECORD, json.dumps(values, indent=2, allow_nan=False) + "\n")
    for film, what in films.items():
        verdict = ", ".join(f"{key} {what[key]}" for key in ("feasible", "success") if key in what)
        print(f"{film}: {verdict or 'the films before, together'}")
    print(f"wrote {len(films)} films as {', '.join(check_formats(given.formats))} and videos.json to {out}")


def save(out: Path, film: str, frames: list[Any], fps: float, given: Settings) -> dict[str, Any]:
    """Write a film in each format; what ``videos.json`` says about its files."""
    names = [f"{film}.{ending}" for ending in check_formats(given.formats)]
    (out / RECORD).unlink(missing_ok=True)  # of films that lay here: not before one of them can be replaced
    for name in names:
        write(out / name, frames, fps)
    return {"files": names, "frames": len(frames)}


@script("record_video", "films that were finished are kept")
def main(config: DictConfig) -> None:
    """Film, with a bar that tells the time left; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
