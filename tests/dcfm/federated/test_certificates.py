"""Certificates that TLS accepts, for the addresses they were made for and no others; keys for their owner alone."""

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dcfm.federated.certificates import certified, make_certificates, make_node_key, read_certificate


def shake_hands(folder: Path, name: str) -> None:
    """A TLS handshake over a real socket, the client verifying that the server is ``name``."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "server.pem", folder / "server.key")
    asking = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            try:
                serving.wrap_socket(connection, server_side=True).close()
            except (ssl.SSLError, OSError):
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with socket.create_connection(listener.getsockname()) as raw, asking.wrap_socket(raw, server_hostname=name):
                pass
        finally:
            thread.join()


def test_tls_accepts_the_addresses_and_no_others(tmp_path: Path) -> None:
    long = f"{'a' * 60}.hospital.example"
    make_certificates(tmp_path, [long, "127.0.0.1", "server.example"])
    shake_hands(tmp_path, "127.0.0.1")
    shake_hands(tmp_path, "server.example")
    shake_hands(tmp_path, long)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, "10.0.0.1")
    with pytest.raises(ValueError, match="no address"):
        make_certificates(tmp_path, [])


def test_private_keys_are_for_their_owner(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    public = make_node_key(tmp_path / "node_key")
    for name in ("server.key", "node_key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    key = serialization.load_ssh_private_key((tmp_path / "node_key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    known = serialization.load_ssh_public_key(public.read_bytes())
    assert known == key.public_key()
    assert list(tmp_path.glob("ca*key*")) == []  # the authority's own key is not kept


def test_certificates_serve_their_addresses_for_their_time(tmp_path: Path) -> None:
    assert not certified(tmp_path, ["127.0.0.1"])
    make_certificates(tmp_path, ["127.0.0.1", "server.example"])
    assert certified(tmp_path, ["server.example"])
    assert not certified(tmp_path, ["127.0.0.1", "10.0.0.1"])  # the server's host is another now
    make_certificates(tmp_path, ["127.0.0.1"], days=0)
    assert not certified(tmp_path, ["127.0.0.1"])


def test_certificates_that_were_cut_off_are_none(tmp_path: Path) -> None:
    """Made anew, since the host is another, and only in part: the authority that is there is not the new key's."""
    make_certificates(tmp_path, ["127.0.0.1"])
    (tmp_path / "server.pem").unlink()
    (tmp_path / "server.pem").mkdir()  # where no file can be written
    with pytest.raises(OSError, match=r"server\.pem"):
        make_certificates(tmp_path, ["127.0.0.1", "10.0.0.1"])
    assert not (tmp_path / "ca.pem").exists()
    assert not certified(tmp_path, ["127.0.0.1"])


def test_a_key_pair_that_was_cut_off_is_completed(tmp_path: Path) -> None:
    """Killed between the private half and the public one; the private half stays what it is."""
    public = make_node_key(tmp_path / "node_key")
    private, told = (tmp_path / "node_key").read_bytes(), public.read_bytes()
    public.unlink()
    assert make_node_key(tmp_path / "node_key").read_bytes() == told
    assert (tmp_path / "node_key").read_bytes() == private
    (tmp_path / "node_key").write_bytes(private[:50])
    with pytest.raises(ValueError, match=r"is no private key .* delete it"):
        make_node_key(tmp_path / "node_key")


def test_a_damaged_certificate_is_named(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    for name in ("ca.pem", "server.pem"):
        (tmp_path / name).write_bytes(b"rubbish")
        with pytest.raises(ValueError, match=f"{name} is no certificate .* bring the server's ca.pem again"):
            read_certificate(tmp_path / name)
    with pytest.raises(ValueError, match=r"server\.pem is no certificate"):
        certified(tmp_path, ["localhost"])
