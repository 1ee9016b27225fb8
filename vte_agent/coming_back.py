"""A member whose certificate has expired asks for another: it shows who it is by its identity."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect

from vte_agent import membership as members
from vte_agent.dialling import dial
from vte_agent.identity import Identity, csr_of, tls_key
from vte_agent.membership import Membership
from vte_agent.protocol.base import Message
from vte_agent.protocol.channel import SERVER_NAME
from vte_agent.protocol.enrollment import Challenge, Claim, ClaimFrame, Lapsed, Refused, Renewed
from vte_agent.protocol.frames import FROM_CONTROLLER, BadFrame, decode, encode
from vte_agent.protocol.signed import Signed

_M = TypeVar("_M", bound=Message)

_TIMEOUT_S = 20.0
_MOST_BYTES = 64 << 10


class NotLetBack(Exception):
    """The controller gives no certificate; the message says why."""


async def come_back(address: str, membership: Membership, identity: Identity) -> bytes:
    """The file of another certificate, with its key.

    Raises NotLetBack, BadCertificate, BadFrame, OSError, TimeoutError, WebSocketException; ConnectionClosed with
    `Close.REVOKED` where this node is out.
    """
    key, serial = tls_key(), membership.open().serial
    async with (
        asyncio.timeout(_TIMEOUT_S),
        connect(
            f"wss://{address}/",
            sock=await dial(address),
            ssl=members.client_context(membership.authority),
            server_hostname=SERVER_NAME,
            compression=None,
            proxy=None,
            max_size=_MOST_BYTES,
            open_timeout=_TIMEOUT_S,
            close_timeout=1.0,
        ) as connection,
    ):
        await connection.send(encode(Lapsed(serial=serial)))
        challenge = await _answer(connection, Challenge)
        claim = Claim(serial=serial, nonce=challenge.nonce, csr=csr_of(key))
        await connection.send(encode(ClaimFrame(claim=Signed.of(claim, identity.identity))))
        renewed = await _answer(connection, Renewed)
    return members.bundle(key, renewed.certificate, membership.authority)


async def _answer(connection: ClientConnection, kind: type[_M]) -> _M:
    answer = decode(await connection.recv(), FROM_CONTROLLER)
    if isinstance(answer, Refused):
        raise NotLetBack(answer.reason)
    if not isinstance(answer, kind):
        raise BadFrame(f"a {type(answer).__name__} is no answer to this")
    return answer
