"""A whole run on this machine: deal the data to silo files, start Flower, follow the run to its end."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dcfm.artefacts import write_text_atomically
from dcfm.federated.processes import Flower, FlowerError, flower
from dcfm.federated.server import START, claimed, status_path
from dcfm.federated.settings import Settings, composed, quoted, written
from dcfm.federated.silo_files import silo_path, write_silo
from dcfm.federated.tasks import FederatedTask, read_run
from dcfm.published import resolve_device
from dcfm.silos import check_silos
from dcfm.task import check_network

Follow = Callable[[Mapping[str, Any]], None]
"""Called with the server's status, about twice a second."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: the server's last, see :mod:`dcfm.federated.server`.
        seconds: from start to end; of starting Flower alone.
    """

    status: dict[str, Any]
    seconds: float
    starting: float


def federate(config: DictConfig, overrides: Sequence[str], follow: Follow | None = None) -> Outcome:
    """Run ``config``, which ``overrides`` compose, with ``engine`` as it says. Ctrl-C ends the run, too, of a SuperLink
    that is not this command's.

    Raises:
        ValueError: settings that cannot be, before any work.
        dcfm.federated.processes.FlowerError: Flower did not do what it should, or the server could not begin.
    """
    settings, problem = read_run(config)
    check_network(problem.task)
    if settings.superlink is None:  # whose silos are this machine's
        resolve_device(settings.device)
    out = Path(settings.out).resolve()
    given = written([*(o for o in overrides if not o.startswith("out=")), f"out={quoted(str(out))}"])
    composed(given)  # as server and silos will: what they cannot read, or nobody reads, is an error now
    running = None if settings.superlink is None else running_flower(Path(settings.superlink))
    first = not (out / "run.json").exists()
    claimed(out, config)
    try:
        data = [] if running else deal_silos(out, settings, problem)
    except ValueError:  # nothing was begun: the folder belongs to nobody yet
        if first:
            (out / "run.json").unlink()
        raise
    (out / "status.json").unlink(missing_ok=True)  # of an earlier attempt
    begun = time.monotonic()
    own = Flower(out / "flower", simulation=settings.engine == "simulation")
    with nullcontext(running) if running else flower(own) as engine:
        if settings.engine == "deployment":
            start_nodes(engine, data)
        run = engine.run(given, settings.silos)
        starting = time.monotonic() - begun
        status: dict[str, Any] = {}
        own_status = status_path(out, run)
        try:
            for status in engine.wait(run, [out / "status.json", own_status]):
                if follow is not None and status:
                    follow(status)
        except KeyboardInterrupt:
            if running:
                engine.end_run(run)
            raise
        finally:
            own_status.unlink(missing_ok=True)
    if status["phase"] == START:
        raise FlowerError(status["reason"])
    total, load = time.monotonic() - begun, os.getloadavg()[2]
    seconds = {
        "command": f"python scripts/federate.py {written(overrides)}",
        "cores": os.cpu_count(),
        "load_of_15_minutes": round(load, 1),
        "total": round(total, 1),
        "start_flower": round(starting, 1),
        "phases": phase_seconds(out, settings.silos),
    }
    write_text_atomically(out / "seconds.json", json.dumps(seconds, indent=2) + "\n")
    return Outcome(status, total, starting)


def phase_seconds(out: Path, silos: int) -> dict[str, dict[str, float]]:
    """By phase: its seconds on the server's clock; how many of them the slowest silo worked, where that is known on
    this machine; the rest is the engine's (starting processes, sending, checking, waiting for each other)."""
    attempts: dict[str, list[float]] = {}
    for number in range(silos):
        found_here = silo_path(out, number).parent.glob("work/*/seconds.jsonl")  # the folder is of one run
        for line in (line for path in found_here for line in path.read_text().splitlines()):
            row = json.loads(line)
            attempts.setdefault(row["phase"], []).append(row["seconds"])
    status = json.loads((out / "status.json").read_text(encoding="utf-8"))
    found: dict[str, dict[str, float]] = {}
    for phase, seconds in status["seconds"].items():
        found[phase] = {"seconds": seconds}
        # Asked twice, a silo answers at once the second time; what took longer than the phase was before a restart.
        if within := [s for s in attempts.get(phase, []) if s <= seconds]:
            found[phase] |= {"work": max(within), "engine": round(seconds - max(within), 1)}
    return found


def running_flower(folder: Path) -> Flower:
    """The SuperLink of ``scripts/federated/server.py``.

    Raises:
        ValueError: it was never started.
    """
    engine = Flower(folder, simulation=False)
    if not (folder / "homes/server/config.toml").exists():
        raise ValueError(f"superlink={folder}: no SuperLink was started there; give the folder of the server script")
    return engine


def deal_silos(out: Path, settings: Settings, problem: FederatedTask) -> list[Path]:
    """Write each silo's file, where there is none yet; returns the paths by number.

    Raises:
        ValueError: the data cannot be dealt so, or does not cover the attributes.
    """
    paths = [silo_path(out, number) for number in range(settings.silos)]
    if not all(path.exists() for path in paths):
        silos = problem.deal()
        check_silos(problem.task.space, silos)
        for path, silo in zip(paths, silos, strict=True):
            if not path.exists():
                write_silo(path, silo.data, silo.labels)
    return paths


def start_nodes(engine: Flower, data: Sequence[Path]) -> None:
    """Register and start a SuperNode for each silo's file."""
    for number, path in enumerate(data):
        engine.register_node(engine.public_key(number))
        engine.start_node(number, path)


def summary(out: Path) -> str:
    """The status and the traffic of each silo, for people."""
    status = json.loads((out / "status.json").read_text(encoding="utf-8"))
    lines = [f"{status['state']}: {', '.join(status['silos']) or 'no silo'}"]
    lines += [f"left out: {name}, which {why}" for name, why in status["left_out"].items()]
    traffic: dict[tuple[str, str], int] = {}
    for line in (out / "ledger.jsonl").read_text(encoding="utf-8").splitlines():
        message = json.loads(line)
        key = message["silo"], message["direction"]
        traffic[key] = traffic.get(key, 0) + message["bytes"]
    lines += [f"{silo} {direction} {number:,} bytes" for (silo, direction), number in sorted(traffic.items())]
    return "\n".join(lines)
