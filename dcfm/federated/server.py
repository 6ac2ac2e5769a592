"""The ServerApp: owns no data, asks the silos, writes the result.

out/run.json          the settings that the folder belongs to
out/left_out.json     who was left out in which phase, and why; what a restart keeps to
out/status.json       state, phase, silos, who was left out and why; of a server that finds another one at work here
                      status.<run>.json
out/ledger.jsonl      every message between the server and a silo
out/received/         answers, by phase and silo's number
out/result/expert<i>  the result, one network or one a silo: artefacts in full precision
out/published/<name>  the same as the task's own models are loaded, in half precision
"""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from omegaconf import DictConfig, OmegaConf

from dcfm import artefacts, locks
from dcfm.configuration import writable
from dcfm.exchange import Exchange, Ledger
from dcfm.federated.answers import said
from dcfm.federated.members import Members, TooFewSilos
from dcfm.federated.protocols import Result, run_protocol
from dcfm.federated.settings import OPERATION, composed, identity, read_settings
from dcfm.federated.tasks import FederatedTask, read_run
from dcfm.federated.velocities import check_velocities
from dcfm.task import check_network

log = logging.getLogger(__name__)

app = ServerApp()

NOTICE: Final = 180.0
"""Seconds in which a server whose SuperLink was killed notices that there is a new one, and ends."""
START: Final = "start"
"""The phase of a status that tells why a server could not begin."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """What Flower calls."""
    serve(grid, composed(str(context.run_config["overrides"])), str(context.run_id))


def serve(grid: Grid, config: DictConfig, run: str = "") -> None:
    """A run from start to end, or from where the last one stopped; ``run`` is Flower's number of it.

    Raises:
        ValueError: settings that cannot be, or a folder of another run or server.
        TooFewSilos: not enough silos are left; ``status.json`` says which and why.
    """
    torch.set_num_threads(1)
    out = writable(read_settings(config).out)
    path = status_path(out, run)
    with ExitStack() as held:
        try:
            held.enter_context(alone(out))
            path = out / "status.json"
            members, problem = make_members(grid, config)
        except Exception as error:
            _could_not_begin(path, run, error)
            raise
        _serve(members, problem, config, run)


def status_path(out: Path, run: str) -> Path:
    """Where a run's server writes while ``status.json`` is another's."""
    return out / f"status.{run}.json"


def _could_not_begin(path: Path, run: str, error: Exception) -> None:
    status = {"run": run, "state": "stopped", "phase": START, "waiting_for": [], "silos": [], "left_out": {}}
    status |= {"seconds": {}, "reason": said(error)}
    artefacts.write_text_atomically(path, json.dumps(status, indent=2) + "\n")


@contextmanager
def alone(out: Path, patience: float = NOTICE) -> Iterator[None]:
    """Hold the folder for this process, since a server outlives its SuperLink by a while.

    Raises:
        ValueError: another server still works on it after ``patience`` seconds.
    """
    try:
        with locks.alone(out / "lock", patience):
            yield
    except locks.Taken as error:
        raise ValueError(f"another server works on {out} ({error}); end it, or choose another out=") from error


def _serve(members: Members, problem: FederatedTask, config: DictConfig, run: str) -> None:
    members.run = run
    try:
        members.gather()
        _write(members, problem, config, run_protocol(members, problem))
    except BaseException as error:
        kind = "" if isinstance(error, TooFewSilos) else f"{type(error).__name__}: "
        members.report("stopped", reason=f"{kind}{error}")
        raise


def _write(members: Members, problem: FederatedTask, config: DictConfig, result: Result) -> None:
    """The result, and that it is there."""
    settings, out = members.settings, members.out
    histograms = [members.histograms[n] for n in result.silos]
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    for i, weights in enumerate(result.networks):
        artefacts.save(out / "result" / f"expert{i}", weights, {"run": identity(config), "expert": i})
    folder = out / "published" / settings.protocol
    how = {"method": settings.protocol, "partition": settings.partition, "training": identity(config)}
    problem.publish(folder, result.networks, histograms, problem.task, **how)
    members.report("finished")
    log.info("finished: %s", folder)


def make_members(grid: Grid, config: DictConfig) -> tuple[Members, FederatedTask]:
    """The server's view of the silos, going on with the ledger of an earlier part of the run; and the task.

    Raises:
        ValueError: as of :func:`serve`.
    """
    settings, problem = read_run(config)
    task = problem.task
    check_network(task)
    out = claimed(Path(settings.out), config)
    exchange = Exchange(settings.silo_names, template=task.network().state_dict(), space=task.space)
    path = out / "ledger.jsonl"
    if path.exists():
        exchange.ledger = Ledger.from_jsonl(path, exchange.ledger.model_size)
    usable = partial(check_velocities, task)
    return Members(grid, settings, task.space, exchange, out, usable), problem


def claimed(out: Path, config: DictConfig) -> Path:
    """The folder, made if missing, marked as this run's.

    Raises:
        ValueError: it belongs to a run with other settings, or cannot be written to.
    """
    writable(out)
    path, own = out / "run.json", json.loads(json.dumps(identity(config)))
    old = _read_identity(path) if path.exists() else own
    # Runs of before a setting was one of operation wrote it down.
    differing = sorted(k for k in (old.keys() | own.keys()) - OPERATION if old.get(k) != own.get(k))
    if differing:
        raise ValueError(f"{out} is of a run with other settings ({', '.join(differing)}); choose another out=")
    artefacts.write_text_atomically(path, json.dumps(own, indent=2) + "\n")
    return out


def _read_identity(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        raise ValueError(f"a {type(found).__name__}")
    except ValueError as error:
        raise ValueError(
            f"{path}, which says whose folder this is, is damaged ({error}); if {path.parent} is of the run with these "
            "settings, delete the file, else choose another out="
        ) from error
