"""The controller's certificate authority: it says who may talk on the control channel, not who is a member."""

from __future__ import annotations

import hashlib
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ryu_apps.rest.tls import TlsFiles
from vte_agent.private_files import write_file
from vte_agent.protocol.base import Name, Serial
from vte_agent.protocol.channel import SERVER_NAME, member_uri
from vte_agent.protocol.enrollment import Hex64, Pem

CLIENT_VALID = timedelta(hours=24)

_AUTHORITY_VALID = timedelta(days=3650)
_SERVER_VALID = timedelta(days=90)
_SKEW = timedelta(minutes=5)
"""Clocks of agents may be behind by this much."""


class AuthorityError(Exception):
    """The authority cannot be had; the message says what to do."""


class BadCsr(ValueError):
    """What was sent is no request for a certificate that can be signed."""


class Authority:
    """The authority of a state directory, made at its first use: overlay-ca.key (0600) and overlay-ca.crt."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        """Raises AuthorityError."""
        self._directory = directory
        self._clock = clock
        self._key_path = directory / "overlay-ca.key"
        self._path = directory / "overlay-ca.crt"
        try:
            if not self._path.exists():
                self._make()
            self._key, self.certificate = self._load()
        except OSError as error:
            raise AuthorityError(
                f"cannot keep a certificate authority in {directory}: {error.strerror}"
            ) from error

    @property
    def pem(self) -> Pem:
        """Its certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def sha256(self) -> Hex64:
        """The SHA-256 of its certificate (DER), which tokens carry."""
        return hashlib.sha256(self.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    def sign_client(self, csr: Pem, serial: Serial, name: Name) -> Pem:
        """A certificate for 24 hours, for the key of this request. Raises BadCsr."""
        alternative = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(member_uri(serial, name))])
        signed = self._sign(csr_key(csr), name, CLIENT_VALID, ExtendedKeyUsageOID.CLIENT_AUTH, alternative)
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def server_files(self) -> TlsFiles:
        """What the channel is served with; made anew when a third of its life is left. Raises OSError."""
        files = TlsFiles(self._directory / "overlay-server.crt", self._directory / "overlay-server.key")
        if not self._serves_on(files):
            key = ec.generate_private_key(ec.SECP256R1())
            alternative = x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)])
            made = self._sign(
                key.public_key(), SERVER_NAME, _SERVER_VALID, ExtendedKeyUsageOID.SERVER_AUTH, alternative
            )
            # With the authority's own behind it: a new agent compares that one with its token.
            chain = made.public_bytes(serialization.Encoding.PEM) + self.pem.encode()
            write_file(files.key, _key_pem(key), 0o600)
            write_file(files.certificate, chain, 0o644)
        return files

    def _serves_on(self, files: TlsFiles) -> bool:
        try:
            found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
            key = serialization.load_pem_private_key(files.key.read_bytes(), None)
            found.verify_directly_issued_by(self.certificate)
        except Exception:  # noqa: BLE001  # whatever is wrong with it, another one is made
            return False
        now = self._now()
        is_young = found.not_valid_before_utc <= now < found.not_valid_after_utc - _SERVER_VALID / 3
        return is_young and key.public_key() == found.public_key()

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey,
        name: str,
        valid: timedelta,
        usage: x509.ObjectIdentifier,
        alternative: x509.SubjectAlternativeName,
    ) -> x509.Certificate:
        now = self._now()
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
            .add_extension(alternative, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lockstitch overlay authority")])
        now = self._now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + _AUTHORITY_VALID)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        # The key first: where there is a certificate, there is its key.
        write_file(self._key_path, _key_pem(key), 0o600)
        write_file(self._path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)

    def _load(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        if stat.S_IMODE(self._key_path.stat().st_mode) & 0o077:
            raise AuthorityError(f"{self._key_path} can be read by others; run: chmod 600 {self._key_path}")
        try:
            key = serialization.load_pem_private_key(self._key_path.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(self._path.read_bytes())
        except (ValueError, TypeError) as error:
            raise AuthorityError(
                f"{self._key_path} or {self._path} is damaged; put them back from a copy: all agents know it"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise AuthorityError(f"{self._key_path} is not the key of {self._path}; put them back from a copy")
        return key, certificate

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def expiry_of(certificate: Pem) -> float:
    """When a certificate that was signed here expires, in seconds since 1970."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()


def csr_key(csr: Pem) -> ec.EllipticCurvePublicKey:
    """The key that a request (PKCS #10) is for, if it may have a certificate. Raises BadCsr."""
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key = request.public_key()
        good = request.is_signature_valid
    except Exception:  # noqa: BLE001  # foreign bytes; the parsers raise more than they name
        raise BadCsr("this is no certificate request (PKCS #10, PEM)") from None
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        raise BadCsr("a certificate is signed for a key on P-256 only")
    if not good:
        raise BadCsr("the certificate request is not signed with its own key")
    return key


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
