"""The certificate that the controller makes for itself, and how its clients know it again."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

CERTIFICATE = "tls.crt"
KEY = "tls.key"

_VALID = timedelta(days=3650)
_RENEWED_BEFORE = timedelta(days=30)


class TlsError(Exception):
    """There is no certificate that can be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate (with its chain) and its key, as PEM files."""

    certificate: Path
    key: Path

    def check(self) -> TlsFiles:
        """These files, if TLS can be served with them. Raises TlsError."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, password=_none)
        except FileNotFoundError as error:
            missing = self.key if self.certificate.exists() else self.certificate
            raise TlsError(f"there is no file {missing}; give PEM files with --tls-cert and --tls-key") from error
        except (OSError, ValueError) as error:
            raise TlsError(
                f"{self.certificate} and {self.key} cannot be used ({error}); give the PEM files of a certificate and "
                "of its key, which has no passphrase"
            ) from error
        return self


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
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise TlsError(f"{certificate} is no certificate in PEM ({error})") from error
    return found.fingerprint(hashes.SHA256()).hex(":").upper()


def client_context(state: Path, ca: Path | None) -> ssl.SSLContext:
    """How a client checks who answers. Raises TlsError.

    With `ca`, its certificates sign for the host that is asked. Else where the state directory has the certificate
    that the controller made for itself, that very one is asked for, under whatever name it is reached: it can sign no
    other. Else it is what the system trusts.
    """
    if ca is None and not (state / CERTIFICATE).exists():
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted = ca or state / CERTIFICATE
    context.check_hostname = ca is not None
    try:
        context.load_verify_locations(trusted)
    except (OSError, ValueError) as error:
        raise TlsError(f"{trusted} has no certificates ({error}); give a PEM file with --ca") from error
    return context


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name counts where all of its addresses do."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[4][0]).partition("%")[0]).is_loopback for address in found)


def _none() -> str:
    # OpenSSL would ask the terminal.
    return ""


def _is_good(files: TlsFiles) -> bool:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        files.check()
    except (FileNotFoundError, ValueError, TlsError):
        return False
    return found.not_valid_after_utc - datetime.now(UTC) > _RENEWED_BEFORE


def _make(files: TlsFiles, hosts: Iterable[str]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

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
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in _names(hosts)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    _write(files.key, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain), 0o600)
    _write(files.certificate, certificate.public_bytes(pem), 0o644)


def _names(hosts: Iterable[str]) -> list[str]:
    unspecified = ("0.0.0.0", "::", "")  # noqa: S104  # nothing is bound here
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *hosts]
    return list(dict.fromkeys(name for name in names if name not in unspecified and name.isascii()))


def _general_name(host: str):  # type: ignore[no-untyped-def]  # noqa: ANN202  # imported where it is needed
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file in one step, never open to more than `mode` says."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
