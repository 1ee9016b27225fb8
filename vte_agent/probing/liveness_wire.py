"""The liveness probe as bytes: like BFD (RFC 5880), smaller, and it says which probes were heard.

    0       1       2       3
    magic           version flags + state
    multiplier      heard-of count      held (100 us)
    interval (us)
    my discriminator
    your discriminator                  0: not known yet
    sequence
    heard sequence                      the last of yours that came here over this tunnel
    heard count                         how many of yours came here over this tunnel, modulo 2^32
    then for each other tunnel between the two ends: discriminator (yours), sequence, held

All numbers are big-endian. What a probe says of other tunnels is how an end whose probes arrive learns so although
no probe comes back the same way.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from vte_agent.protocol.wanted import MOST_INTERVAL_MS, MOST_MULTIPLIER

_MAGIC = 0x4C53
_VERSION = 1
_HEAD = struct.Struct("!HBBBBHIIIIII")
_HEARD = struct.Struct("!IIH")

MOST_HEARD = 32
LONGEST = _HEAD.size + MOST_HEARD * _HEARD.size
_STATE_BITS = 0x03
_FLAG_BITS = 0x1C
_HELD_UNIT_S = 1e-4
_MOST_HELD = 0xFFFF
SEQUENCES = 1 << 32


class BadProbe(ValueError):
    """Bytes that are no probe of ours."""


class State(IntEnum):
    """DOWN: I do not hear you. INIT: I hear you, and do not know that you hear me. UP: both."""

    DOWN = 0
    INIT = 1
    UP = 2


class Flag(IntFlag):
    """USING: routes of mine go this way now. KEEN: I want the full rate. IDLE: I send at the slow rate."""

    NONE = 0
    USING = 0x04
    KEEN = 0x08
    IDLE = 0x10


@dataclass(frozen=True)
class Heard:
    """The last probe of a session of yours that came here, and how long ago (at most 6.5 s)."""

    discriminator: int
    sequence: int
    held_s: float


@dataclass(frozen=True)
class Probe:
    """What one end says of one tunnel. heard_sequence and heard_count count from the first probe heard."""

    state: State
    flags: Flag
    multiplier: int
    interval_us: int
    mine: int
    yours: int
    sequence: int
    heard_sequence: int = 0
    heard_count: int = 0
    held_s: float = 0.0
    others: tuple[Heard, ...] = ()


def encode(probe: Probe) -> bytes:
    """Raises struct.error where a number has no room, ValueError with more than MOST_HEARD others."""
    if len(probe.others) > MOST_HEARD:
        raise ValueError(f"a probe tells of {MOST_HEARD} other tunnels at most")
    head = _HEAD.pack(
        *(_MAGIC, _VERSION, probe.flags | probe.state, probe.multiplier, len(probe.others), _held(probe.held_s)),
        *(probe.interval_us, probe.mine, probe.yours, probe.sequence, probe.heard_sequence, probe.heard_count),
    )
    return head + b"".join(_HEARD.pack(o.discriminator, o.sequence, _held(o.held_s)) for o in probe.others)


def decode(data: bytes) -> Probe:
    """Raises BadProbe: every byte has to be as `encode` would write it."""
    if len(data) < _HEAD.size:
        raise BadProbe("too short")
    magic, version, bits, multiplier, others, held, interval_us, *numbers = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise BadProbe("not a liveness probe of this version")
    if others > MOST_HEARD or len(data) != _HEAD.size + others * _HEARD.size:
        raise BadProbe("not as long as it says")
    mine, yours, sequence, heard_sequence, heard_count = numbers
    if bits & ~(_STATE_BITS | _FLAG_BITS) or bits & _STATE_BITS > State.UP:
        raise BadProbe("no such state")
    if not (mine and multiplier >= 1 and interval_us):
        raise BadProbe("no discriminator, multiplier or interval")
    if interval_us > 1000 * MOST_INTERVAL_MS or multiplier > MOST_MULTIPLIER:
        raise BadProbe("it would be silent for longer than any end may")
    return Probe(
        *(State(bits & _STATE_BITS), Flag(bits & _FLAG_BITS), multiplier, interval_us, mine, yours, sequence),
        *(heard_sequence, heard_count, held * _HELD_UNIT_S),
        tuple(Heard(d, s, h * _HELD_UNIT_S) for d, s, h in _HEARD.iter_unpack(data[_HEAD.size :])),
    )


def after(sequence: int, earlier: int) -> int:
    """How many steps a sequence number is after another; negative when it is before it. They wrap."""
    ahead = (sequence - earlier) % SEQUENCES
    return ahead if ahead < SEQUENCES // 2 else ahead - SEQUENCES


def _held(held_s: float) -> int:
    return min(_MOST_HELD, max(0, round(held_s / _HELD_UNIT_S)))
