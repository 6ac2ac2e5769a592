"""A whole run on this machine: deal the data to silo files, start Flower, follow the run to its end."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dcfm.federated.client import silo_path
from dcfm.federated.processes import Flower, flower
from dcfm.federated.server import claimed
from dcfm.federated.settings import Settings, read_settings, written
from dcfm.federated.silo_files import write_silo
from dcfm.federated.tasks import FederatedTask, read_task
from dcfm.silos import check_silos

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
    """Run ``config``, which ``overrides`` compose, with ``engine`` as it says.

    Raises:
        ValueError: settings that cannot be, before any work.
        dcfm.federated.processes.FlowerError: Flower did not do what it should.
    """
    settings, problem = read_settings(config), read_task(config)
    out = Path(settings.out).resolve()
    data = deal_silos(claimed(out, config), settings, problem)
    given = written([*(o for o in overrides if not o.startswith("out=")), f"out={out}"])
    (out / "status.json").unlink(missing_ok=True)  # of an earlier attempt
    begun = time.monotonic()
    with flower(out / "flower", simulation=settings.engine == "simulation") as engine:
        if settings.engine == "deployment":
            start_nodes(engine, data)
        run = engine.run(given, settings.silos)
        starting = time.monotonic() - begun
        status: dict[str, Any] = {}
        for status in engine.wait(run, out / "status.json"):
            if follow is not None and status:
                follow(status)
    return Outcome(status, time.monotonic() - begun, starting)


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
            write_silo(path, silo.data, silo.labels)
    return paths


def start_nodes(engine: Flower, data: Sequence[Path]) -> None:
    """Register and start a SuperNode for each silo's file."""
    for number, path in enumerate(data):
        engine.register_node(number)
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
