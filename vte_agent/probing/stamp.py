"""STAMP, unauthenticated (RFC 8762, sections 4.2.1 and 4.3.1), as bytes; and both roles, without their sockets.

The reflector is stateful: it counts the packets of its one sender, so that what is lost on the way there is told
from what is lost on the way back.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass

BYTES = 44
TTL = 255

_SENDER = struct.Struct("!IIIH30x")
_REFLECTOR = struct.Struct("!IIIHHIIIIIHHB3x")
_SINCE_1900_S = 2_208_988_800
_ERROR_ESTIMATE = 0x2001
"""Not synchronised, NTP format; scale 32 and multiplier 1: the clock may be a second off."""
_LOST_AFTER_S = 3.0
_SEQUENCES = 1 << 32
_MOST_OVERTAKEN = 8
"""By how many packets one may be overtaken; a reflector that counts further back than that has started again."""


class BadStamp(ValueError):
    """Bytes that are no STAMP packet."""


@dataclass(frozen=True)
class Reply:
    """A reply. sent and reflected: how many packets the two ends have counted since the reply before it.

    out_s, back_s: how long the way there and the way back took by the clocks of both ends. These do not agree, so
    that they only say something when compared with those of another reply.
    """

    at_s: float
    rtt_s: float
    sent: int
    reflected: int
    out_s: float = 0.0
    back_s: float = 0.0


class Sender:
    """The session-sender of one session. Times are those of a clock that only goes forward, and the wall's."""

    def __init__(self) -> None:
        self._sequence = 0
        self._pending: OrderedDict[int, float] = OrderedDict()
        self._highest_sent = -1
        self._highest_reflected = -1

    def packet(self, now_s: float, wall_s: float) -> bytes:
        """The next test packet, which is sent now."""
        sequence, self._sequence = self._sequence, (self._sequence + 1) % _SEQUENCES
        while self._pending and next(iter(self._pending.values())) < now_s - _LOST_AFTER_S:
            self._pending.popitem(last=False)
        self._pending[sequence] = now_s
        return _SENDER.pack(sequence, *_ntp(wall_s), _ERROR_ESTIMATE)

    def reply(self, data: bytes, at_s: float) -> Reply | None:
        """A reflected packet came; None: it came twice or too late, or was never sent. Raises BadStamp."""
        if len(data) != BYTES:
            raise BadStamp(f"a STAMP packet has {BYTES} bytes")
        fields = _REFLECTOR.unpack(data)
        reflected, sequence = fields[0], fields[7]
        sent_s = self._pending.pop(sequence, None)
        if sent_s is None:
            return None
        left_s, came_s = _seconds(fields[1], fields[2]), _seconds(fields[5], fields[6])
        dwell_s = left_s - came_s
        # What the reflector says of its own time can only make the round shorter, and not shorter than nothing.
        rtt_s = max(0.0, at_s - sent_s)
        rtt_s -= dwell_s if 0 <= dwell_s <= rtt_s else 0.0
        return Reply(at_s, rtt_s, *self._newer(sequence, reflected), came_s - sent_s, at_s - left_s)

    def _newer(self, sequence: int, reflected: int) -> tuple[int, int]:
        began_again = sequence > self._highest_sent and reflected < self._highest_reflected - _MOST_OVERTAKEN
        if self._highest_sent < 0 or began_again:
            # What was lost before the first reply was lost to nobody: the other end may not have been there.
            self._highest_sent, self._highest_reflected = sequence, reflected
            return 1, 1
        newer = max(0, sequence - self._highest_sent), max(0, reflected - self._highest_reflected)
        self._highest_sent += newer[0]
        self._highest_reflected += newer[1]
        return newer


class Reflector:
    """The session-reflector of one session."""

    def __init__(self) -> None:
        self._sequence = 0

    def reflect(self, data: bytes, received_wall_s: float, wall_s: float, ttl: int) -> bytes:
        """The answer to a test packet, sent now. Raises BadStamp."""
        if len(data) < BYTES:
            raise BadStamp(f"a STAMP packet has at least {BYTES} bytes")
        sequence, seconds, fraction, estimate = _SENDER.unpack_from(data)
        reflected, self._sequence = self._sequence, (self._sequence + 1) % _SEQUENCES
        return _REFLECTOR.pack(
            *(reflected, *_ntp(wall_s), _ERROR_ESTIMATE, 0, *_ntp(received_wall_s)),
            *(sequence, seconds, fraction, estimate, 0, ttl & 0xFF),
        )


def _ntp(wall_s: float) -> tuple[int, int]:
    seconds, fraction = divmod(wall_s + _SINCE_1900_S, 1.0)
    return int(seconds) % (1 << 32), int(fraction * (1 << 32))


def _seconds(seconds: int, fraction: int) -> float:
    return seconds + fraction / (1 << 32)
