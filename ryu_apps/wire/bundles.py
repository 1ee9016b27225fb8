"""The bundle messages of ONF extension 230, by which an OpenFlow 1.3 switch takes all of many changes or none.

As Open vSwitch 3.1 does it: what an added message is refused for while it is read is told at once, and the commit
then goes through without it; what it is refused for because of what the switch holds is told at the commit, which
fails. Both name the added message. Meters cannot be in a bundle.
"""

from __future__ import annotations

import struct

_VERSION, _EXPERIMENTER = 4, 4
_ONF = 0x4F4E4600
_CONTROL, _ADD = 2300, 2301
_OPEN, _COMMIT, _DISCARD = 0, 4, 6
_ATOMIC_ORDERED = 3
_HEAD = struct.Struct("!BBHIIIIHH")
_XID = struct.Struct("!4xI")


def bundle_open(bundle_id: int, xid: int) -> bytes:
    """Begin a bundle that is carried out as one, in the order of its messages."""
    return _control(bundle_id, xid, _OPEN)


def bundle_commit(bundle_id: int, xid: int) -> bytes:
    """Carry a bundle out."""
    return _control(bundle_id, xid, _COMMIT)


def bundle_discard(bundle_id: int, xid: int) -> bytes:
    """Forget a bundle."""
    return _control(bundle_id, xid, _DISCARD)


def bundle_add(bundle_id: int, message: bytes) -> bytes:
    """Put a message in a bundle, under the transaction id it has."""
    (xid,) = _XID.unpack_from(message)
    length = _HEAD.size + len(message)
    head = _HEAD.pack(_VERSION, _EXPERIMENTER, length, xid, _ONF, _ADD, bundle_id, 0, _ATOMIC_ORDERED)
    return head + message


def _control(bundle_id: int, xid: int, kind: int) -> bytes:
    return _HEAD.pack(_VERSION, _EXPERIMENTER, _HEAD.size, xid, _ONF, _CONTROL, bundle_id, kind, _ATOMIC_ORDERED)
