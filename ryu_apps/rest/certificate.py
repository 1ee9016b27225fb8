"""The certificate that the controller makes for itself."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ryu_apps.rest.tls import CERTIFICATE, KEY, TlsError, TlsFiles
from vte_agent.private_files import write_file

_VALID = timedelta(days=3650)
_RENEWED_BEFORE = timedelta(days=30)


def self_signed(directory: Path, hosts: Iterable[str]) -> TlsFiles:
    """The certificate of a state directory, made where there is none or it is about to expire. Raises TlsError."""
    files = TlsFiles(directory / CERTIFICATE, directory / KEY)
    try:
        if not _is_good(files):
            _make(files, hosts)
    except OSError as error:
        raise TlsError(
            f"cannot keep a certificate in {directory}: {error.strerror}; choose another directory with --state"
        ) from error
    return files.check()


def fingerprint(certificate: Path) -> str:
    """The SHA-256 of a certificate as people compare it: AB:CD:... Raises TlsError."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise TlsError(f"{certificate} is no certificate in PEM ({error})") from error
    return found.fingerprint(hashes.SHA256()).hex(":").upper()


def _is_good(files: TlsFiles) -> bool:
    try:
        found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        files.check()
    except (FileNotFoundError, ValueError, TlsError):
        return False
    return found.not_valid_after_utc - datetime.now(UTC) > _RENEWED_BEFORE


def _make(files: TlsFiles, hosts: Iterable[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lockstitch controller")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(host) for host in _names(hosts)]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    write_file(files.key, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain), 0o600)
    write_file(files.certificate, certificate.public_bytes(pem), 0o644)


def _names(hosts: Iterable[str]) -> list[str]:
    unspecified = ("0.0.0.0", "::", "")  # noqa: S104  # nothing is bound here
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *hosts]
    return list(dict.fromkeys(name for name in names if name not in unspecified and name.isascii()))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
