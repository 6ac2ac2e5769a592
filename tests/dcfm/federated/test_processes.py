"""Flower's processes on this machine."""

import logging
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


@pytest.mark.parametrize("port", [-1, 0, 99999])
def test_a_port_is_one(port: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"port={port}; give a number from 1 to 65535"):
        Flower(tmp_path, simulation=True, port=port)


def test_certificates_are_kept_as_long_as_they_serve(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A silo that has ca.pem need not be given another, but where the server's host is another."""
    made = []
    with caplog.at_level(logging.WARNING):
        for host in (LOOPBACK, LOOPBACK, "10.0.0.1", LOOPBACK):
            engine = Flower(tmp_path, simulation=False, host=host)
            engine.certify()
            made.append((engine.certificates / "ca.pem").read_bytes())
    assert made[0] == made[1]
    assert made[1] != made[2] == made[3]  # which is for the loopback too
    assert caplog.text.count("every silo needs the new ca.pem") == 1


def test_a_public_key_that_is_missing_is_written(tmp_path: Path) -> None:
    engine = Flower(tmp_path, simulation=False)
    told = engine.public_key(0).read_bytes()
    engine.public_key(0).unlink()
    assert engine.public_key(0).read_bytes() == told
