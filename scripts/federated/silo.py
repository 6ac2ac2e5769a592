"""Start a silo's SuperNode, and start it again whenever it ends.

    python scripts/federated/silo.py server=10.0.0.1 number=0 data=/srv/dcfm/data.safetensors folder=/srv/dcfm/flower

The first time it makes the silo's key: its public half goes to the server, and the server's ``ca.pem`` comes here.
"""

import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from dcfm.configuration import script, typed, writable

try:
    from dcfm.federated.certificates import read_certificate
    from dcfm.federated.counts import check_epsilon
    from dcfm.federated.processes import Flower, FlowerError
    from dcfm.federated.silo_files import claim, read_silo
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is missing; install the extra: pip install 'dcfm[federated]'")

PAUSE = 5.0
"""Seconds before a SuperNode that ended is started again: the SuperLink takes a while to notice that it is gone."""


@dataclass
class Settings:
    """The keys of configs/federated/silo.yaml and their types."""

    server: str
    port: int
    number: int
    data: str
    suppress: int
    epsilon: float | None
    ranks: int
    folder: str


def prepare(given: Settings) -> tuple[Flower, str]:
    """Key, certificate and data are there; returns what starts the node, and the node's configuration.

    Raises:
        ValueError: one of them is not, with what to do.
    """
    if given.number < 0 or given.suppress < 0 or given.ranks < 1:
        raise ValueError(
            f"number={given.number} and suppress={given.suppress} must be at least 0, ranks={given.ranks} at least 1"
        )
    if given.epsilon is not None:
        check_epsilon(given.epsilon)
    read_silo(given.data, f"silo{given.number}")
    claim(given.data)
    engine = Flower(writable(given.folder), False, given.port, given.server)
    public = engine.public_key(given.number)
    if not (engine.certificates / "ca.pem").exists():
        raise ValueError(
            f"{engine.certificates / 'ca.pem'} is missing: bring it from the server's folder certificates, and bring "
            f"{public} into the server's folder nodes"
        )
    read_certificate(engine.certificates / "ca.pem")
    noise = "" if given.epsilon is None else f" epsilon={given.epsilon}"
    return engine, f"suppress={given.suppress} ranks={given.ranks}{noise}"


@script("federated/silo", "start it again to take part again")
def main(config: DictConfig) -> None:
    """Run until Ctrl-C."""
    given = typed(config, Settings, "federated/silo")
    engine, more = prepare(given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the SuperNode ends too
    try:
        while True:
            engine.start_node(given.number, Path(given.data), more=more)
            print(f"silo {given.number} connects to {engine.address}", flush=True)
            engine.wait_for_end(f"silo{given.number}")
            time.sleep(PAUSE)
    except FlowerError as error:
        sys.exit(f"error: {error}")
    finally:
        engine.close()


if __name__ == "__main__":
    main()
