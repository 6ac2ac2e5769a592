"""scripts/federate.py in Flower's simulation, and silos as real processes over TLS: equality, ledger, a killed node."""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dcfm.artefacts import load
from dcfm.decentralized import Federation
from dcfm.federated.launch import deal_silos
from dcfm.federated.processes import LOOPBACK, Flower, flower
from dcfm.federated.server import claimed
from dcfm.federated.settings import composed, read_settings, written
from dcfm.federated.silo_files import read_silo
from dcfm.federated.tasks import read_task
from dcfm.methods import registry

REPOSITORY = Path(__file__).parents[1]
TINY = ("training.width=16", "training.stage_one.steps=20", "training.student.steps=20", "arrival=300")


def assert_equals_in_process(overrides: tuple[str, ...], out: Path) -> None:
    config = composed(overrides)
    settings, problem = read_settings(config), read_task(config)
    federation = Federation(problem.task, problem.deal(), out / "in_process", settings.seed, workers=0)
    method = registry.make(settings.protocol)
    experts = method.train(federation, problem.recipe, method.exchange(federation))
    for i, weights in enumerate(experts):
        found = load(out / "result" / f"expert{i}").weights
        assert all(torch.equal(found[name], value) for name, value in weights.items())


def ledger(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_ledgers_agree(out: Path) -> None:
    """What a silo says that it sent and received is what the server says of it, message by message."""
    served = ledger(out / "ledger.jsonl")
    assert {m["kind"] for m in served} <= {"weights", "histogram", "scalars"}
    for number in (0, 1):
        own = ledger(out / "silos" / str(number) / "work/ledger.jsonl")
        theirs = [m for m in served if m["silo"] == f"silo{number}"]
        for direction in ("sent", "received"):
            assert {m["sha256"] for m in own if m["direction"] == direction} == {
                m["sha256"] for m in theirs if m["direction"] == direction
            }


def test_the_documented_command_in_simulation(tmp_path: Path) -> None:
    overrides = ("protocol=dcfm_b", "task=toy", "partition=noniid", "problem.samples=60", f"out={tmp_path}", *TINY)
    command = [sys.executable, "scripts/federate.py", *overrides]
    env = dict(os.environ, OMP_NUM_THREADS="1")
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "finished: silo0, silo1" in done.stdout
    assert (tmp_path / "published/dcfm_b/artefact.json").exists()
    assert_equals_in_process(overrides, tmp_path)
    assert_ledgers_agree(tmp_path)


class Gateway:
    """Passes bytes between a SuperNode and the SuperLink and keeps count of those that leave the silo."""

    def __init__(self, port: int) -> None:
        self.port, self.sent = port, 0
        self.listener = socket.create_server((LOOPBACK, 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.listener.getsockname()[1]}"

    def close(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(inner,), daemon=True).start()

    def _join(self, inner: socket.socket) -> None:
        with inner, contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port)) as outer:
            back = threading.Thread(target=self._pass, args=(outer, inner, False), daemon=True)
            back.start()
            self._pass(inner, outer, True)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                self.sent += len(piece) if counted else 0
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def wait_for(engine: Flower, what: str, until, seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, f"no {what} after {seconds} s; logs in {engine.folder}"
        time.sleep(0.2)


@pytest.fixture
def gateways() -> Iterator[list[Gateway]]:
    made: list[Gateway] = []
    yield made
    for gateway in made:
        gateway.close()


def test_real_processes_over_tls_and_a_killed_supernode(tmp_path: Path, gateways: list[Gateway]) -> None:
    """DCFM-B over TLS with authenticated nodes, one of them killed in mid-training and started again.

    The result is that of the in-process run; what left each silo is what the ledger says, and far less than its data.
    """
    overrides = (
        f"out={tmp_path}",
        "engine=deployment",
        "problem.samples=40000",
        "patience=10",
        *TINY,
        "training.stage_one.steps=1500",
    )
    config = composed(overrides)
    settings, problem = read_settings(config), read_task(config)
    data = deal_silos(claimed(tmp_path, config), settings, problem)
    work = data[1].parent / "work"
    with flower(tmp_path / "flower", simulation=False) as engine:
        for number, path in enumerate(data):
            gateways.append(Gateway(engine.port))
            engine.register_node(number)
            engine.start_node(number, path, gateways[number].address)
        run = engine.run(written(overrides), settings.silos)
        wait_for(engine, "checkpoint", (work / "stage1.checkpoint.safetensors").exists)
        engine.kill("silo1")
        assert not (work / "stage1").exists()

        def came_back() -> bool:
            """As a service manager would: the SuperLink takes a while to notice that the old process is gone."""
            if (process := engine.running.get("silo1")) is None or process.poll() is not None:
                engine.running.pop("silo1", None)
                engine.start_node(1, data[1], gateways[1].address)
            return (work / "stage1/artefact.json").exists()

        wait_for(engine, "return of the killed node", came_back)
        *_, status = engine.wait(run, tmp_path / "status.json")
    assert status["state"] == "finished", status
    assert status["left_out"] == {}
    assert_equals_in_process(overrides, tmp_path)
    assert_ledgers_agree(tmp_path)
    served = [m for m in ledger(tmp_path / "ledger.jsonl") if m["direction"] == "sent"]
    for number, gateway in enumerate(gateways):
        sent = sum(m["bytes"] for m in served if m["silo"] == f"silo{number}")
        size = data[number].stat().st_size
        assert sent <= gateway.sent < size / 2, (sent, gateway.sent, size)
    assert len(read_silo(data[0], "silo0")) > 10_000


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/federate.py", "protocol=fedprox", f"out={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.startswith("error: unknown protocol 'fedprox'; give one of dcfm_a")
    assert not (tmp_path / "out").exists()


def test_the_extra_is_there() -> None:
    assert importlib.util.find_spec("flwr") is not None
    assert importlib.util.find_spec("ray") is not None
