"""SuperLink, SuperNodes and runs as processes that end with the block that started them.

Everything Flower writes goes into one folder: its home, logs, certificates and keys. Unless told otherwise all listen
on 127.0.0.1, and no port is opened to other machines. Where there are several, each has a folder of its own
(``scripts/federated/server.py`` and ``silo.py``).
"""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dcfm.artefacts import write_text_atomically
from dcfm.federated.certificates import certified, make_certificates, make_node_key
from dcfm.workers import usable_cores

log = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
APP: Final = Path(__file__).parent / "app"
SUPERNODE: Final = "dcfm.federated.supernode"
ENDED: Final = "finished"


class FlowerError(RuntimeError):
    """Flower's processes did not do what they should; the text names the log."""


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        return server.getsockname()[1]


@dataclass
class Flower:
    """Flower's processes on this machine.

    Args:
        folder: of logs, homes, certificates and keys.
        simulation: whether the SuperLink plays the silos itself; without TLS then.
        port: of the SuperLink.
        host: its address.
    """

    folder: Path
    simulation: bool
    port: int = field(default_factory=free_port)
    host: str = LOOPBACK
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ValueError(f"port={self.port}; give a number from 1 to 65535")

    @property
    def address(self) -> str:
        """Of the SuperLink."""
        return f"{self.host}:{self.port}"

    @property
    def certificates(self) -> Path:
        return self.folder / "certificates"

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self.folder / "logs" / f"{name}.log"

    def start_superlink(self) -> None:
        """Start it and wait until it listens.

        Raises:
            FlowerError: it does not, or something else listens there already.
        """
        if self._listened_to():
            raise FlowerError(f"something listens on {self.address} already; end it, or choose another port")
        arguments = ["--host", self.host, "--port", str(self.port), "--disable-runtime-dependency-installation"]
        connection = f'[superlink]\ndefault = "dcfm"\n\n[superlink.dcfm]\naddress = "{self.address}"\n'
        if self.simulation:
            arguments += ["--simulation", "--insecure"]
            connection += "insecure = true\n"
        else:
            self.certify()
            for option, name in (("certfile", "server.pem"), ("keyfile", "server.key"), ("ca-certfile", "ca.pem")):
                arguments += [f"--ssl-{option}", str(self.certificates / name)]
            arguments += ["--enable-supernode-auth"]
            connection += f"root-certificates = {_toml(str(self.certificates / 'ca.pem'))}\n"
        write_text_atomically(self.home("server") / "config.toml", connection)
        process = self._start("superlink", [str(_program("flower-superlink")), *arguments], self.home("server"))
        end = time.monotonic() + 180
        while time.monotonic() < end and process.poll() is None:
            if self._listened_to():
                return
            time.sleep(0.2)
        raise FlowerError(f"the SuperLink did not start; see {self.log('superlink')}")

    def certify(self) -> None:
        """Make certificates, unless there are some for this host that have not run out."""
        addresses = list(dict.fromkeys([self.host, LOOPBACK, "localhost"]))
        if certified(self.certificates, addresses):
            return
        if (self.certificates / "ca.pem").exists():
            log.warning("certificates had run out, or were not for %s: every silo needs the new ca.pem", self.host)
        make_certificates(self.certificates, addresses)

    def _listened_to(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def public_key(self, number: int) -> Path:
        """A SuperNode's public key; the pair is made once."""
        return make_node_key(self.key(number))

    def register_node(self, public: Path) -> None:
        """Tell the SuperLink a SuperNode's public key."""
        self.command("supernode", "register", str(public), "dcfm")

    def start_node(self, number: int, data: Path, address: str | None = None, more: str = "") -> None:
        """Start the SuperNode of a registered silo, which alone knows where its data lies.

        Args:
            number: the silo's.
            data: its file.
            address: of the SuperLink as the node sees it, e.g. through a gateway.
            more: of its configuration, e.g. ``suppress=10``.
        """
        arguments = ["--superlink", address or self.address, "--root-certificates", str(self.certificates / "ca.pem")]
        arguments += ["--auth-supernode-private-key", str(self.key(number)), "--port", str(free_port())]
        arguments += ["--node-config", f"partition-id={number} data={_toml(str(data.resolve()))} {more}".strip()]
        name = f"silo{number}"
        self._start(name, [sys.executable, "-m", SUPERNODE, *arguments], self.home(name))

    def run(self, overrides: str, silos: int) -> str:
        """Start the app with these overrides; returns the run's id."""
        settings = self.folder / "run.toml"
        write_text_atomically(settings, f"overrides = {_toml(overrides)}\n")
        options = ["--run-config", str(settings), "--format", "json"]
        if self.simulation:
            cores = usable_cores()
            # Ray counts one core a silo; as many silos train at once as there are cores, one thread each.
            resources = f"num-supernodes={silos} client-resources-num-cpus=1 init-args-num-cpus={min(silos, cores)}"
            options += ["--federation-config", resources]
        answer = self.command("run", str(APP), "dcfm", *options)
        found = json.loads(answer[answer.index("{") :])
        if not found.get("success"):
            raise FlowerError(f"Flower did not start the run: {answer.strip()}")
        return str(found["run-id"])

    def status(self, run: str) -> str:
        """What the SuperLink says of a run, e.g. ``running`` or ``finished:failed``."""
        answer = self.command("list", "--run-id", run, "dcfm", "--format", "json")
        return json.loads(answer[answer.index("{") :])["runs"][0]["status"]

    def end_run(self, run: str) -> None:
        """Stop a run, which its ServerApp learns when it asks the SuperLink for something next."""
        self.command("stop", run, "dcfm")

    def wait(self, run: str, status_files: Sequence[Path], every: float = 120.0) -> Iterator[dict[str, Any]]:
        """Yield what the ServerApp writes into one of its status files until the run is over.

        Raises:
            FlowerError: the run ended without saying how, or the SuperLink ended.
        """
        asked, ended = time.monotonic(), ""
        while True:
            told = [json.loads(path.read_text(encoding="utf-8")) for path in status_files if path.exists()]
            found = next((status for status in told if status.get("run") == run), {})  # not what another run says
            yield found
            if found.get("state") in ("finished", "stopped"):
                return
            if ended:  # before the file was read again
                raise FlowerError(f"the run is {ended}, and did not say why; see {self.log('superlink')}")
            if (link := self.running.get("superlink")) is not None and link.poll() is not None:
                raise FlowerError(f"the SuperLink has ended; see {self.log('superlink')}")
            if time.monotonic() - asked > every:
                asked, state = time.monotonic(), self.status(run)
                ended = state if state.startswith(ENDED) else ""
            time.sleep(0.5)

    def command(self, *arguments: str) -> str:
        """Run ``flwr`` with arguments; returns what it prints.

        Raises:
            FlowerError: it failed.
        """
        done = subprocess.run(
            [str(_program("flwr")), *arguments],
            env=self._environment(self.home("server")),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise FlowerError(f"flwr {' '.join(arguments[:2])} failed: {(done.stdout + done.stderr).strip()}")
        return done.stdout

    def close(self) -> None:
        """End all that runs, nodes first."""
        for name in reversed(list(self.running)):
            self.stop(name)

    def stop(self, name: str) -> None:
        """End a process."""
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_for_end(self, name: str) -> None:
        """Wait until a process ends by itself."""
        self.running[name].wait()

    def key(self, number: int) -> Path:
        """A node's private key."""
        return self.home(f"silo{number}") / "node_key"

    def home(self, name: str) -> Path:
        """Flower's home of the server or a silo, which stand for machines of their own."""
        path = (self.folder / "homes" / name).resolve()
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _start(self, name: str, command: Sequence[str], home: Path) -> subprocess.Popen[bytes]:
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as file:
            process = subprocess.Popen(command, env=self._environment(home), stdout=file, stderr=file)
        self.running[name] = process
        return process

    def _environment(self, home: Path) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        # HTTPX honours proxies, which cannot reach a loopback or a private network.
        return {
            **os.environ,
            **quiet,
            "PATH": path,
            "FLWR_HOME": str(home),
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": ",".join([*filter(None, [os.environ.get("NO_PROXY")]), LOOPBACK, self.host]),
        }


def _toml(text: str) -> str:
    """A string of TOML, which is one of JSON but for letters that JSON writes as two."""
    return json.dumps(text, ensure_ascii=False)


def _program(name: str) -> Path:
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise FlowerError(
            f"{name} is not installed beside {sys.executable}; install the extra: pip install 'dcfm[federated]'"
        )
    return path


@contextmanager
def flower(engine: Flower) -> Iterator[Flower]:
    """A SuperLink on this machine, and whatever is started with it, for the length of a block."""
    try:
        engine.start_superlink()
        yield engine
    finally:
        engine.close()
