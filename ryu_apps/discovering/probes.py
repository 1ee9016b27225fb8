"""Link probes: signed LLDP frames, and when each port is due for its next one."""

from __future__ import annotations

import hashlib
import heapq
import hmac
import itertools
import struct
from collections.abc import Container
from dataclasses import dataclass

from stitching.network import PortId

LLDP_MULTICAST = bytes.fromhex("0180c200000e")
"""Nearest bridge: a standard switch never forwards it, so a probe crosses one cable and no more."""

LLDP_TYPE = b"\x88\xcc"
MIN_KEY_BYTES = 16
MAC_BYTES = 16

PROBE_XID = 0x4C4C4450
"""Transaction id of our packet-outs, above those the channel gives out; an error message can be told by it."""

# IEEE 802.1AB-2016, 8.4-8.6: a TLV starts with 7 bits of type and 9 of length.
_LOCALLY_ASSIGNED = 7
_CHASSIS = 1 << 9 | 17
_PORT = 2 << 9 | 9
_TTL = 3 << 9 | 2
_TTL_S = 4
_OURS = 127 << 9 | 40
_OUI = b"\x02LS"
"""Locally administered, so it can collide with no vendor's."""
_SUBTYPE = 1
_END = b"\x00\x00"

_HEAD = struct.Struct("!6s6s2s HB16s HB8s HH H3sBQI")
_STAMP = struct.Struct("!Q")
_FRAME_BYTES = _HEAD.size + _STAMP.size + MAC_BYTES + len(_END)
_SIGNED_BYTES = _HEAD.size + _STAMP.size
_PLACE = struct.Struct("!QI")

CLOCK_TOLERANCE_S = 1e-6
"""A stamp is in whole nanoseconds, a reading of the clock a float: rounding is not a frame from the future."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a verified probe says: where it left, and when by our monotonic clock."""

    dpid: int
    port_no: int
    sent_s: float

    @property
    def port(self) -> PortId:
        """The port it left from."""
        return self.dpid, self.port_no

    def is_fresh(self, received_s: float, max_age_s: float) -> bool:
        """Whether it is no older than that and not from the future (another boot's clock, a replay)."""
        return -CLOCK_TOLERANCE_S <= received_s - self.sent_s <= max_age_s


class ProbeSigner:
    """Makes and verifies probes: LLDP with HMAC-SHA256, cut to 16 bytes (RFC 2104, 5), over all that precedes it.

    A host that can read probes still cannot make one for another port or time. Raises ValueError for a key
    of less than 16 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"the probe key has {len(key)} bytes, give it at least {MIN_KEY_BYTES}")
        self._key = key

    def frame(self, dpid: int, port_no: int, port_mac: str, sent_s: float) -> bytes:
        """One probe. Raises ValueError when port_mac is not a MAC, struct.error for a number that does not fit."""
        return self.finish(head(dpid, port_no, bytes.fromhex(port_mac.replace(":", ""))), sent_s)

    def finish(self, prefix: bytes, sent_s: float) -> bytes:
        """Stamp and sign a frame that has everything up to its time (see `head`)."""
        signed = prefix + _STAMP.pack(int(sent_s * 1e9))
        return signed + self._mac(signed) + _END

    def read(self, frame: bytes) -> Probe | None:
        """The probe in a frame, None for anything this key did not sign. How old it may be is the caller's."""
        if len(frame) != _FRAME_BYTES or not frame.endswith(_END):
            return None
        dpid, port_no = _PLACE.unpack_from(frame, _HEAD.size - _PLACE.size)
        if frame[: _HEAD.size] != head(dpid, port_no, frame[6:12]):
            return None
        if not hmac.compare_digest(self._mac(frame[:_SIGNED_BYTES]), frame[_SIGNED_BYTES : -len(_END)]):
            return None
        (stamp_ns,) = _STAMP.unpack_from(frame, _HEAD.size)
        return Probe(dpid, port_no, stamp_ns / 1e9)

    def _mac(self, signed: bytes) -> bytes:
        return hmac.digest(self._key, signed, hashlib.sha256)[:MAC_BYTES]


