"""Certificates and keys for a federation: one authority, the SuperLink's certificate, one key pair a SuperNode.

TLS lets a node check that it talks to the SuperLink; its key, registered with the SuperLink, lets the SuperLink check
who the node is. Keys are made where they are used and private ones stay there.
"""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dcfm.artefacts import atomically, write_bytes_atomically


def make_certificates(folder: Path, addresses: Sequence[str] = ("127.0.0.1", "localhost"), days: int = 365) -> None:
    """Write ``ca.pem`` (for every node), ``server.pem`` and ``server.key`` (for the SuperLink alone).

    The authority's own key is not kept: a further certificate needs a new authority.

    Args:
        folder: where to; made if missing.
        addresses: IP addresses and names under which nodes reach the SuperLink.
        days: until they run out.

    Raises:
        ValueError: no address.
    """
    if not addresses:
        raise ValueError("no address is given; give those under which nodes reach the SuperLink")
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("DCFM federation authority")
    ca = (
        _builder(issuer, issuer, authority.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(authority, hashes.SHA256())
    )
    certificate = (
        _builder(issuer, _name("DCFM federation server"), server.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_alternative(a) for a in addresses]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").unlink(missing_ok=True)  # written last: where it is, the others belong to it
    _write_private(folder / "server.key", server, serialization.PrivateFormat.PKCS8)
    write_bytes_atomically(folder / "server.pem", certificate.public_bytes(serialization.Encoding.PEM))
    write_bytes_atomically(folder / "ca.pem", ca.public_bytes(serialization.Encoding.PEM))


def certified(folder: Path, addresses: Sequence[str]) -> bool:
    """Whether :func:`make_certificates` was here, for these addresses at least, and what it wrote has not run out."""
    if not all((folder / name).exists() for name in ("server.key", "server.pem", "ca.pem")):
        return False
    found = read_certificate(folder / "server.pem")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    in_time = datetime.datetime.now(datetime.UTC) < found.not_valid_after_utc
    return in_time and {_alternative(address) for address in addresses} <= set(names)


def read_certificate(path: Path) -> x509.Certificate:
    """A certificate's file.

    Raises:
        ValueError: it is none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        reason = str(error).split(". See")[0]
        raise ValueError(
            f"{path} is no certificate ({reason}); at a silo, bring the server's ca.pem again; at the server, remove "
            f"{path.parent}, start it again and give every silo the new ca.pem"
        ) from error


def make_node_key(path: Path) -> Path:
    """Write a SuperNode's private key, unless it is there, and ``.pub`` beside it, which is registered.

    Returns:
        The path of the latter.

    Raises:
        ValueError: the private key is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        key = _read_private(path)
    else:
        key = ec.generate_private_key(ec.SECP384R1())
        _write_private(path, key, serialization.PrivateFormat.OpenSSH)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    write_bytes_atomically(path.with_name(path.name + ".pub"), public + b"\n")
    return path.with_name(path.name + ".pub")


def _read_private(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise ValueError(f"{path} is no private key ({error}); delete it, so that another is made") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is a key of another kind; delete it, so that one of elliptic curves is made")
    return key


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _builder(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> None:
    """For the owner's eyes alone from the first byte on."""
    content = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    with (
        atomically(path) as temporary,
        os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
    ):
        file.write(content)
