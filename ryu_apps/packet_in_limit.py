"""Bounds what each port may make the controller read: a storm is dropped before it is decoded.

A host that floods ARP, or makes up senders, costs a few microseconds a packet and no other host its turn. LLDP is
counted by itself, so that a storm on a link does not take it down. Probes of stitches are not counted: they come
in by links only, as fast as they were sent.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass

from stitching.match import ETH_LLDP, ETH_PROBE

RATE_PER_S = 200.0
"""Packets of one port that are read in the long run: some ten times what a busy host asks for."""

BURST = 400.0
"""What may come at once, as when all hosts behind a port say that they are there."""

MOST_PORTS = 65_536

_PACKET_IN = 10
_IN_PORT_AT = 28
_IN_PORT_OXM = 0x80000004
_MATCH_AT = 24
_LENGTH = struct.Struct("!H")
_IN_PORT = struct.Struct("!II")
_LLDP = ETH_LLDP.to_bytes(2)
_PROBE = ETH_PROBE.to_bytes(2)


@dataclass(slots=True)
class _Bucket:
    left: float
    at_s: float


class PacketInLimit:
    """A token bucket for each port."""

    def __init__(self, rate_per_s: float = RATE_PER_S, burst: float = BURST) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._buckets: OrderedDict[tuple[int | None, int, bool], _Bucket] = OrderedDict()
        self.dropped = 0
        """Packets that were not read since the start."""

    def passes(self, dpid: int | None, message: bytearray, now_s: float) -> bool:
        """Whether a message is to be decoded: all but packet-ins of a port that has sent too many.

        One that is cut short or unlike what switches send is left to the decoder. now_s: monotonic.
        """
        if message[1] != _PACKET_IN or len(message) < _IN_PORT_AT + 8:
            return True
        oxm, port_no = _IN_PORT.unpack_from(message, _IN_PORT_AT)
        if oxm != _IN_PORT_OXM:
            return True
        (match_bytes,) = _LENGTH.unpack_from(message, _MATCH_AT + 2)
        eth_type_at = _MATCH_AT + (match_bytes + 7) // 8 * 8 + 2 + 12
        eth_type = message[eth_type_at : eth_type_at + 2]
        if eth_type == _PROBE or self._takes((dpid, port_no, eth_type == _LLDP), now_s):
            return True
        self.dropped += 1
        return False

    def _takes(self, key: tuple[int | None, int, bool], now_s: float) -> bool:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._burst, now_s)
            if len(self._buckets) > MOST_PORTS:
                self._buckets.popitem(last=False)
        bucket.left = min(self._burst, bucket.left + (now_s - bucket.at_s) * self._rate_per_s)
        bucket.at_s = now_s
        if bucket.left < 1.0:
            return False
        bucket.left -= 1.0
        return True
