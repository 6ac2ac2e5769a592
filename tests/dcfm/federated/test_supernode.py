import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from dcfm.federated.processes import Flower, flower
from dcfm.federated.silo_files import write_silo
from tests.dcfm.federated.gateway import Gateway


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Flower]:
    with flower(Flower(tmp_path / "flower", simulation=False)) as engine:
        yield engine


def wait_for(until: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + 300
    while not until():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def test_it_ends_when_a_gateway_finds_no_superlink(tmp_path: Path, link: Flower) -> None:
    """The SuperLink goes while the SuperNode asks nothing; its next call, tried once, meets a closed TLS connection."""
    data = write_silo(tmp_path / "data.safetensors", torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.long))
    with closing(Gateway(link.port)) as gateway:
        link.register_node(link.public_key(0))
        link.start_node(0, data, address=f"{link.host}:{gateway.port_of_silo}")
        node, log = link.running["silo0"], link.log("silo0")
        wait_for(lambda: "SuperNode ID" in log.read_text() or node.poll() is not None, log)
        node.send_signal(signal.SIGSTOP)
        link.stop("superlink")
        node.send_signal(signal.SIGCONT)
        wait_for(lambda: node.poll() is not None, log)
    assert node.returncode == 1, log.read_text()
    assert "SSL/TLS" in log.read_text()
