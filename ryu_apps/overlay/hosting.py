"""The agents that are on the channel: hears what they say, sends them what is newest, cuts who may not be here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from websockets.exceptions import ConnectionClosed

from ryu_apps.overlay.authority import Authority, BadCsr, expiry_of
from ryu_apps.overlay.book import Agent, Troubles
from ryu_apps.overlay.letting_in import LettingIn
from ryu_apps.rest.access.limits import Buckets
from vte_agent.protocol.base import Message, Serial
from vte_agent.protocol.channel import Close
from vte_agent.protocol.enrollment import Refused, Renew, Renewed
from vte_agent.protocol.frames import FROM_AGENT, MOST_FROM_AGENT, BadFrame, Hello, Moved, decode, encode, pieces
from vte_agent.protocol.has import Has
from vte_agent.protocol.members import Roll

log = logging.getLogger("lockstitch.overlay")

FRAMES_PER_S, FRAMES_AT_ONCE = 20.0, 300.0
BYTES_PER_S, BYTES_AT_ONCE = 1 << 20, MOST_FROM_AGENT
"""Of one agent; one that says more is read more slowly."""

COMINGS_PER_S, COMINGS_AT_ONCE = 0.5, 20.0
"""Of one agent; one that comes more often is turned away."""

EXPIRED = "the certificate has expired; come without one and ask for another"


def _ignored(*_: Any) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class GateListener:
    """What the gate tells, on its own thread: what is called here must not block."""

    on_hello: Callable[[Serial, Hello], object] = _ignored
    on_has: Callable[[Serial, Has], object] = _ignored
    on_moved: Callable[[Serial, Moved], object] = _ignored
    on_gone: Callable[[Serial, str], object] = _ignored


class Hosting:
    """All agents there are. Only on the gate's thread."""

    def __init__(
        self,
        authority: Authority,
        letting_in: LettingIn,
        listener: GateListener,
        clock: Callable[[], float],
    ) -> None:
        self._authority = authority
        self._letting_in = letting_in
        self._listener = listener
        self._clock = clock
        self._frames = Buckets(FRAMES_PER_S, FRAMES_AT_ONCE, time.monotonic)
        self._bytes = Buckets(BYTES_PER_S, BYTES_AT_ONCE, time.monotonic)
        self._comings = Buckets(COMINGS_PER_S, COMINGS_AT_ONCE, time.monotonic)
        self._told_of: set[Serial] = set()
        self._roll: Roll | None = None
        self._roll_frame: str | None = None
        self._closings: set[asyncio.Task[None]] = set()
        self.agents: dict[Serial, Agent] = {}
        self.troubles: Final = Troubles()

    def send_wanted(self, serial: Serial, frame: Callable[[], str]) -> None:
        """Have a frame made and sent to an agent that is here, in place of one that still waits."""
        agent = self.agents.get(serial)
        if agent is not None:
            agent.wanted = frame
            agent.news.set()

    def publish_roll(self, roll: Roll, frame: str) -> None:
        """Have a roll sent to all, and whom it revokes cut."""
        if self._roll is not None and roll.epoch < self._roll.epoch:
            return
        self._roll, self._roll_frame = roll, frame
        for agent in self.agents.values():
            agent.roll = frame
            agent.news.set()
        self.sweep()

    def sweep(self) -> None:
        """Cut who may no longer be here."""
        now_s = self._clock()
        for agent in list(self.agents.values()):
            if self.is_revoked(agent.serial):
                self.troubles.forget(agent.serial)
                self._cut(agent, Close.REVOKED, f"serial {agent.serial} is revoked")
            elif agent.expires_s <= now_s:
                self._cut(agent, Close.EXPIRED, EXPIRED)

    def is_revoked(self, serial: Serial) -> bool:
        """Whether a member is out by the newest roll."""
        return self._roll is not None and serial in self._roll.revoked

    async def welcome(self, agent: Agent) -> None:
        """Have an agent here that has just come, if it may be, until it goes."""
        if self.is_revoked(agent.serial):
            log.warning("serial=%d address=%s is revoked and was turned away", agent.serial, agent.address)
            await agent.connection.close(Close.REVOKED, f"serial {agent.serial} is revoked")
        elif agent.expires_s <= self._clock():
            log.warning(
                "serial=%d address=%s comes with a certificate that has expired", agent.serial, agent.address
            )
            await agent.connection.close(Close.EXPIRED, EXPIRED)
        elif (wait_s := self._comings.take(str(agent.serial))) is not None:
            self.troubles.note(agent.serial, f"{agent} comes and goes all the time")
            await agent.connection.close(Close.REFUSED, f"you come too often; come back in {wait_s} s")
        else:
            await self._host(agent)

    async def _host(self, agent: Agent) -> None:
        """An agent, from its coming to its going."""
        other = self.agents.get(agent.serial)
        if other is not None:
            self._replace(other, agent)
        self.agents[agent.serial] = agent
        agent.roll = self._roll_frame
        agent.news.set()
        sending = asyncio.create_task(self._send(agent))
        why = "closed"
        try:
            while True:
                message = await self._hear(agent)
                # Who was cut, or came anew, is read until its end has closed too: it has no say any more.
                if self.agents.get(agent.serial) is agent:
                    self._take(agent, message)
        except ConnectionClosed as error:
            why = (error.rcvd.reason if error.rcvd else "") or ("closed" if error.rcvd else "the connection broke")
        except (BadFrame, BadCsr) as error:
            why = str(error)
            self.troubles.note(agent.serial, f"{agent} says what is not understood: {error}")
            log.warning("serial=%d bad frame: %s", agent.serial, error)
            await agent.close(Close.REFUSED, str(error)[:120])
        finally:
            sending.cancel()
            self._left(agent, why)

    async def _hear(self, agent: Agent) -> Message:
        """What an agent says next. Its text is not kept while it says nothing."""
        text = await agent.connection.recv()
        await self._have_room(agent, len(text))
        return decode(text, FROM_AGENT)

    async def _have_room(self, agent: Agent, n_bytes: int) -> None:
        """Wait until an agent may say so much again: one leaves room for the others."""
        for budget, much in ((self._frames, 1), (self._bytes, n_bytes)):
            while (wait_s := budget.take(str(agent.serial), much)) is not None:
                # Nothing is read in the meantime, so that it cannot send.
                await asyncio.sleep(wait_s)

    def _take(self, agent: Agent, message: Message) -> None:
        if not agent.said_hello:
            if not isinstance(message, Hello):
                raise BadFrame("the first thing to say is Hello")
            agent.said_hello = True
            log.info("serial=%d name=%s address=%s connected", agent.serial, agent.name, agent.address)
            self._told_of.add(agent.serial)
            self._listener.on_hello(agent.serial, message)
        elif isinstance(message, Has):
            self._listener.on_has(agent.serial, agent.whole(message))
        elif isinstance(message, Moved):
            self._listener.on_moved(agent.serial, message)
        elif isinstance(message, Renew):
            self._renew(agent, message)
        else:
            raise BadFrame(f"a {type(message).__name__} has no place here")

    def _renew(self, agent: Agent, asked: Renew) -> None:
        answer: Message
        if self._letting_in.may_renew(agent.serial):
            signed = self._authority.sign_client(asked.csr, agent.serial, agent.name)
            agent.expires_s = expiry_of(signed)
            answer = Renewed(certificate=signed)
        else:
            answer = Refused(reason="certificates are asked for too often; wait a minute")
        agent.answers.append(encode(answer))
        agent.news.set()

    async def _send(self, agent: Agent) -> None:
        try:
            while True:
                await agent.news.wait()
                agent.news.clear()
                while (frame := agent.take_next()) is not None:
                    async with agent.sending:
                        await agent.connection.send(pieces(frame))
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("serial=%d its channel is closed by a fault of ours", agent.serial)
            what = f"{agent} cannot be told what it shall have: the controller's log says why"
            self.troubles.note(agent.serial, what)
            await agent.close(Close.REFUSED, "what you shall have cannot be made; the controller's log says why")

    def _replace(self, old: Agent, new: Agent) -> None:
        """The newer one wins. That the older one still answers shows that there are two."""

        async def close() -> None:
            await old.close(Close.REPLACED, f"another agent came as serial {old.serial}")
            end = old.connection.protocol
            if end.close_rcvd is not None and end.close_rcvd_then_sent is False:
                what = (
                    f"two agents have the identity of {old}: at {old.address} and at {new.address}; stop one, "
                    "and where nobody knows of both revoke it (lockstitch signer revoke) and enroll the site anew"
                )
                self.troubles.note(old.serial, what)
                log.warning("serial=%d %s", old.serial, what)

        self._later(close())

    def _cut(self, agent: Agent, code: Close, why: str) -> None:
        log.warning("serial=%d cut: %s", agent.serial, why)
        self._left(agent, why)

        self._later(agent.close(code, why))

    def _left(self, agent: Agent, why: str) -> None:
        if self.agents.get(agent.serial) is agent:
            del self.agents[agent.serial]
            log.info("serial=%d gone: %s", agent.serial, why)
            # Also where only one that it came before has said Hello: neither is here any more.
            if agent.serial in self._told_of:
                self._told_of.discard(agent.serial)
                self._listener.on_gone(agent.serial, why)

    def _later(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(closing)
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)
