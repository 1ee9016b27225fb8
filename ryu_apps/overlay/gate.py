"""The control channel's server: agents dial in with their certificates, new nodes with a token."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
import threading
import time
from asyncio import sslproto
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.book import Agent
from ryu_apps.overlay.coming_back import ComingBack, nobody
from ryu_apps.overlay.doorway import Doorway, doorways
from ryu_apps.overlay.hosting import GateListener, Hosting
from ryu_apps.overlay.letting_in import Admit, LettingIn
from vte_agent.protocol.base import Message, PublicKey, Serial
from vte_agent.protocol.channel import Close, read_member_uri
from vte_agent.protocol.enrollment import Challenge, ClaimFrame, Enroll, Lapsed, Refused
from vte_agent.protocol.frames import (
    FROM_STRANGER,
    MOST_FROM_AGENT,
    BadFrame,
    RollFrame,
    WantedFrame,
    decode,
    encode,
)
from vte_agent.protocol.members import Member, Roll
from vte_agent.protocol.signed import Signed

log = logging.getLogger("lockstitch.overlay")

MOST_STRANGER_BYTES = 64 << 10
"""Of a frame from a node without a certificate."""
STRANGER_S = 10.0

_HANDSHAKE_S = 30.0
_SWEEP_S = 0.5
_SERVER_CHECK_S = 3600.0
_BACKLOG = 2048
_TLS_BUFFER = 8 << 10

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which Python has no name."""


class GateError(Exception):
    """The channel cannot be served; the message says what to do."""


