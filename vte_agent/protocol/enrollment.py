"""How a node becomes a member by its token, and comes back as one whose certificate has expired meanwhile."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Annotated

from pydantic import Field, ValidationError

from vte_agent.protocol.base import Message, Name, PublicKey, Serial, UnixTime, public_bytes
from vte_agent.protocol.signed import Signed

_PREFIX = "lockstitch-site-1."
_MOST_CHARS = 4096

Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Pem = Annotated[str, Field(max_length=16_384)]


class BadToken(ValueError):
    """What was given is no enrollment token."""


class Token(Message):
    """What an operator gives to a new node, once. Its secret is known to the signer and to nobody between.

    It says whom to trust too: authority_sha256 is of the controller's CA certificate (DER), policy_key signs who
    is a member.
    """

    id: Name
    secret: Hex64
    controllers: Annotated[tuple[Annotated[str, Field(max_length=255)], ...], Field(min_length=1)]
    """host:port of each."""
    authority_sha256: Hex64
    policy_key: PublicKey
    expires_at: UnixTime

    def text(self) -> str:
        """The token as one word."""
        return _PREFIX + base64.urlsafe_b64encode(self.model_dump_json().encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Token:
        """The token of a word. Raises BadToken, which never shows what was given."""
        text = text.strip()
        if not text.startswith(_PREFIX) or len(text) > _MOST_CHARS:
            raise BadToken(f"an enrollment token starts with {_PREFIX}; have a new one made")
        body = text.removeprefix(_PREFIX)
        try:
            return cls.model_validate_json(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (binascii.Error, ValueError, ValidationError):
            # From None: what pydantic says shows its input.
            raise BadToken("the enrollment token is damaged; have a new one made") from None


class Enroll(Message):
    """Asks to be let in. proof shows that the asker has the token's secret, for these keys and this CSR alone."""

    token_id: Name
    name: Name
    identity: PublicKey
    pairing: PublicKey
    csr: Pem
    proof: Hex64


class Enrolled(Message):
    """Let in: a client certificate for the control channel with its CA, its membership, and the roll of today."""

    certificate: Pem
    authority: Pem
    member: Signed
    roll: Signed


class Renew(Message):
    """Asks for another certificate, over a channel that has one."""

    csr: Pem


class Renewed(Message):
    """The new certificate."""

    certificate: Pem


class Lapsed(Message):
    """A member whose certificate has expired, or is lost, says who it is, without one; it is challenged."""

    serial: Serial


class Challenge(Message):
    """What has to be signed next, on this connection alone."""

    nonce: Hex64


class Claim(Message):
    """Asks for a certificate for the key of this request, and is good for no other; signed by its identity."""

    serial: Serial
    nonce: Hex64
    csr: Pem


class ClaimFrame(Message):
    """A claim (a signed `Claim`)."""

    claim: Signed


class Refused(Message):
    """No, with the reason and what to do."""

    reason: Annotated[str, Field(max_length=500)]


def proof_of(secret: Hex64, token_id: str, name: str, identity: PublicKey, pairing: PublicKey, csr: str) -> Hex64:
    """HMAC-SHA256 (RFC 2104) by the token's secret over all that is asked for, each part with its length."""
    parts = (token_id.encode(), name.encode(), public_bytes(identity), public_bytes(pairing), csr.encode())
    data = b"".join(len(part).to_bytes(4) + part for part in (b"lockstitch enroll", *parts))
    return hmac.new(bytes.fromhex(secret), data, hashlib.sha256).hexdigest()
