"""scripts/federate.py in Flower's simulation; silos and server as real processes over TLS, killed and started again."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from dcfm.artefacts import load, write_bytes_atomically
from dcfm.decentralized import Federation
from dcfm.federated.launch import deal_silos, federate
from dcfm.federated.processes import SUPERNODE, Flower, free_port
from dcfm.federated.settings import composed, quoted, read_settings, run_name
from dcfm.federated.silo_files import read_silo, write_silo
from dcfm.federated.tasks import read_task
from dcfm.methods import registry
from tests.dcfm.federated.gateway import Gateway

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


def assert_ledgers_agree(out: Path, work: Sequence[Path]) -> None:
    """What a silo says that it sent and received is what the server says of it, message by message."""
    served = ledger(out / "ledger.jsonl")
    assert {m["kind"] for m in served} <= {"weights", "histogram", "scalars"}
    for number in (0, 1):
        own = ledger(work[number] / "ledger.jsonl")
        theirs = [m for m in served if m["silo"] == f"silo{number}"]
        for direction in ("sent", "received"):
            assert {m["sha256"] for m in own if m["direction"] == direction} == {
                m["sha256"] for m in theirs if m["direction"] == direction
            }


def test_a_run_that_could_not_begin_leaves_its_folder_free(tmp_path: Path) -> None:
    overrides = ("task=planner", f"data={tmp_path}/none.npz", f"out={tmp_path}/run")
    with pytest.raises(ValueError, match="there is no play data"):
        federate(composed(overrides), overrides)
    assert not (tmp_path / "run/run.json").exists()


def test_the_documented_command_in_simulation(tmp_path: Path) -> None:
    """In a folder whose name means something to shells, to hydra and to TOML."""
    out = tmp_path / "it's (1), b=[ä] #2"
    overrides = (
        "protocol=dcfm_b",
        "task=toy",
        "partition=noniid",
        "problem.samples=60",
        f"out={quoted(str(out))}",
        *TINY,
    )
    command = [sys.executable, "scripts/federate.py", *overrides]
    env = dict(os.environ, OMP_NUM_THREADS="1")
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "finished: silo0, silo1" in done.stdout
    assert (out / "published/dcfm_b/artefact.json").exists()
    assert_equals_in_process(overrides, out)
    phases = json.loads((out / "seconds.json").read_text())["phases"]
    assert list(phases) == ["arrival", "stage_one", "distil_on_server", "deliver"]
    assert all(phases[name]["engine"] >= 0 for name in ("stage_one", "deliver"))
    assert_ledgers_agree(out, [out / "silos" / str(n) / "work" / run_name(composed(overrides)) for n in (0, 1)])


class Machines:
    """Programs with logs, each with its children in a process group of its own, as if on a machine of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.running = folder, dict[str, subprocess.Popen[bytes]]()

    def start(self, name: str, script: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, str(REPOSITORY / "scripts" / script), *words],
                cwd=self.folder,
                env=dict(os.environ, OMP_NUM_THREADS="1"),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill_child(self, name: str, program: str) -> None:
        """End the one child of a script that runs a program, at once."""
        command = ["ps", "-ewwo", "pid=,ppid=,args="]
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        rows = [line.split(maxsplit=2) for line in found.stdout.splitlines()]
        (child,) = [int(p) for p, parent, args in rows if int(parent) == self.running[name].pid and program in args]
        os.kill(child, signal.SIGKILL)

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def wait_for(self, what: str, until: Callable[[], bool], seconds: float = 900) -> None:
        end = time.monotonic() + seconds
        while not until():
            logs = [f"{path}:\n{path.read_text()[-1500:]}" for path in self.folder.glob("*.log")]
            assert time.monotonic() < end, f"no {what} after {seconds} s\n" + "\n".join(logs)
            time.sleep(0.2)

    def says(self, name: str, text: str) -> bool:
        return text in (self.folder / f"{name}.log").read_text()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    found = Machines(tmp_path)
    yield found
    for name in reversed(list(found.running)):
        found.stop(name)


@pytest.fixture
def gateways() -> Iterator[list[Gateway]]:
    made: list[Gateway] = []
    yield made
    for gateway in made:
        gateway.close()