class Gate:
    """Serves the channel on a thread of its own; its methods may be called from any thread."""

    def __init__(
        self,
        authority: Authority,
        policy_key: PublicKey,
        admit: Admit,
        listener: GateListener | None = None,
        *,
        member_of: Callable[[Serial], Member | None] = nobody,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """member_of: who is a member with this serial now; may be called at any time, from the gate's thread."""
        self._authority = authority
        self._policy_key = policy_key
        self._letting_in = LettingIn(authority, admit)
        self._hosting = Hosting(authority, self._letting_in, listener or GateListener(), clock)
        self._coming_back = ComingBack(authority, member_of, self._letting_in.may_renew, clock)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="overlay-admit")
        self._doorways: tuple[Doorway, ...] = ()
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    def start(self, host: str, port: int) -> None:
        """Listen; `port` is then what was bound. Raises GateError."""
        started: list[BaseException | None] = []
        ready = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            try:
                self._loop.run_until_complete(self._serve(host, port, ready))
            except BaseException as error:  # told where it was started
                started.append(error)
                if ready.is_set():
                    log.exception("the control channel has ended")
            finally:
                ready.set()
                self._loop.close()

        self._thread = threading.Thread(target=run, name="overlay-gate", daemon=True)
        self._thread.start()
        ready.wait()
        if started:
            raise GateError(f"the control channel cannot be served at {host}:{port}: {started[0]}") from started[0]

    def stop(self) -> None:
        """Close all channels and the port."""
        if self._thread is not None and self._stop is not None:
            self._call(self._stop.set)
            self._thread.join()
        self._pool.shutdown(wait=False)

    def send_wanted(self, serial: Serial, wanted: Callable[[], Signed]) -> None:
        """Send an agent its wanted state, where it is connected; it is made when it is sent, on the gate's thread.

        One that still waits is not made any more. So a thousand that are told at once do not all wait in memory.
        """
        self._call(lambda: self._hosting.send_wanted(serial, lambda: encode(WantedFrame(wanted=wanted()))))

    def publish_roll(self, signed: Signed) -> None:
        """Have everybody know a roll, and whom it revokes out. Raises NotSigned."""
        roll = signed.open(Roll, [self._policy_key])
        frame = encode(RollFrame(roll=signed))
        self._call(lambda: self._hosting.publish_roll(roll, frame))

    def problems(self) -> dict[Serial, str]:
        """What has gone wrong with which agent in the last ten minutes."""
        return self._hosting.troubles.recent()

    def connected(self) -> frozenset[Serial]:
        """Who is on the channel."""
        return frozenset(self._hosting.agents.copy())

    def address(self, serial: Serial) -> str | None:
        """Where an agent's channel is seen to come from; None while it has none."""
        agent = self._hosting.agents.get(serial)
        return agent.address if agent is not None else None

    def _call(self, act: Callable[[], object]) -> None:
        # Closed already: there is nobody to be told.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(act)

    async def _serve(self, host: str, port: int, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        # Of each connection's own, and all of it is touched: a quarter of a megabyte by itself.
        sslproto.SSLProtocol.max_size = _TLS_BUFFER
        context = server_context(self._authority)
        self._doorways = doorways(host, port)
        async with contextlib.AsyncExitStack() as serving:
            for doorway in self._doorways:
                await serving.enter_async_context(self._serve_at(doorway, context))
            self.port = self._doorways[0].getsockname()[1]
            ready.set()
            sweeping = asyncio.create_task(self._keep_sweeping(context))
            await self._stop.wait()
            sweeping.cancel()

    def _serve_at(self, doorway: Doorway, context: ssl.SSLContext) -> AbstractAsyncContextManager[Server]:
        return serve(
            self._enter,
            sock=doorway,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_S,
            backlog=_BACKLOG,
            compression=None,
            server_header=None,
            open_timeout=_HANDSHAKE_S,
            ping_interval=20.0,
            ping_timeout=20.0,
            close_timeout=2.0,
            max_size=MOST_STRANGER_BYTES,
            max_queue=1,
            process_request=_let_agents_say_more,
            logger=_quiet,
        )

    async def _keep_sweeping(self, context: ssl.SSLContext) -> None:
        checked_s = time.monotonic()
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._hosting.sweep()
            if time.monotonic() - checked_s > _SERVER_CHECK_S:
                checked_s = time.monotonic()
                with contextlib.suppress(OSError):
                    files = self._authority.server_files()
                    context.load_cert_chain(files.certificate, files.key)

    async def _enter(self, connection: ServerConnection) -> None:
        link: ssl.SSLObject = connection.transport.get_extra_info("ssl_object")
        peer = connection.remote_address
        address = str(peer[0]) if peer else "?"
        found = _member_of(link)
        if found is None:
            await self._meet(connection, address)
            return
        for doorway in self._doorways:
            doorway.known(peer)
        serial, name, expires_s = found
        try:
            await self._hosting.welcome(Agent(serial, name, expires_s, connection, address))
        except Exception:
            log.exception("serial=%d its channel is closed by a fault of ours", serial)
            raise

    async def _meet(self, connection: ServerConnection, address: str) -> None:
        """Somebody without a certificate: one request to be let in, and one answer."""
        try:
            answer = await self._answer(connection, address)
            if answer is not None:
                await asyncio.wait_for(connection.send(encode(answer)), STRANGER_S)
                await connection.close(1000)
        except (ConnectionClosed, TimeoutError):
            pass

    async def _answer(self, connection: ServerConnection, address: str) -> Message | None:
        """None: the connection is closed, which says it all."""
        try:
            asked = decode(await asyncio.wait_for(connection.recv(), STRANGER_S), FROM_STRANGER)
            if isinstance(asked, Enroll):
                return await self._letting_in.answer(asked, address, self._pool)
            if isinstance(asked, Lapsed):
                return await self._have_back(connection, asked.serial, address)
            raise BadFrame("nothing was asked for that this would answer")
        except BadFrame as error:
            log.warning("address=%s says what is not understood: %s", address, error)
            return self._letting_in.too_often(address) or Refused(reason=str(error)[:500])

    async def _have_back(self, connection: ServerConnection, serial: Serial, address: str) -> Message | None:
        """A member without a certificate that counts: it is who it says where it signs what nobody has seen."""
        if await self._is_turned_away(connection, serial, address):
            return None
        refused = self._coming_back.why_not(serial, address)
        if refused is not None:
            return refused
        nonce = secrets.token_hex(32)
        await asyncio.wait_for(connection.send(encode(Challenge(nonce=nonce))), STRANGER_S)
        claim = decode(await asyncio.wait_for(connection.recv(), STRANGER_S), FROM_STRANGER)
        if not isinstance(claim, ClaimFrame):
            raise BadFrame("a challenge is answered by a claim")
        if await self._is_turned_away(connection, serial, address):
            return None
        return self._coming_back.answer(claim, serial, nonce, address)

    async def _is_turned_away(self, connection: ServerConnection, serial: Serial, address: str) -> bool:
        if not self._hosting.is_revoked(serial):
            return False
        log.warning("serial=%d address=%s is revoked and was turned away", serial, address)
        await connection.close(Close.REVOKED, f"serial {serial} is revoked")
        return True


def server_context(authority: Authority) -> ssl.SSLContext:
    """TLS 1.3. Whoever shows a certificate has to show one of the authority; who shows none is a stranger."""
    files = authority.server_files()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(cadata=authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    # Who comes with one that has expired is told so, and by the gate: TLS could only end the connection.
    context.verify_flags |= _NO_CHECK_TIME
    # A resumed session would come with a certificate that nobody looks at again.
    context.num_tickets = 0
    return context


def _let_agents_say_more(connection: ServerConnection, _: object) -> None:
    if _member_of(connection.transport.get_extra_info("ssl_object")) is not None:
        connection.protocol.max_message_size = MOST_FROM_AGENT


def _member_of(link: ssl.SSLObject) -> tuple[Serial, str, float] | None:
    """Serial, name and expiry of the certificate that was shown, verified by TLS; None where there is none."""
    certificate: dict[str, Any] | None = link.getpeercert()
    if not certificate:
        return None
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "URI" and (found := read_member_uri(value)) is not None:
            return (*found, ssl.cert_time_to_seconds(certificate["notAfter"]))
    return None


_quiet = logging.getLogger("lockstitch.overlay.websockets")
# Whoever knocks with garbage would fill the log with tracebacks.
_quiet.setLevel(logging.CRITICAL)
