"""Flower's processes on this machine."""

import socket
from pathlib import Path

import pytest

from dcfm.federated.processes import LOOPBACK, Flower, FlowerError


def test_a_port_that_something_listens_on_is_refused(tmp_path: Path) -> None:
    """Nodes and runs would talk to it as to the SuperLink."""
    with socket.create_server((LOOPBACK, 0)) as other:
        engine = Flower(tmp_path, simulation=True, port=other.getsockname()[1])
        with pytest.raises(FlowerError, match=f"something listens on {engine.address} already"):
            engine.start_superlink()
    assert engine.running == {}