def test_the_documented_scripts_with_a_killed_supernode_and_a_killed_superlink(
    tmp_path: Path, machines: Machines, gateways: list[Gateway]
) -> None:
    """docs/federation.md's commands: DCFM-B over TLS with authenticated nodes. A SuperNode is killed in mid-training,
    later the SuperLink, and the run goes on.

    The result is that of the in-process run, no silo trained twice; what left each silo is what the ledger says, and
    far less than its data.
    """
    out, server = tmp_path / "run", tmp_path / "server"
    training = ("training.stage_one.steps=1500", "problem.samples=150000")
    overrides = (f"out={out}", "engine=running", f"superlink={server}", "patience=10", *TINY, *training)
    config = composed(overrides)
    data = deal_silos(tmp_path / "hospital", read_settings(config), read_task(config))
    work = [path.parent / "work" for path in data]
    listen = ("host=127.0.0.1", f"port={free_port()}", f"folder={server}")
    machines.start("server", "federated/server.py", *listen)
    machines.wait_for("certificate", (server / "certificates/ca.pem").exists)
    for number, path in enumerate(data):
        gateways.append(Gateway(int(listen[1].removeprefix("port="))))
        place = Flower(tmp_path / f"flower{number}", simulation=False)
        write_bytes_atomically(place.certificates / "ca.pem", (server / "certificates/ca.pem").read_bytes())
        write_bytes_atomically(server / f"nodes/silo{number}.pub", place.public_key(number).read_bytes())
        machines.wait_for("registered key", lambda n=number: machines.says("server", f"registered silo{n}.pub"))
        where = (f"port={gateways[number].port_of_silo}", f"folder={place.folder}")
        machines.start(f"silo{number}", "federated/silo.py", f"number={number}", f"data={path}", *where)
    machines.start("run", "federate.py", *overrides)

    machines.wait_for("checkpoint", lambda: bool(list(work[1].glob("stage1/*.checkpoint.safetensors"))))
    machines.kill_child("silo1", SUPERNODE)
    assert not list(work[1].glob("stage1/*/artefact.json"))
    machines.wait_for("Stage I", lambda: len(list(out.glob("received/stage_one/*/complete.safetensors"))) == 2)

    machines.kill_child("server", "flower-superlink")
    machines.wait_for("notice", lambda: machines.running["server"].poll() is not None)
    machines.stop("run")
    machines.start("server", "federated/server.py", *listen)
    machines.wait_for("SuperLink", lambda: (server / "logs/superlink.log").read_text().count("running on") == 2)
    machines.start("run", "federate.py", *overrides)
    machines.wait_for("end", lambda: machines.running["run"].poll() is not None)

    assert machines.running["run"].returncode == 0, (tmp_path / "run.log").read_text()
    status = json.loads((out / "status.json").read_text())
    assert (status["state"], status["left_out"]) == ("finished", {})
    assert_equals_in_process(overrides, out)
    assert_ledgers_agree(out, [path / run_name(config) for path in work])
    sent = [m for m in ledger(out / "ledger.jsonl") if m["direction"] == "sent"]
    for number, gateway in enumerate(gateways):
        own = [m for m in sent if m["silo"] == f"silo{number}"]
        assert sum(m["kind"] == "weights" for m in own) == 1
        size = data[number].stat().st_size
        assert sum(m["bytes"] for m in own) <= gateway.sent < size / 2, (gateway.sent, size)
    assert len(read_silo(data[0], "silo0")) > 10_000


def test_a_key_that_is_none_does_not_end_the_server(tmp_path: Path, machines: Machines) -> None:
    """It is said, and tried again when the file is another."""
    server, silo = tmp_path / "server", Flower(tmp_path / "silo", simulation=False)
    write_bytes_atomically(server / "nodes/silo0.pub", b"no key\n")
    machines.start("server", "federated/server.py", f"port={free_port()}", f"folder={server}")
    machines.wait_for(
        "refusal", lambda: machines.says("server", "silo0.pub is not registered: flwr supernode register")
    )
    write_bytes_atomically(server / "nodes/silo0.pub", silo.public_key(0).read_bytes())
    machines.wait_for("registered key", lambda: machines.says("server", "\nregistered silo0.pub"))
    assert machines.running["server"].poll() is None


def test_a_silo_says_what_it_lacks(tmp_path: Path) -> None:
    data = write_silo(tmp_path / "data.safetensors", torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.long))
    words = ("number=0", f"data={data}", f"folder={tmp_path / 'silo'}")
    command = [sys.executable, "scripts/federated/silo.py", *words]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "ca.pem is missing: bring it from the server" in done.stderr
    assert (tmp_path / "silo/homes/silo0/node_key.pub").exists()


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/federate.py", "protocol=fedprox", f"out={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown protocol 'fedprox'; give one of dcfm_a")
    assert not (tmp_path / "out").exists()
    command += ["protocol=dcfm_b", "+epsilonn=1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith("error: epsilonn: nothing reads this")
    assert not (tmp_path / "out").exists()


def test_the_extra_is_there() -> None:
    assert importlib.util.find_spec("flwr") is not None
    assert importlib.util.find_spec("ray") is not None
