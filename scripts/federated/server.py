"""Start a SuperLink with TLS that knows silos by their keys, and keep it running.

    python scripts/federated/server.py host=10.0.0.1 folder=/srv/dcfm

``folder/certificates/ca.pem`` goes to every silo. A silo may connect once its public key lies in ``folder/nodes``, also
while this runs. Runs are started beside it: ``scripts/federate.py engine=running superlink=/srv/dcfm``.
"""

import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from dcfm.configuration import script, typed, writable

try:
    from dcfm.federated.processes import Flower, FlowerError, flower
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is missing; install the extra: pip install 'dcfm[federated]'")


@dataclass
class Settings:
    """The keys of configs/federated/server.yaml and their types."""

    host: str
    port: int
    folder: str


def serve(engine: Flower) -> None:
    """Register keys as they come, or are written anew, until the SuperLink ends.

    Raises:
        FlowerError: it has ended.
    """
    tried: dict[Path, tuple[int, int]] = {}
    nodes = writable(engine.folder / "nodes")
    print(
        f"listening on {engine.address}; give {engine.certificates / 'ca.pem'} to the silos, put their .pub in {nodes}"
    )
    while engine.running["superlink"].poll() is None:
        for public in sorted(nodes.glob("*.pub")):
            if public.is_file() and tried.get(public) != (version := _version(public)):
                tried[public] = version
                print(registered(engine, public), flush=True)
        time.sleep(2)
    raise FlowerError(f"the SuperLink has ended; see {engine.log('superlink')}")


def registered(engine: Flower, public: Path) -> str:
    """Tell the SuperLink a silo's key; returns how that went: one bad key is no reason to end for all silos."""
    try:
        engine.register_node(public)
    except FlowerError as error:
        return f"{public.name} is not registered: {error}; put the silo's node_key.pub there, and it is tried again"
    return f"registered {public.name}"


def _version(path: Path) -> tuple[int, int]:
    """Another one when the file was written again."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@script("federated/server", "silos connect again when it is started again")
def main(config: DictConfig) -> None:
    """Run until Ctrl-C."""
    given = typed(config, Settings, "federated/server")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the SuperLink ends too
    try:
        with flower(Flower(writable(given.folder), False, given.port, given.host)) as engine:
            serve(engine)
    except FlowerError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
