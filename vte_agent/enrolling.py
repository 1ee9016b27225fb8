"""Becoming a member with a token: only a controller that the token names by its authority is told anything."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from vte_agent import membership as members
from vte_agent.dialling import dial
from vte_agent.identity import Identity, csr_of, load_or_make, read_tls_key, tls_key, tls_key_pem
from vte_agent.keeping import Keeping
from vte_agent.membership import BadCertificate, Membership
from vte_agent.protocol.channel import SERVER_NAME
from vte_agent.protocol.enrollment import Enroll, Enrolled, Pem, Refused, Token, proof_of
from vte_agent.protocol.frames import FROM_CONTROLLER, BadFrame, decode, encode
from vte_agent.protocol.members import Member, Roll
from vte_agent.protocol.signed import NotSigned

log = logging.getLogger("vte_agent.enrolling")

_ASKED_FILE = "enrolling.json"
_TIMEOUT_S = 20.0
_MOST_BYTES = 4 << 20


class NotEnrolled(Exception):
    """The node was not let in; the message says why and what to do."""


class _NotHere(Exception):
    """Another controller may do better."""


async def enroll(
    token: Token, name: str, keeping: Keeping, *, clock: Callable[[], float] = time.time
) -> Membership:
    """Have this node let in; all that it needs from now on is on its disk then. Raises NotEnrolled, CannotKeep."""
    if members.load(keeping) is not None:
        raise NotEnrolled("this node is a member already; remove its state directory to have it join anew")
    if token.expires_at <= clock():
        raise NotEnrolled("the enrollment token has expired, or this clock is ahead; have a new token made")
    own = load_or_make(keeping)
    key, asked = _question(token, name, own, keeping)
    why = []
    for address in token.controllers:
        try:
            answer = await asyncio.wait_for(_ask(address, token, asked), _TIMEOUT_S)
            membership = _checked(answer, token, own, name, clock())
            content = members.bundle(key, answer.certificate, answer.authority)
        except (_NotHere, NotSigned, BadCertificate) as error:
            why.append(f"{address}: {error}")
        except (WebSocketException, BadFrame) as error:
            why.append(f"{address}: {error}")
        except OSError as error:
            why.append(f"{address}: {_unreached(error)}")
        else:
            keeping.write(members.ROLL_FILE, answer.roll.model_dump_json().encode())
            keeping.write(members.CERTIFICATE, content)
            # Last: where there is a membership, there is all that belongs to it.
            keeping.write(members.FILE, membership.model_dump_json().encode())
            keeping.remove(_ASKED_FILE)
            log.info("enrolled name=%s serial=%d", name, membership.open().serial)
            return membership
    raise NotEnrolled(f"no controller let this node in: {'; '.join(why)}")


def _unreached(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error)
    what = "it does not answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNREFUSED):
        what = "nobody listens there" if error.errno == errno.ECONNREFUSED else "no way leads there"
    return (
        f"{what}: is this where the controller is called (`lockstitch overlay card`), is it started with "
        "--overlay, and does no firewall forbid it?"
    )


def _question(
    token: Token, name: str, own: Identity, keeping: Keeping
) -> tuple[ec.EllipticCurvePrivateKey, Enroll]:
    """The very same as the last time, where no answer came: a token is good for one question."""
    kept = keeping.read(_ASKED_FILE)
    if kept is not None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            known = json.loads(kept)
            asked = Enroll.model_validate(known["enroll"])
            parts = (token.id, name, own.public_identity, own.public_pairing)
            # With another secret it is another token, whatever its id.
            proof = proof_of(token.secret, *parts, asked.csr)
            if (asked.token_id, asked.name, asked.identity, asked.pairing, asked.proof) == (*parts, proof):
                return read_tls_key(known["key"]), asked
    key = tls_key()
    csr = csr_of(key)
    asked = Enroll(
        token_id=token.id,
        name=name,
        identity=own.public_identity,
        pairing=own.public_pairing,
        csr=csr,
        proof=proof_of(token.secret, token.id, name, own.public_identity, own.public_pairing, csr),
    )
    kept = json.dumps({"enroll": asked.model_dump(mode="json"), "key": tls_key_pem(key).decode()}).encode()
    keeping.write(_ASKED_FILE, kept)
    return key, asked


async def _ask(address: str, token: Token, asked: Enroll) -> Enrolled:
    authority = await _pinned_authority(address, token.authority_sha256)
    context = members.client_context(authority)
    async with connect(
        f"wss://{address}/",
        sock=await dial(address),
        ssl=context,
        server_hostname=SERVER_NAME,
        compression=None,
        proxy=None,
        max_size=_MOST_BYTES,
        open_timeout=_TIMEOUT_S,
        close_timeout=1.0,
    ) as channel:
        await channel.send(encode(asked))
        answer = decode(await channel.recv(), FROM_CONTROLLER)
    if isinstance(answer, Refused):
        raise _NotHere(f"it refuses: {answer.reason}")
    if not isinstance(answer, Enrolled):
        raise _NotHere("this is no answer to an enrollment")
    return answer


async def _pinned_authority(address: str, sha256: str) -> Pem:
    """The authority's certificate, as the controller shows it in its handshake; nothing is sent but TLS's own.

    Nothing rests on that handshake: what is sent later goes over one that this authority has to have signed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    link = await dial(address)
    _, writer = await asyncio.open_connection(sock=link, ssl=context, server_hostname=SERVER_NAME)
    try:
        chain = _chain(writer.get_extra_info("ssl_object"))
    finally:
        writer.transport.abort()
    for certificate in chain:
        if hashlib.sha256(certificate).hexdigest() == sha256:
            return ssl.DER_cert_to_PEM_cert(certificate)
    raise _NotHere(
        "this is not the controller that the token is for; nothing was sent to it: have a token made by its signer"
    )


def _chain(link: Any) -> list[bytes]:
    """The certificates that the other end has shown (DER), whoever signed them."""
    if hasattr(link, "get_unverified_chain"):
        return [bytes(one) for one in link.get_unverified_chain()]
    # Public from Python 3.13 on; before it is there under this name.
    found = link._sslobj.get_unverified_chain()  # noqa: SLF001
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in found or ()]


def _checked(answer: Enrolled, token: Token, own: Identity, name: str, now_s: float) -> Membership:
    """What came, where it is for this node and signed by those whom the token names. Raises NotSigned."""
    der = ssl.PEM_cert_to_DER_cert(answer.authority)
    if hashlib.sha256(der).hexdigest() != token.authority_sha256:
        raise NotSigned("the authority that came is not the one that the token names")
    member = answer.member.open(Member, [token.policy_key])
    roll = answer.roll.open(Roll, [token.policy_key])
    if not own.is_of(member) or member.name != name:
        raise NotSigned(f"what came is the membership of {member.name}, with other keys")
    if member.serial in roll.revoked or roll.not_after <= now_s:
        raise NotSigned("the roll that came is an old one, or this clock is ahead")
    return Membership(
        controllers=token.controllers,
        authority=answer.authority,
        policy_key=token.policy_key,
        member=answer.member,
    )
