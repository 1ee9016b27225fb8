"""The signer's two sockets: one for the controller, one for the operator."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sqlite3
import struct
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from ryu_apps.overlay.signing import requests as ask
from ryu_apps.overlay.signing.requests import BadRequest, Refusal
from ryu_apps.overlay.signing.signer import Signer
from vte_agent.protocol.base import Message

log = logging.getLogger("lockstitch.signer")

MOST_CONNECTIONS = 32
"""At a time, on each socket."""

IDLE_S = 60.0

_PEER = struct.Struct("3i")


@dataclass(frozen=True)
class Door:
    """A socket: where it is, which users may use it, and what they may ask."""

    path: Path
    uids: frozenset[int]
    kinds: TypeAdapter[Message]
    name: str


class SignerServer:
    """Answers requests, one after the other: there is one key and one ledger."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._later = asyncio.Event()
        self._connections: dict[str, int] = {}
        self._acts: Final[dict[type[Message], Callable[[Any], Message]]] = {
            ask.Admit: self._admit,
            ask.GetMembers: lambda request: signer.members(request.after),
            ask.MakeToken: self._make_token,
            ask.GetTokens: lambda _: ask.OpenTokens(tokens=signer.tokens()),
            ask.Withdraw: self._withdraw,
            ask.Revoke: self._revoke,
            ask.Trust: self._trust,
            ask.Distrust: self._distrust,
        }

    async def answer(self, line: bytes, kinds: TypeAdapter[Message]) -> Message:
        """The answer to a line, which may be a no. Raises BadRequest."""
        try:
            return await self._answer(ask.read_request(line, kinds))
        except Refusal as error:
            return ask.Refused(refused=str(error)[:1000])
        except sqlite3.Error as error:
            log.error("the ledger cannot be written: %s", error)
            return ask.Refused(refused=f"nothing was done, the ledger cannot be written: {error}")

    @contextlib.asynccontextmanager
    async def serving(self, doors: Collection[Door]) -> AsyncIterator[None]:
        """Listen on these sockets; they are gone afterwards."""
        async with contextlib.AsyncExitStack() as stack:
            for door in doors:
                await stack.enter_async_context(self._listening(door))
            yield

    @contextlib.asynccontextmanager
    async def _listening(self, door: Door) -> AsyncIterator[None]:
        door.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            listener.bind(str(door.path))
        finally:
            os.umask(before)
        if door.uids - {os.geteuid()}:
            # The mode has no word for one more user; who it is that connects, the kernel says (below).
            door.path.chmod(0o666)

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._talk(door, reader, writer)

        server = await asyncio.start_unix_server(talk, sock=listener, limit=ask.MOST_BYTES)
        try:
            async with server:
                yield
        finally:
            door.path.unlink(missing_ok=True)

    async def _talk(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = self._connections.get(door.name, 0)
        self._connections[door.name] = count + 1
        try:
            peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            pid, uid, _ = _PEER.unpack(peer)
            if uid not in door.uids:
                log.warning("door=%s uid=%d pid=%d was turned away", door.name, uid, pid)
            elif count >= MOST_CONNECTIONS:
                await _write(writer, ask.Refused(refused="too many connections at once; close some"))
            else:
                await self._converse(door, reader, writer)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._connections[door.name] -= 1
            writer.close()

    async def _converse(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await asyncio.wait_for(reader.readuntil(b"\n"), IDLE_S)
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                await _write(writer, ask.Refused(refused=f"a request has at most {ask.MOST_BYTES} bytes"))
                return
            try:
                answer = await self.answer(line, door.kinds)
            except BadRequest as error:
                await _write(writer, ask.Refused(refused=str(error)))
                return
            await _write(writer, answer)

    async def _answer(self, request: Message) -> Message:
        if isinstance(request, ask.GetRoll):
            return await self._roll(request)
        return self._acts[type(request)](request)

    async def _roll(self, request: ask.GetRoll) -> Message:
        if request.after is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(request.wait_s):
                    while self._signer.epoch <= request.after:
                        await self._later.wait()
        return self._signer.roll()

    def _admit(self, request: ask.Admit) -> Message:
        try:
            admitted = self._signer.admit(request.enroll)
        except Refusal as error:
            log.warning(
                "refused=enroll token=%s name=%s why=%s", request.enroll.token_id, request.enroll.name, error
            )
            raise
        log.info("admitted=%s token=%s", request.enroll.name, request.enroll.token_id)
        # With what it holds there is a later roll.
        self._wake()
        return admitted

    def _make_token(self, request: ask.MakeToken) -> Message:
        made = self._signer.make_token(request)
        log.info("token=%s made for names=%s", made.id, request.names)
        return made

    def _withdraw(self, request: ask.Withdraw) -> Message:
        self._signer.withdraw(request.token_id)
        log.info("token=%s withdrawn", request.token_id)
        return ask.Done()

    def _revoke(self, request: ask.Revoke) -> Message:
        self._signer.revoke(request.serial)
        return self._changed("revoked serial=%d", request.serial)

    def _trust(self, request: ask.Trust) -> Message:
        self._signer.trust(request.card)
        return self._changed("trusted controller=%s", request.card.state_key)

    def _distrust(self, request: ask.Distrust) -> Message:
        self._signer.distrust(request.state_key)
        return self._changed("no longer trusted controller=%s", request.state_key)

    def _changed(self, what: str, which: object) -> Message:
        log.info(what, which)
        self._wake()
        return ask.Done()

    def _wake(self) -> None:
        """Whoever waits for a later roll wakes; who comes after waits for the next."""
        self._later.set()
        self._later = asyncio.Event()


async def _write(writer: asyncio.StreamWriter, answer: Message) -> None:
    writer.write(answer.model_dump_json().encode() + b"\n")
    async with asyncio.timeout(IDLE_S):
        await writer.drain()
