"""The probe of a path's MTU as bytes, and its answer.

    0       1       2       3
    magic           version kind        0: a probe, 1: an answer
    number                              of the probe; random, so that nobody guesses it
    length                              of the probe in bytes
    then, in a probe, zeros up to that length

All numbers are big-endian. An answer is short: it says that the probe came, not how long packets may be that way.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_MAGIC, _VERSION = 0x4C54, 1
_HEAD = struct.Struct("!HBBII")
_PROBE, _ANSWER = 0, 1

LEAST_BYTES = _HEAD.size
NUMBERS = 1 << 32


class BadMtuProbe(ValueError):
    """Bytes that are no probe of a path's MTU, and no answer to one."""


@dataclass(frozen=True)
class MtuProbe:
    """A probe that is so many bytes long, or the answer to it."""

    number: int
    length: int
    is_answer: bool = False


def encode(probe: MtuProbe) -> bytes:
    """Raises ValueError for a length that a probe cannot have, struct.error where a number has no room."""
    if probe.length < LEAST_BYTES:
        raise ValueError(f"a probe has {LEAST_BYTES} bytes at least")
    head = _HEAD.pack(_MAGIC, _VERSION, _ANSWER if probe.is_answer else _PROBE, probe.number, probe.length)
    return head if probe.is_answer else head.ljust(probe.length, b"\0")


def decode(data: bytes) -> MtuProbe:
    """Raises BadMtuProbe: also where a probe did not come whole."""
    if len(data) < LEAST_BYTES:
        raise BadMtuProbe("too short")
    magic, version, kind, number, length = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != _VERSION or kind not in (_PROBE, _ANSWER):
        raise BadMtuProbe("not a probe of this version")
    if length < LEAST_BYTES or len(data) != (LEAST_BYTES if kind == _ANSWER else length):
        raise BadMtuProbe("not as long as it says")
    return MtuProbe(number, length, kind == _ANSWER)
