"""The OpenFlow channel: one thread serves the connections of all switches.

It takes the place of os-ken's thread-per-connection server (two threads a switch, a send queue of 16 that blocks
the sender, no dead-peer detection by default) and keeps everything else of os-ken: its handshake, its codec, its
events and its app model. Apps see the Datapath objects they expect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import threading
import time
from typing import Any, ClassVar

import os_ken.base.app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, HANDSHAKE_DISPATCHER, MAIN_DISPATCHER
from os_ken.controller.ofp_handler import OFPHandler
from os_ken.lib import hub
from os_ken.ofproto import ofproto_common, ofproto_parser, ofproto_protocol, ofproto_v1_3

from ryu_apps import wire
from ryu_apps.doorkeeper import Doorkeeper
from ryu_apps.events import ProbeArrived, SwitchTaken
from ryu_apps.nameplate import Claim, Names
from ryu_apps.packet_in_limit import RATE_PER_S, PacketInLimit

log = logging.getLogger("lockstitch.channel")

ECHO_PERIOD_S = 1.0
"""How often each idle control channel is measured."""

FIRST_ECHOES = 4
"""A new switch is measured this often in quick succession before its round trip is believed."""

SILENT_S = 10.0
"""A switch from which nothing came for this long is gone."""

HANDSHAKE_S = 10.0
"""A connection that has not become a switch by then is closed."""

BACKLOG = 2048
"""Switches that may wait to be let in: after a restart they all come at once."""

SEND_LIMIT = 16 << 20
"""Bytes that may wait for a switch that does not read. Past it the switch is cut off, to start over clean."""


class Switch(ofproto_protocol.ProtocolDesc):  # type: ignore[misc]  # os-ken ships no types
    """The connection of one switch, with the interface of os-ken's Datapath.

    rtt_s is the round trip of the control channel, the least of the last few, or None before the first echo.
    """

    def __init__(self, channel: Channel, transport: asyncio.Transport) -> None:
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


class Channel(OFPHandler):  # type: ignore[misc]  # os-ken ships no types
    """The OpenFlow server as an os-ken app: the source of every OpenFlow event."""

    OFP_VERSIONS: ClassVar[list[int]] = [ofproto_v1_3.OFP_VERSION]
    _EVENTS: ClassVar[list[type]] = [ProbeArrived, SwitchTaken]

    def __init__(
        self, *args: Any, host: str = "127.0.0.1", port: int = 6653, names: Names | None = None, **kwargs: Any
    ) -> None:
        """names: who we are to other controllers; without, every switch that comes is taken."""
        super().__init__(*args, **kwargs)
        self._address = (host, port)
        self.door = Doorkeeper(names, self.send_event_to_observers)
        self._loop = asyncio.new_event_loop()
        self.switches: set[Switch] = set()
        self._by_dpid: dict[int | None, Switch] = {}
        self._outgoing: list[tuple[Switch, bytes]] = []
        self._outgoing_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._limit = PacketInLimit()
        self._limit_told = 0
        self._unreadable, self._unreadable_told, self._unreadable_last = 0, 0, ""

    def start(self) -> None:
        """Start handling events; no switch is let in before listen()."""
        # Not OFPHandler.start(): that one starts os-ken's own server.
        os_ken.base.app_manager.OSKenApp.start(self)

    def listen(self) -> int:
        """Let the switches in. Returns the port; raises OSError when it is taken."""
        listener = socket.create_server(self._address)
        self._thread = threading.Thread(target=self._run, args=(listener,), name="channel", daemon=True)
        self._thread.start()
        port: int = listener.getsockname()[1]
        return port

    def stop(self) -> None:
        """Close every connection and end the thread."""
        if self._thread is not None:
            self.call(self._loop.stop)
            self._thread.join()
        self.is_active = False
        self._send_event(self._event_stop, None)
        hub.joinall(self.threads)

    def call(self, what: Any) -> None:
        """Run something on the channel's thread soon."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: so are the connections
            self._loop.call_soon_threadsafe(what)

    def write(self, switch: Switch, data: bytes) -> None:
        """Queue bytes for a switch. Writers that come together wake the thread once."""
        with self._outgoing_lock:
            first = not self._outgoing
            self._outgoing.append((switch, data))
        if first:
            self.call(self._flush)

    def _flush(self) -> None:
        with self._outgoing_lock:
            outgoing, self._outgoing = self._outgoing, []
        for switch, data in outgoing:
            switch.write_now(data)

    def _run(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        start = self._loop.create_server(lambda: _Connection(self), sock=listener, backlog=BACKLOG)
        server = self._loop.run_until_complete(start)
        ticker = self._loop.create_task(self._tick())
        self._loop.run_forever()
        server.close()
        ticker.cancel()
        for switch in list(self.switches):
            switch.close()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _tick(self) -> None:
        """Spread the echo requests over the period instead of sending them in one burst."""
        slots = 20
        while True:
            self._tell_dropped()
            for slot in range(slots):
                now_s = time.monotonic()
                for switch in [s for s in self.switches if s.slot % slots == slot or s.is_young]:
                    switch.check_alive(now_s)
                await asyncio.sleep(ECHO_PERIOD_S / slots)

    def entered(self, switch: Switch) -> None:
        """A switch has finished its handshake; an older connection of the same dpid is over."""
        older = self._by_dpid.get(switch.id)
        if older is not None and older is not switch:
            log.warning("switch=%s connected again, closing its older channel", switch)
            older.lost()
            older.close()
        self._by_dpid[switch.id] = switch

    def left(self, switch: Switch) -> None:
        """A connection is over."""
        self.switches.discard(switch)
        if self._by_dpid.get(switch.id) is switch:
            del self._by_dpid[switch.id]

    def _tell_dropped(self) -> None:
        """Once a second at most, where a storm was held back, or what nobody can read was left out."""
        dropped = self._limit.dropped - self._limit_told
        if dropped:
            self._limit_told = self._limit.dropped
            log.warning("packet_ins_dropped=%d reason=a port sent more than %g a second", dropped, RATE_PER_S)
        unreadable = self._unreadable - self._unreadable_told
        if unreadable:
            self._unreadable_told = self._unreadable
            log.warning("messages_unreadable=%d last_from=%s", unreadable, self._unreadable_last)

    def dispatch(self, switch: Switch, header: tuple[int, int, int, int], data: bytearray) -> None:
        """Decode one message, hand it to the apps that want it, then to the handshake.

        Raises what the decoder does, and ValueError for another version than was agreed on.
        """
        version, kind, *_ = header
        if version != ofproto_v1_3.OFP_VERSION and kind != ofproto_v1_3.OFPT_HELLO:
            raise ValueError(f"a message of OpenFlow version {version:#04x}; 1.3 (0x04) is spoken here")
        if not self._limit.passes(switch.id, data, switch.last_heard_s):
            return
        if (frame := wire.probe_in(data)) is not None and switch.id is not None:
            # Of probes there may be thousands a second: one app hears of them.
            self.send_event_to_observers(ProbeArrived(switch.id, frame, switch.last_heard_s))
            return
        try:
            message = wire.message(switch, header, data)
        except wire.Unreadable as error:
            # Switches have their own ways to say things. What follows can be read all the same.
            self._unreadable, self._unreadable_last = self._unreadable + 1, f"{switch} reason={error}"
            return
        if self.door.takes(switch, message):
            return
        message.received_s = switch.last_heard_s
        event = ofp_event.ofp_msg_to_ev(message)
        self.send_event_to_observers(event, switch.state)
        for handler in self.get_handlers(event, switch.state):
            handler(event)


class _Connection(asyncio.Protocol):
    """Cuts the byte stream of one switch into messages."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = bytearray()
        self._switch: Switch | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # a TCP server gives nothing else
        raw: socket.socket = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        switch = self._switch = Switch(self._channel, transport)
        self._channel.switches.add(switch)
        switch.send_msg(switch.ofproto_parser.OFPHello(switch))

    def data_received(self, data: bytes) -> None:
        switch = self._switch
        if switch is None or not switch.is_active:
            return
        switch.last_heard_s = time.monotonic()
        buffer = self._buffer
        buffer += data
        used = 0
        try:
            while len(buffer) - used >= ofproto_common.OFP_HEADER_SIZE:
                header = ofproto_parser.header(buffer[used : used + ofproto_common.OFP_HEADER_SIZE])
                length = header[2]
                if length < ofproto_common.OFP_HEADER_SIZE:
                    raise ValueError(f"a message of {length} bytes")
                if len(buffer) - used < length:
                    break
                self._channel.dispatch(switch, header, buffer[used : used + length])
                used += length
        except Exception as error:  # noqa: BLE001  # os-ken's decoder raises anything on bytes it cannot read
            log.warning("switch=%s sent what cannot be decoded (%.200r), closing its channel", switch, error)
            switch.close()
        del buffer[:used]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._switch is not None:
            log.info("switch=%s disconnected reason=%s", self._switch, exc or "closed by the switch")
            self._switch.lost()
