"""The OpenFlow channel: one thread serves the connections of all switches.

It takes the place of os-ken's thread-per-connection server (two threads a switch, a send queue of 16 that blocks
the sender, no dead-peer detection by default) and keeps everything else of os-ken: its handshake, its codec, its
events and its app model. Apps see the Datapath objects they expect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import os_ken.base.app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, set_ev_handler
from os_ken.controller.ofp_handler import OFPHandler
from os_ken.lib import hub
from os_ken.ofproto import ofproto_v1_3

from ryu_apps import wire
from ryu_apps.connecting.framing import Framing
from ryu_apps.connecting.switch import Switch
from ryu_apps.doorkeeper import Doorkeeper
from ryu_apps.events import ProbeArrived, SwitchTaken
from ryu_apps.nameplate import Names
from ryu_apps.packet_in_limit import RATE_PER_S, PacketInLimit

log = logging.getLogger("lockstitch.channel")

ECHO_PERIOD_S = 1.0
"""How often each idle control channel is measured."""

BACKLOG = 2048
"""Switches that may wait to be let in: after a restart they all come at once."""


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
        self._ending = asyncio.Event()
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
            self.call(self._ending.set)
            self._thread.join()
        self.is_active = False
        self._send_event(self._event_stop, None)
        hub.joinall(self.threads)

    def call(self, what: Callable[[], object]) -> None:
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
        self._loop.run_until_complete(self._serve(listener))
        self._loop.close()

    async def _serve(self, listener: socket.socket) -> None:
        server = await self._loop.create_server(
            lambda: Framing(self._connect, self.dispatch), sock=listener, backlog=BACKLOG
        )
        ticker = self._loop.create_task(self._tick())
        await self._ending.wait()
        server.close()
        ticker.cancel()
        for switch in list(self.switches):
            switch.close()
        await asyncio.sleep(0.01)

    @set_ev_handler(ofp_event.EventOFPPortStatus, CONFIG_DISPATCHER)  # type: ignore[untyped-decorator]
    def on_early_port(self, event: Any) -> None:
        """Ports also come and go while a switch waits at the door; os-ken listens from then on only."""
        self.port_status_handler(event)

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

    def _connect(self, transport: asyncio.Transport) -> Switch:
        """Greet who has connected; it is a switch once it has said which."""
        switch = Switch(self, transport)
        self.switches.add(switch)
        switch.send_msg(switch.ofproto_parser.OFPHello(switch))
        return switch

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
