"""The control channel as the agent has it: it dials out, and again, for as long as it lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from vte_agent import membership as members
from vte_agent.coming_back import NotLetBack, come_back
from vte_agent.dialling import dial
from vte_agent.identity import Identity, csr_of, tls_key
from vte_agent.keeping import CannotKeep, Keeping
from vte_agent.membership import BadCertificate, Life, Membership
from vte_agent.protocol.base import Message
from vte_agent.protocol.channel import SERVER_NAME, Close
from vte_agent.protocol.enrollment import Refused, Renew, Renewed
from vte_agent.protocol.frames import (
    FROM_CONTROLLER,
    MOST_BYTES,
    BadFrame,
    Hello,
    Moved,
    RollFrame,
    WantedFrame,
    decode,
    encode,
    pieces,
)
from vte_agent.protocol.has import Has
from vte_agent.protocol.signed import Signed

log = logging.getLogger("vte_agent.channel")

MOVES_KEPT = 256
"""While nobody is there to be told; of more than these the oldest are forgotten."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 12.0
REPLACED_WAIT_S = 60.0

_OPEN_S = 30.0
_LASTING_S = 10.0
_PING_S = 20.0
_RENEW_AGAIN_S = 60.0


class ChannelState(StrEnum):
    """REPLACED: another agent has this identity. REVOKED: this node is out. Both are tried again, at length.

    EXPIRED: its certificate has, and no controller has given it another yet.
    """

    CLOSED = "closed"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    REPLACED = "replaced"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Listener:
    """What is done with what comes, on the loop's thread. A raised exception ends the channel, to begin anew."""

    on_roll: Callable[[Signed], object]
    on_wanted: Callable[[Signed], object]
    on_state: Callable[[ChannelState, str], object] = lambda *_: None