def head(dpid: int, port_no: int, source_mac: bytes) -> bytes:
    """A probe up to its time: what stays the same for a port."""
    return _HEAD.pack(
        *(LLDP_MULTICAST, source_mac, LLDP_TYPE),
        *(_CHASSIS, _LOCALLY_ASSIGNED, b"%016x" % dpid),
        *(_PORT, _LOCALLY_ASSIGNED, b"%08x" % port_no),
        *(_TTL, _TTL_S),
        *(_OURS, _OUI, _SUBTYPE, dpid, port_no),
    )


class PortProbe:
    """The probes of one port, as OpenFlow 1.3 packet-outs; only time and signature are made per probe."""

    __slots__ = ("_packet_out", "_prefix", "_signer")

    def __init__(self, signer: ProbeSigner, dpid: int, port_no: int, port_mac: str) -> None:
        self._signer = signer
        self._prefix = head(dpid, port_no, bytes.fromhex(port_mac.replace(":", "")))
        # OpenFlow 1.3.5, 7.3.7: header, buffer, in_port CONTROLLER, one OUTPUT action; then the frame.
        self._packet_out = struct.pack(
            "!BBHI IIH6x HHIH6x",
            *(4, 13, 40 + _FRAME_BYTES, PROBE_XID),
            *(0xFFFFFFFF, 0xFFFFFFFD, 16),
            *(0, 16, port_no, 0),
        )

    def packet_out(self, sent_s: float) -> bytes:
        """The encoded message that sends one probe stamped sent_s (monotonic seconds)."""
        return self._packet_out + self._signer.finish(self._prefix, sent_s)


FAST_GAPS_S = (0.1, 0.2, 0.3)
"""After a port came up: probes at 0, 0.1, 0.3 and 0.6 s while none has arrived, then one each interval."""


@dataclass(slots=True)
class _Turn:
    ticket: int
    started_s: float
    step: int = 0


class ProbeSchedule:
    """Which ports are due for a probe.

    Each port has its own phase within the interval, so that the probes of a large fabric are spread over it.
    A port that has led nowhere for idle_after_s is probed each idle_interval_s only, until it starts again.
    """

    def __init__(self, interval_s: float, *, idle_after_s: float = 60.0, idle_interval_s: float = 5.0) -> None:
        self._interval_s = interval_s
        self._idle_after_s = idle_after_s
        self._idle_interval_s = max(interval_s, idle_interval_s)
        self._turns: dict[PortId, _Turn] = {}
        self._heap: list[tuple[float, int, PortId]] = []
        self._tickets = itertools.count()

    def start(self, port: PortId, now_s: float) -> None:
        """A port came up or may lead somewhere new: it is due at once, and often for a while."""
        self._turns[port] = _Turn(-1, now_s)
        self._at(port, now_s)

    def stop(self, port: PortId) -> None:
        """A port is no longer there."""
        self._turns.pop(port, None)

    def due(self, now_s: float, linked: Container[PortId], limit: int) -> list[PortId]:
        """The ports to probe now, at most limit of them, those that waited longest first.

        Each gets its next turn; linked are the ports whose probes arrive somewhere.
        """
        ports: list[PortId] = []
        while self._heap and self._heap[0][0] <= now_s and len(ports) < limit:
            _, ticket, port = heapq.heappop(self._heap)
            turn = self._turns.get(port)
            if turn is None or turn.ticket != ticket:
                continue
            answered = port in linked
            if not answered or turn.step == 0 or turn.step > len(FAST_GAPS_S):
                ports.append(port)
            self._at(port, self._next_s(port, turn, now_s, answered))
        return ports

    def _next_s(self, port: PortId, turn: _Turn, now_s: float, linked: bool) -> float:
        if not linked and turn.step < len(FAST_GAPS_S):
            turn.step += 1
            return now_s + FAST_GAPS_S[turn.step - 1]
        turn.step = len(FAST_GAPS_S) + 1
        idle = not linked and now_s - turn.started_s > self._idle_after_s
        period_s = self._idle_interval_s if idle else self._interval_s
        phase_s = (port[0] * 0x9E3779B1 + port[1] * 0x85EBCA77) % 0xFFFF / 0xFFFF * period_s
        # The first turn on this port's phase that is at least half a period away.
        turns = (now_s + period_s / 2 - phase_s) // period_s + 1
        return phase_s + turns * period_s

    def _at(self, port: PortId, due_s: float) -> None:
        turn = self._turns[port]
        turn.ticket = next(self._tickets)
        heapq.heappush(self._heap, (due_s, turn.ticket, port))
