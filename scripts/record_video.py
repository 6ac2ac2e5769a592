"""Film planned moves: paths drawn into the scene, executed in MuJoCo, as MP4 and GIF.

    python scripts/record_video.py                                      # the four diagonal moves, DCFM-B
    python scripts/record_video.py 'pairs=[TL-BR]' 'methods=[dcfm_a,dcfm_b]' protocol=given   # also side by side
    python scripts/record_video.py 'methods=[runs/noniid/published/dcfm_b]' out=runs/video/mine

Each film is a trial of scripts/plan_eval.py with the same protocol and seed. Films and ``videos.json``, which tells
what is in them, are written to ``out``, beside what lies there already; no other film is replaced. The settings are
described in configs/record_video.yaml.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from dcfm.artefacts import MODEL, write_text_atomically
from dcfm.configuration import script, typed, writable
from dcfm.records import made_by
from dcfm_envs.rendering import prepare_rendering
from dcfm_planner.controllers import TrackEffector
from dcfm_planner.evaluation.rollout import MAX_STEPS
from dcfm_planner.execution import ExecutionOptions
from dcfm_planner.models import METHODS, LoadedPlanner, load_planner, sampling_of, shipped_name
from dcfm_planner.video.files import check_formats, write
from dcfm_planner.video.recording import Recorder, Recording, choose_pairs, choose_problem

SMALLEST = 64
RECORD = "videos.json"
SETTINGS = (
    "protocol",
    "seed",
    "problem",
    "rule",
    "guidance",
    "every",
    "width",
    "height",
    "shadows",
    "antialias",
    "max_steps",
)
"""Keys that a film depends on."""


@dataclass
class Settings:
    """The keys of configs/record_video.yaml and their types."""

    pairs: Any
    methods: list[str]
    partition: str
    protocol: str
    problem: int
    seed: int
    rule: str | None
    guidance: list[float] | None
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
    sampling = sampling_of(rule=given.rule, guidance=given.guidance)
    for method in given.methods:
        where = shipped_name(given.partition, method) if method in METHODS else method
        loaded = load_planner(where, device=given.device, sampling=sampling)
        name = f"{loaded.method}-{loaded.partition}"
        planners[name if name not in planners else f"{name}-{len(planners) + 1}"] = loaded
    return planners


def to_make(given: Settings, pairs: Sequence[tuple[str, str]], planners: Mapping[str, LoadedPlanner]) -> dict[str, Any]:
    """The films asked for by name, and what each depends on."""
    settings = {key: getattr(given, key) for key in SETTINGS}
    films = {}
    for pair in map("-".join, pairs):
        for name, loaded in planners.items():
            films[f"{pair}-{name}"] = {"weights_sha256": loaded.metadata["files"][MODEL]} | settings
        if len(planners) > 1:
            films[f"{pair}-side-by-side"] = {"methods": list(planners), "columns": given.columns} | settings
    return films


def films_there(out: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What ``videos.json`` says about the films that lie in ``out``.

    Raises:
        ValueError: one of them would be replaced by another film, or it cannot be read.
    """
    path = out / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text())
        told = {"rule": None, "guidance": None}  # before there were these keys
        told |= {key: record[key] for key in SETTINGS if key in record}  # of all films, which did not say it each
        films = {name: told | film for name, film in record["films"].items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); remove {out}, or choose another out=") from error
    for name, now in asked.items():
        there = films.get(name, {})
        if changed := [key for key in now if key in there and there[key] != now[key]]:
            said = ", ".join(f"{key}={there[key]} there, {now[key]} now" for key in changed[:3])
            raise ValueError(f"{out} holds another film {name} ({said}); choose another out=, or remove it")
    return films


def describe(recording: Recording) -> dict[str, Any]:
    """What ``videos.json`` says about what is seen in a film."""
    trial = recording.trial
    return {
        "source": trial.source,
        "target": trial.target,
        "cell": trial.cell,
        "index": trial.index,
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
    pairs = choose_pairs(given.pairs)
    problems = [choose_problem(pair, given.protocol, given.problem, given.seed) for pair in pairs]
    planners = load(given)
    out = writable(given.out)
    prepare_rendering()  # before mujoco is imported
    asked = to_make(given, pairs, planners)
    there = films_there(out, asked)
    torch.set_num_threads(1)
    from dcfm_planner.video.film import frames_per_second, hold_ends, pictures, side_by_side
    from dcfm_planner.video.stage import Stage

    fps, films = frames_per_second(given.every), {}
    record = {
        **made_by(),
        "protocol": given.protocol,
        "seed": given.seed,
        "problem": given.problem,
        "frames_per_second": fps,
    }

    def save(film: str, frames: list[Any], seen: Mapping[str, Any]) -> None:
        names = [f"{film}.{ending}" for ending in check_formats(given.formats)]
        for name in names:
            write(out / name, frames, fps)
        files = list(dict.fromkeys([*there.get(film, {}).get("files", []), *names]))
        films[film] = {**seen, **asked[film], "files": files, "frames": len(frames)}
        content = record | {"films": there | films}
        write_text_atomically(out / RECORD, json.dumps(content, indent=2, allow_nan=False) + "\n")

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
                save(f"{recording.pair}-{name}", hold_ends(row[-1], given.every), describe(recording))
                bar.update()
            if len(row) > 1:
                frames = hold_ends(side_by_side(row, given.columns), given.every)
                save(f"{recording.pair}-side-by-side", frames, {})
    stage.close()
    for film, what in films.items():
        verdict = ", ".join(f"{key} {what[key]}" for key in ("feasible", "success") if key in what)
        print(f"{film}: {verdict or 'the films before, together'}")
    print(f"wrote {len(films)} films as {', '.join(check_formats(given.formats))} and videos.json to {out}")


@script("record_video", "films that were finished are kept")
def main(config: DictConfig) -> None:
    """Film, with a bar that tells the time left; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