class Channel:
    """One agent's channel. All methods are called on the loop's thread."""

    def __init__(
        self,
        membership: Membership,
        identity: Identity,
        keeping: Keeping,
        listener: Listener,
        *,
        build: str = "",
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self._membership = membership
        self._identity = identity
        self._keeping = keeping
        self._listener = listener
        self._build = build
        self._clock = clock
        self._chance: Final = chance or random.SystemRandom()
        self._has: Has | None = None
        self._moves: deque[Moved] = deque(maxlen=MOVES_KEPT)
        self._news = asyncio.Event()
        self._renewing: ec.EllipticCurvePrivateKey | None = None
        self._renew_not_before_s = 0.0
        self._was_told_expired = False
        self._logged = ChannelState.CLOSED, ""
        self.state = ChannelState.CLOSED
        self.why = ""
        self.problem = ""
        """Of the certificate; "" where it is well."""

    def say_has(self, has: Has) -> None:
        """Report what there is; of several that could not be sent the newest counts."""
        self._has = has
        self._news.set()

    def say_moved(self, moved: Moved) -> None:
        """Report that a route went another way."""
        self._moves.append(moved)
        self._news.set()

    async def run(self) -> None:
        """Keep a channel to one of the controllers until this is cancelled."""
        failures = 0
        place = self._chance.randrange(len(self._membership.controllers))
        try:
            while True:
                address = self._membership.controllers[place % len(self._membership.controllers)]
                lasted = await self._one(address)
                place += 1
                failures = 0 if lasted else failures + 1
                await asyncio.sleep(self._wait_s(failures))
        finally:
            self._become(ChannelState.CLOSED, "")

    def _wait_s(self, failures: int) -> float:
        """Left to chance: thousands that lost the same controller come back one after the other."""
        if self.state in (ChannelState.REPLACED, ChannelState.REVOKED):
            return self._chance.uniform(REPLACED_WAIT_S / 2, REPLACED_WAIT_S)
        return self._chance.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures, 10)))

    async def _one(self, address: str) -> bool:
        """One connection from its beginning to its end; whether it held for a while."""
        held, is_expired = False, self._is_expired()
        self._become(ChannelState.CONNECTING, address)
        since_s = time.monotonic()
        try:
            if is_expired:
                await self._come_back(address)
                is_expired = False
            async with asyncio.timeout(_OPEN_S):
                link = await dial(address)
            async with connect(
                f"wss://{address}/",
                sock=link,
                ssl=members.own_context(self._membership, self._keeping),
                server_hostname=SERVER_NAME,
                compression=None,
                proxy=None,
                max_size=MOST_BYTES,
                open_timeout=_OPEN_S,
                close_timeout=1.0,
                ping_interval=_PING_S,
                ping_timeout=_PING_S,
            ) as connection:
                await connection.send(encode(Hello(build=self._build)))
                held = True
                self._become(ChannelState.CONNECTED, address)
                await self._talk(connection)
        except ConnectionClosed as error:
            self._closed(address, error)
        except (OSError, TimeoutError, WebSocketException, CannotKeep, NotLetBack, BadCertificate) as error:
            why = f"{address}: {str(error) or 'no answer in time'}"
            if is_expired:
                self._become(ChannelState.EXPIRED, f"the certificate has expired, and there is no other: {why}")
            else:
                self._become(ChannelState.WAITING, why)
        except BadFrame as error:
            self._become(ChannelState.WAITING, f"{address} speaks another language: {error}")
        return held and time.monotonic() - since_s > _LASTING_S

    def _is_expired(self) -> bool:
        """Whether the certificate has expired, by this clock or by a controller's word, or cannot be read."""
        try:
            life = members.life_of(self._keeping.read(members.CERTIFICATE) or b"")
        except (ValueError, CannotKeep):
            return True
        return self._was_told_expired or life.not_after <= self._clock()

    async def _come_back(self, address: str) -> None:
        # Where there is no other, and the one there is counts by this clock, that one is tried next time.
        self._was_told_expired = False
        content = await come_back(address, self._membership, self._identity)
        self._keeping.write(members.CERTIFICATE, content)
        self.problem, self._renew_not_before_s = "", 0.0
        log.warning(
            "channel=back address=%s the certificate had expired; not_after=%d",
            address,
            members.life_of(content).not_after,
        )

    async def _talk(self, connection: ClientConnection) -> None:
        """Send and receive until one of both fails."""
        self._renewing = None
        self._news.set()
        tasks = [asyncio.create_task(act(connection)) for act in (self._receive, self._send, self._renew)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self, connection: ClientConnection) -> None:
        while True:
            self._take(decode(await connection.recv(), FROM_CONTROLLER))

    def _take(self, message: Message) -> None:
        if isinstance(message, RollFrame):
            self._listener.on_roll(message.roll)
        elif isinstance(message, WantedFrame):
            self._listener.on_wanted(message.wanted)
        elif isinstance(message, Renewed):
            self._renewed(message)
        elif isinstance(message, Refused):
            self._renewing = None
            self.problem = f"the certificate was not renewed: {message.reason}"
            log.warning("channel=%s", self.problem)
        else:
            raise BadFrame(f"a {type(message).__name__} that was not asked for")

    async def _send(self, connection: ClientConnection) -> None:
        has_sent: Has | None = None
        while True:
            await self._news.wait()
            self._news.clear()
            if self._has is not None and self._has is not has_sent:
                said, has_sent = self._has.after(has_sent), self._has
                # The address is that of this connection, however old what is said may be.
                local = connection.local_address[0]
                said = said.model_copy(update={"channel_address": ip_address(local.partition("%")[0])})
                await connection.send(pieces(encode(said)))
            while self._moves:
                moved = self._moves.popleft()
                try:
                    await connection.send(encode(moved))
                except ConnectionClosed:
                    # Said over the next connection, unless there is too much to say by now.
                    if len(self._moves) < MOVES_KEPT:
                        self._moves.appendleft(moved)
                    raise

    async def _renew(self, connection: ClientConnection) -> None:
        """Ask for another certificate, with another key, when two thirds of this one's life are over."""
        while True:
            wait_s = max(self._life().renewed_at, self._renew_not_before_s) - self._clock()
            if wait_s > 0:
                # Not in one go: the clock may be set.
                await asyncio.sleep(min(wait_s, _RENEW_AGAIN_S))
                continue
            self._renew_not_before_s = self._clock() + _RENEW_AGAIN_S
            self._renewing = tls_key()
            await connection.send(encode(Renew(csr=csr_of(self._renewing))))

    def _life(self) -> Life:
        try:
            return members.life_of(self._keeping.read(members.CERTIFICATE) or b"")
        except ValueError as error:
            raise CannotKeep(f"{self._keeping.path(members.CERTIFICATE)} is damaged; enroll anew") from error

    def _renewed(self, answer: Renewed) -> None:
        if self._renewing is None:
            raise BadFrame("a certificate that was not asked for")
        try:
            content = members.bundle(self._renewing, answer.certificate, self._membership.authority)
            self._keeping.write(members.CERTIFICATE, content)
        except (BadCertificate, CannotKeep) as error:
            self.problem = f"the certificate was not renewed: {error}"
            log.warning("channel=%s", self.problem)
        else:
            self.problem = ""
            self._renew_not_before_s = 0.0
            log.info("channel=renewed not_after=%d", members.life_of(content).not_after)
        self._renewing = None

    def _closed(self, address: str, error: ConnectionClosed) -> None:
        code = error.rcvd.code if error.rcvd is not None else None
        reason = (error.rcvd.reason if error.rcvd is not None else "") or "the connection broke"
        states: dict[int | None, ChannelState] = {
            Close.REPLACED: ChannelState.REPLACED,
            Close.REVOKED: ChannelState.REVOKED,
            Close.EXPIRED: ChannelState.EXPIRED,
        }
        self._was_told_expired = code == Close.EXPIRED
        self._become(states.get(code, ChannelState.WAITING), f"{address}: {reason}")

    def _become(self, state: ChannelState, why: str) -> None:
        if (state, why) == (self.state, self.why):
            return
        self.state, self.why = state, why
        if state is ChannelState.CONNECTING:
            log.debug("channel=%s %s", state.value, why)
        elif (state, why) != self._logged:
            # Once, however often it is tried again for the same reason.
            self._logged = state, why
            is_good = state in (ChannelState.CONNECTED, ChannelState.CLOSED)
            log.log(logging.INFO if is_good else logging.WARNING, "channel=%s %s", state.value, why)
        with contextlib.suppress(Exception):
            self._listener.on_state(state, why)
