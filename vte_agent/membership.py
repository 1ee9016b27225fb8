"""What a node has once it was let in: whom it trusts, who it is, and its certificate for the control channel."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from vte_agent.identity import tls_key_pem
from vte_agent.keeping import CannotKeep, Keeping
from vte_agent.protocol.base import Message, PublicKey
from vte_agent.protocol.enrollment import Pem
from vte_agent.protocol.members import Member
from vte_agent.protocol.signed import NotSigned, Signed

FILE = "membership.json"
ROLL_FILE = "roll.json"
CERTIFICATE = "channel.pem"
"""The key of the control channel with its certificate."""


class BadCertificate(ValueError):
    """The controller gave a certificate that is of no use here."""


class Membership(Message):
    """authority is the controllers' CA (PEM), policy_key says who is a member, member is this node."""

    controllers: tuple[str, ...]
    authority: Pem
    policy_key: PublicKey
    member: Signed

    def open(self) -> Member:
        """Who this node is; it may have expired. Raises NotSigned."""
        return self.member.open(Member, [self.policy_key])


@dataclass(frozen=True)
class Life:
    """When a certificate counts, in seconds since 1970."""

    not_before: float
    not_after: float

    @property
    def renewed_at(self) -> float:
        """At two thirds of it."""
        return self.not_before + (self.not_after - self.not_before) * 2 / 3


def load(keeping: Keeping) -> Membership | None:
    """The membership of a state directory; None where the node was not let in yet. Raises CannotKeep."""
    kept = keeping.read(FILE)
    if kept is None:
        return None
    try:
        membership = Membership.model_validate_json(kept)
        membership.open()
    except (ValidationError, NotSigned):
        raise CannotKeep(
            f"{keeping.path(FILE)} is damaged; put it back from a copy, or remove it and enroll anew"
        ) from None
    return membership


def bundle(key: ec.EllipticCurvePrivateKey, certificate: Pem, authority: Pem) -> bytes:
    """The file of a certificate with its key. Raises BadCertificate."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
    except Exception:  # noqa: BLE001  # foreign bytes; the parsers raise more than they name
        raise BadCertificate("the certificate that came is not signed by the controllers' authority") from None
    if found.public_key() != key.public_key():
        raise BadCertificate("the certificate that came is for another key")
    return tls_key_pem(key) + certificate.encode()


def life_of(content: bytes) -> Life:
    """When the certificate of such a file counts. Raises ValueError."""
    found = x509.load_pem_x509_certificate(content[content.index(b"-----BEGIN CERTIFICATE") :])
    return Life(found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())


def client_context(authority: Pem) -> ssl.SSLContext:
    """TLS 1.3 to a controller that this authority has signed, and to no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority)
    return context


def own_context(membership: Membership, keeping: Keeping) -> ssl.SSLContext:
    """The same, showing this node's certificate. Raises CannotKeep."""
    context = client_context(membership.authority)
    path = keeping.path(CERTIFICATE)
    try:
        context.load_cert_chain(path, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise CannotKeep(f"{path} cannot be used ({error}); enroll anew") from error
    return context


def _no_passphrase() -> str:
    # OpenSSL would ask the terminal.
    return ""
