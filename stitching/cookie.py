"""The 64-bit cookie of our flow rules: owner 8, kind 8, epoch 16, stitch 32.

One mask finds everything of ours, everything of a kind, of one stitch, or of an older epoch; rules of other
owners on the same switch are never matched by any of them.
"""

from __future__ import annotations

from enum import IntEnum

OWNER = 0x4C
OWNER_MASK = 0xFF << 56
KIND_MASK = 0xFFFF << 48
STITCH_MASK = OWNER_MASK | 0xFFFFFFFF
OURS = OWNER << 56

REST_OWNER = 0x52
"""Rules that somebody adds through the paths of Ryu's REST API."""

GUEST_OWNERS = range(0xE0, 0xE5)
"""Rules of hosted apps: an owner for each, in the order they are named."""

GUESTS, GUESTS_MASK = 0xE0 << 56, 0xF8 << 56
"""One cookie and mask for the rules of all hosted apps."""

USER_MASK = ~OWNER_MASK & 0xFFFFFFFFFFFFFFFF
"""The bits of a cookie that are free to others, below the owner."""

FIRST_GROUP = 1 << 16
FIRST_METER = OWNER << 8
"""Groups and meters have no cookie: the ids from these on are ours, those below are anybody's."""


class Kind(IntEnum):
    """What a rule of ours is for."""

    BASE = 1
    EDGE = 2
    SEGMENT = 3
    FORWARD = 4
    BROADCAST = 5
    STITCH = 6
    PROBE = 7
    DENY = 8
    SPOOF = 9
    METER = 10
    NAMEPLATE = 11
    MARK = 12
    NEIGHBOUR = 13


def pack(kind: Kind, *, epoch: int = 0, stitch: int = 0) -> int:
    """The cookie of a rule. Raises ValueError when epoch or stitch do not fit their field."""
    if not 0 <= epoch < 1 << 16:
        raise ValueError(f"epoch {epoch} does not fit in 16 bits")
    if not 0 <= stitch < 1 << 32:
        raise ValueError(f"stitch {stitch} does not fit in 32 bits")
    return OWNER << 56 | kind << 48 | epoch << 32 | stitch


def is_ours(cookie: int) -> bool:
    """Whether a rule with this cookie was put there by Lockstitch."""
    return cookie & OWNER_MASK == OURS


def kind_of(cookie: int) -> int:
    """The kind field."""
    return cookie >> 48 & 0xFF


def stitch_of(cookie: int) -> int:
    """The stitch field, 0 where the rule belongs to none."""
    return cookie & 0xFFFFFFFF
