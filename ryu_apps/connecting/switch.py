"""The connection of one switch, as apps know it."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, HANDSHAKE_DISPATCHER, MAIN_DISPATCHER
from os_ken.ofproto import ofproto_protocol

from ryu_apps.doorkeeper import Doorkeeper
from ryu_apps.nameplate import Claim

log = logging.getLogger("lockstitch.channel")

FIRST_ECHOES = 4
"""A new switch is measured this often in quick succession before its round trip is believed."""

SILENT_S = 10.0
"""A switch from which nothing came for this long is gone."""

HANDSHAKE_S = 10.0
"""A connection that has not become a switch by then is closed."""

SEND_LIMIT = 16 << 20
"""Bytes that may wait for a switch that does not read. Past it the switch is cut off, to start over clean."""


class _Channel(Protocol):
    """What a connection needs of the channel. write() and call() are safe from any thread."""

    door: Doorkeeper

    def send_event_to_observers(self, event: Any, state: str | None = None) -> None: ...

    def entered(self, switch: Switch) -> None: ...

    def left(self, switch: Switch) -> None: ...

    def write(self, switch: Switch, data: bytes) -> None: ...

    def call(self, what: Callable[[], object]) -> None: ...


class Switch(ofproto_protocol.ProtocolDesc):  # type: ignore[misc]  # os-ken ships no types
    """The connection of one switch, with the interface of os-ken's Datapath.

    rtt_s is the round trip of the control channel, the least of the last few, or None before the first echo.
    """

    def __init__(self, channel: _Channel, transport: asyncio.Transport) -> None:
        super().__init__()
        self.address = transport.get_extra_info("peername")
        self.id: int | None = None
        self.ports: dict[int, Any] = {}
        self.state: str | None = None
        self.is_active = True
        self.slot = random.randrange(1 << 16)
        self.rtt_s: float | None = None
        self.last_heard_s = time.monotonic()
        self._channel = channel
        self._transport = transport
        self._since_s = self.last_heard_s
        self._xid = random.randrange(1 << 24)
        self._rtts: list[float] = []
        self._echoes: dict[int, float] = {}
        self._lock = threading.Lock()
        self.claim: Claim | None = None
        self.set_state(HANDSHAKE_DISPATCHER)

    def set_state(self, state: str) -> None:
        """Move on in the handshake, or to the end; every app that watches states is told.

        Raises ValueError where it would be a switch before it has said which.
        """
        if state == MAIN_DISPATCHER and self.id is None:
            raise ValueError("ports of a switch that has not said which one it is")
        if self.state == state or (state == MAIN_DISPATCHER and not self._channel.door.lets_in(self)):
            return
        self.state = state
        if state == MAIN_DISPATCHER:
            log.info("switch=%s connected address=%s", self, self.address)
            self._channel.entered(self)
        event = ofp_event.EventOFPStateChange(self)
        event.state = state
        self._channel.send_event_to_observers(event, state)

    def set_xid(self, message: Any) -> int:
        """Give a message the next transaction id below 2^24; ids above are the apps' own."""
        with self._lock:
            self._xid = (self._xid + 1) & 0xFFFFFF
            xid = self._xid
        message.set_xid(xid)
        return xid

    def send_msg(self, message: Any, close_socket: bool = False) -> bool:
        """Encode and send a message. False when the switch is gone."""
        if message.xid is None:
            self.set_xid(message)
        message.serialize()
        sent = self.send(bytes(message.buf))
        if close_socket:
            self.close()
        return sent

    def send(self, data: bytes) -> bool:
        """Send encoded messages from any thread without blocking. False when the switch is gone."""
        if self.state == DEAD_DISPATCHER or not self.is_active:
            return False
        self._channel.write(self, data)
        return True

    def close(self) -> None:
        """End the connection; safe from any thread."""
        self._channel.call(self._transport.abort)

    def lost(self) -> None:
        """The connection is over; the apps are told once. Only on the channel's thread."""
        self.is_active = False
        self._channel.left(self)
        self.set_state(DEAD_DISPATCHER)
        self._channel.door.left(self)

    def write_now(self, data: bytes) -> None:
        """Hand bytes to the transport; only on the channel's thread."""
        if self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > SEND_LIMIT:
            log.warning("switch=%s does not read, closing its channel", self)
            self._transport.abort()

    def check_alive(self, now_s: float) -> None:
        """Measure the round trip, and give up on a switch that has been silent for too long."""
        if now_s - self.last_heard_s > SILENT_S:
            log.warning("switch=%s silent_s=%.1f closing its channel", self, now_s - self.last_heard_s)
            self._transport.abort()
            return
        if self._channel.door.look(self, now_s):
            return
        if self.state == MAIN_DISPATCHER:
            request = self.ofproto_parser.OFPEchoRequest(self)
            xid = self.set_xid(request)
            request.serialize()
            self._echoes = {old: at for old, at in self._echoes.items() if now_s - at < SILENT_S}
            self._echoes[xid] = time.monotonic()
            self.write_now(bytes(request.buf))
        elif now_s - self._since_s > HANDSHAKE_S:
            log.warning("address=%s never finished the handshake, closing", self.address)
            self._transport.abort()

    def acknowledge_echo_reply(self, xid: int) -> None:
        """An echo came back (os-ken's handshake handler calls this)."""
        sent_s = self._echoes.pop(xid, None)
        if sent_s is not None:
            # The least of a few: what is above it is queueing here, not the way to the switch.
            self._rtts = [*self._rtts[-7:], self.last_heard_s - sent_s]
            if not self.is_young:
                self.rtt_s = min(self._rtts)

    @property
    def is_young(self) -> bool:
        """Whether its round trip is not known yet: one that was measured while all is starting up is too long."""
        return self.state == MAIN_DISPATCHER and len(self._rtts) < FIRST_ECHOES

    @property
    def lag_s(self) -> float:
        """How late it answers now: its last round trip or, if that is more, how long it has owed an answer."""
        owed = min(tuple(self._echoes.values()), default=None)
        last_s = self._rtts[-1] if self._rtts else 0.0
        return last_s if owed is None else max(last_s, time.monotonic() - owed)

    def __str__(self) -> str:
        return f"{self.id:016x}" if self.id is not None else f"{self.address}"
