"""All that is probed of one tunnel: its liveness, its quality, its MTU, and the sockets for it."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vte_agent.probing.liveness_wire import MOST_HEARD, BadProbe, decode, encode
from vte_agent.probing.mtu_probes import MtuProbes
from vte_agent.probing.quality import NO_REPLIES, DelayWatch, LossWatch, Recent, Window
from vte_agent.probing.session import NOTHING_KNOWN, Alive, Need, Session
from vte_agent.probing.sockets import (
    LIVENESS_PORT,
    REFLECTOR_PORT,
    SENDER_PORT,
    Address,
    Received,
    open_socket,
    receive,
    send,
)
from vte_agent.probing.stamp import BadStamp, Reflector, Sender
from vte_agent.protocol.wanted import Liveness

STAMP_INTERVAL_S = {Need.USED: 0.05, Need.NEXT: 0.1, Need.IDLE: 1.0}
WINDOW_S = {Need.USED: 1.0, Need.NEXT: 1.0, Need.IDLE: 10.0}
"""What is measured is of the last while; of one with ten packets at least."""

SUSPECT_INTERVAL_S = 0.005
"""While a tunnel that is used has lost something lately: after a hundred packets it is known whether that is much.

Sent all the time these would take more of a small machine than all else that the agent does.
"""

MOST_STAMPS_PER_S = 200.0
"""By all tunnels of a node that are well and lose nothing: of more tunnels each is measured more seldom."""

NEW_S = 2.0
"""How long a tunnel that has come up is measured as one that is idle: it may be one of many that do."""

_LIVENESS = Liveness()
_MOST_AT_ONCE = 64
"""Datagrams of one socket in one turn: a flood on one tunnel must not silence the others."""


@dataclass(frozen=True)
class Limits:
    """From when on a tunnel does badly: share of packets lost on the way out, and rise of the round trip."""

    loss: float = 0.05
    rise_ms: float = 50.0


@dataclass(frozen=True)
class ProbedTunnel:
    """What the prober has to know. peer: which end it leads to; tunnels to one end speak for each other.

    far_link: the link address of the other end, where the device has such.
    """

    name: str
    device: str
    address: Address
    peer_address: Address
    peer: int
    liveness: Liveness = _LIVENESS
    need: Need = Need.NEXT
    limits: Limits = Limits()
    far_link: bytes = b""


@dataclass(frozen=True)
class TunnelHealth:
    """A tunnel as its probes see it. bad: in which way it does worse than it may; "" where it does not.

    mtu: the longest packet that gets through to the other end; None where that is not known yet. mtu_trouble: what
    keeps it from being found.
    """

    alive: Alive = NOTHING_KNOWN
    bad: str = ""
    window: Window = NO_REPLIES
    mtu: int | None = None
    mtu_trouble: str = ""


class TunnelProbes:
    """The probes of one tunnel; used by the prober's thread only, once it is made. Raises ProbeFailed."""

    def __init__(self, tunnel: ProbedTunnel, discriminator: int, now_s: float) -> None:
        self.tunnel = tunnel
        self.session = Session(discriminator, tunnel.liveness, now_s, tunnel.need)
        self.siblings: Sequence[TunnelProbes] = ()
        self.bad = ""
        self._need = tunnel.need
        self._loss, self._delay = LossWatch(tunnel.limits.loss), DelayWatch(tunnel.limits.rise_ms)
        self._sender, self._reflector, self._recent = Sender(), Reflector(), Recent(WINDOW_S[tunnel.need])
        self._pace = 1.0
        self._new_until_s = self._stamp_due_s = math.inf
        self._heard_s = now_s
        ports = ((LIVENESS_PORT, LIVENESS_PORT), (SENDER_PORT, REFLECTOR_PORT), (REFLECTOR_PORT, SENDER_PORT))
        self._sockets: list[socket.socket] = []
        try:
            for port, peer_port in ports:
                made = open_socket(tunnel.device, tunnel.address, tunnel.peer_address, port, peer_port)
                self._sockets.append(made)
            self.mtu = MtuProbes(tunnel.device, tunnel.address, tunnel.peer_address, tunnel.far_link)
        except BaseException:
            for made in self._sockets:
                made.close()
            raise
        hear: tuple[Callable[[Received, float], None], ...] = (self._probe, self._reply, self._reflect)
        self.readers = dict(zip(self._sockets, hear, strict=True)) | {self.mtu.socket: self.mtu.hear}

    def close(self) -> None:
        """Close the sockets."""
        for made in self._sockets:
            made.close()
        self.mtu.close()

    @property
    def next_s(self) -> float:
        """When this tunnel wants to be looked at again."""
        if self.session.has_news:
            return -math.inf
        return min(self.session.due_s, self.session.deadline_s, self._stamp_due_s)

    def need(self, need: Need, now_s: float) -> None:
        """What the tunnel is needed for from now on."""
        self._need = need
        self.session.need(need, now_s)
        self._recent.length_s = WINDOW_S[need] * self._pace

    def pace(self, times: float) -> None:
        """Its quality is measured so many times more seldom than it would be if it were alone."""
        self._pace = times
        self._recent.length_s = WINDOW_S[self._need] * times

    @property
    def stamps_per_s(self) -> float:
        """How often its quality would be measured if it were alone."""
        return 1.0 / STAMP_INTERVAL_S[self._need] if self.session.is_well else 0.0

    def send_due(self, now_s: float) -> None:
        """Send what has to be sent by now."""
        stamp_by_s = now_s
        if self.session.due_s <= now_s:
            # Together they take one turn here and one at the other end, and a turn costs more than a packet.
            stamp_by_s += self._ahead_s
            # Only of those that carry the other end's routes does it have to know over another way.
            used = (s.session for s in self.siblings if s.session.peer_uses and s is not self)
            heard = tuple(h for s in used if (h := s.last_heard(now_s)) is not None)[:MOST_HEARD]
            send(self._sockets[0], encode(self.session.probe(now_s, heard)))
        if self._stamp_due_s <= stamp_by_s:
            # By the clock as it is now: of many tunnels in one turn the last is sent a while after the first.
            send(self._sockets[1], self._sender.packet(time.monotonic(), time.time()))
            step_s = self._stamp_interval_s(now_s)
            # By when it was due: one that went early makes none of those that follow earlier.
            self._stamp_due_s = max(self._stamp_due_s, now_s - step_s) + step_s

    def read(self, source: socket.socket) -> None:
        """Hear what has come in on one of the sockets."""
        before_s, self._heard_s = self._heard_s, time.monotonic()
        for _ in range(_MOST_AT_ONCE):
            if (received := receive(source)) is None:
                return
            now_s = time.monotonic()
            age_s = 0.0 if received.wall_s is None else time.time() - received.wall_s
            # The wall clock may have been set in between: it cannot have come before it was last asked for.
            at_s = now_s - min(max(0.0, age_s), max(0.0, now_s - before_s))
            self.readers[source](received, at_s)

    def judge(self, now_s: float, late_s: float) -> None:
        """Find out how the tunnel does; all that came has been read."""
        self.session.judge(now_s, late_s)
        self._loss.add(*self.session.take_out_counts())
        if not self.session.is_well:
            self._new_until_s = self._stamp_due_s = math.inf
        elif self._new_until_s == math.inf:
            self._new_until_s, self._stamp_due_s = now_s + NEW_S, now_s
        else:
            latest_s = now_s + self._stamp_interval_s(now_s) + self._ahead_s
            self._stamp_due_s = min(self._stamp_due_s, latest_s)
        self.bad = self._why_bad()

    def health(self, now_s: float) -> TunnelHealth:
        """As last judged."""
        window = self._recent.window(now_s)
        return TunnelHealth(self.session.alive(now_s), self.bad, window, self.mtu.usable, self.mtu.trouble)

    @property
    def _ahead_s(self) -> float:
        """How much earlier than it is due a packet goes where another one goes anyway."""
        return self.session.interval_s / 2

    def _stamp_interval_s(self, now_s: float) -> float:
        if now_s < self._new_until_s:
            return STAMP_INTERVAL_S[Need.IDLE]
        is_suspect = self._need is Need.USED and self._loss.suspects
        return self._pace * (SUSPECT_INTERVAL_S if is_suspect else STAMP_INTERVAL_S[self._need])

    def _why_bad(self) -> str:
        if self._loss.is_bad:
            return f"loses {self.tunnel.limits.loss:.0%} or more on the way there"
        if self._delay.is_bad:
            return f"takes {self.tunnel.limits.rise_ms:g} ms more than it did"
        return ""

    def _probe(self, received: Received, at_s: float) -> None:
        try:
            probe = decode(received.data)
        except BadProbe:
            return
        self.session.hear(probe, at_s)
        for heard in probe.others:
            for sibling in self.siblings:
                if sibling.session.discriminator == heard.discriminator and sibling is not self:
                    sibling.session.told(heard, at_s, self.session.interval_s)

    def _reply(self, received: Received, at_s: float) -> None:
        try:
            reply = self._sender.reply(received.data, at_s)
        except BadStamp:
            return
        if reply is None:
            return
        self._recent.add(reply)
        self._loss.add(reply.sent, max(0, reply.sent - reply.reflected))
        rtt_ms = reply.rtt_s * 1e3
        self._delay.add(at_s, rtt_ms, self._recent.ewma_ms if self._recent.ewma_ms is not None else rtt_ms)

    def _reflect(self, received: Received, at_s: float) -> None:
        del at_s
        wall_s = time.time()
        came_s = wall_s if received.wall_s is None else received.wall_s
        try:
            send(self._sockets[2], self._reflector.reflect(received.data, came_s, wall_s, received.ttl))
        except BadStamp:
            return
