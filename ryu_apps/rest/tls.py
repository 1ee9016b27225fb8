"""TLS: which files the API is served with, and how clients know who answers."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

CERTIFICATE = "tls.crt"
KEY = "tls.key"


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
                f"{self.certificate} and {self.key} cannot be used ({error}); give the PEM files of a "
                "certificate and of its key, which has no passphrase"
            ) from error
        return self


def client_context(state: Path, ca: Path | None) -> ssl.SSLContext:
    """How a client checks who answers. Raises TlsError.

    With `ca`, its certificates sign for the host that is asked. Else where the state directory has the certificate
    that the controller made for itself, that very one is asked for, under whatever name it is reached: it can sign
    no other. Else it is what the system trusts.
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
