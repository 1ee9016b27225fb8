"""No message keeps the decoder going for ever: it runs on the thread that serves all switches."""

from __future__ import annotations

import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_parser

from ryu_apps import wire
from tests.unit.decode import SWITCH

_HELLO, _EXPERIMENTER, _FLOW_MOD, _MULTIPART, _QUEUES = 0, 4, 14, 19, 23
_FLOW, _GROUP, _GROUP_DESC, _METER, _METER_CONFIG, _TABLE_FEATURES = 1, 6, 7, 9, 10, 12
_NX = 0x2320
_PATIENCE_S = 5.0


def _message(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBHI", 4, kind, 8 + len(body), 1) + body


def _answer(kind: int, body: bytes) -> bytes:
    return _message(_MULTIPART, struct.pack("!HHxxxx", kind, 0) + body)


def _group(actions: bytes, length: int | None = None, bucket: int | None = None) -> bytes:
    """What a switch says of a group with one bucket."""
    bucket = 16 + len(actions) if bucket is None else bucket
    body = struct.pack("!HHIIxxxx", bucket, 0, 1, 1) + actions
    return _answer(_GROUP_DESC, struct.pack("!HBxI", 8 + len(body) if length is None else length, 0, 1) + body)


def _features(property_type: int, body: bytes, length: int | None = None) -> bytes:
    """What a switch says of a table."""
    listed = struct.pack("!HH", property_type, 4 + len(body) if length is None else length) + body
    listed += bytes(-len(listed) % 8)
    return _answer(_TABLE_FEATURES, struct.pack("!HBxxxxx32sQQII", 64 + len(listed), 0, b"", 0, 0, 0, 0) + listed)


_SET_VLAN = struct.pack("!IHxx", 0x80000C02, 5)
_NX_HEAD = struct.Struct("!HHIH")

_ENDLESS = {
    "a hello": _message(_HELLO, struct.pack("!HH", 1, 0)),
    "a hello of a kind nobody knows": _message(_HELLO, struct.pack("!HHI", 9, 0, 0)),
    "a group": _group(b"", length=0),
    "the counters of a group": _answer(_GROUP, struct.pack("!HxxIIxxxxQQII", 0, 1, 0, 0, 0, 0, 0)),
    "a bucket": _group(b"", bucket=0),
    "an action": _group(struct.pack("!HH", 25, 0) + _SET_VLAN),
    "an action within an action": _group(
        _NX_HEAD.pack(0xFFFF, 40, _NX, 35) + bytes(14) + struct.pack("!HH", 25, 0) + _SET_VLAN + bytes(4)
    ),
    "a property of an action": _group(
        _NX_HEAD.pack(0xFFFF, 24, _NX, 37) + bytes(6) + struct.pack("!HHI", 3, 0, 0)
    ),
    "a meter": _answer(_METER_CONFIG, struct.pack("!HHI", 0, 0, 1)),
    "the counters of a meter": _answer(_METER, struct.pack("!IHxxxxxxIQQII", 1, 0, 0, 0, 0, 0, 0)),
    "a table": _answer(_TABLE_FEATURES, bytes(64)),
    "a property of a table": _features(14, b"", length=0),
    "an instruction of a table": _features(0, struct.pack("!HH", 1, 0)),
    "an action of a table": _features(6, struct.pack("!HH", 0, 0)),
    "a queue": _message(_QUEUES, bytes(8) + bytes(16)),
    "a property of a queue": _message(
        _QUEUES, bytes(8) + struct.pack("!IIHxxxxxx", 1, 1, 32) + struct.pack("!HHxxxxHxxxxxx", 1, 0, 5)
    ),
    "a property of a queue that nobody knows": _message(
        _QUEUES, bytes(8) + struct.pack("!IIHxxxxxx", 1, 1, 32) + struct.pack("!HHxxxxHxxxxxx", 77, 16, 5)
    ),
    "a rule as only a controller sends it": _message(
        _FLOW_MOD, bytes(40) + struct.pack("!HHI", 1, 4, 0) + struct.pack("!HHI", 99, 8, 0)
    ),
}


def _rule(instructions: bytes) -> bytes:
    """What a switch says of a rule without a match."""
    head = struct.pack("!HBxIIHHHHxxxxQQQ", 56 + len(instructions), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    return _answer(_FLOW, head + struct.pack("!HHI", 1, 4, 0) + instructions)


_ENDLESS_RULES = {
    "an instruction": _rule(struct.pack("!HHI", 4, 0, 0)),
    "an action": _rule(struct.pack("!HHI", 4, 24, 0) + struct.pack("!HH", 25, 0) + _SET_VLAN + bytes(4)),
}


@contextmanager
def _in_time() -> Iterator[None]:
    """Fail what goes on for ever in place of hanging with it."""

    late = []

    def over(_signal: int, _frame: FrameType | None) -> None:
        late.append(True)  # the decoder may catch what is raised here
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert not late, f"it was still being decoded after {_PATIENCE_S:g} s"


def _decoded(data: bytes) -> Any:
    message = wire.message(SWITCH, ofproto_parser.header(data), bytearray(data))
    if wire.is_flow_stats(data):
        for entry in message.entries:
            wire.read_flow(entry)
        _ = message.body
    return message


@pytest.mark.parametrize("part", _ENDLESS)
def test_a_part_without_a_length_is_no_message(part: str) -> None:
    with _in_time(), pytest.raises(wire.Unreadable):
        _decoded(_ENDLESS[part])


@pytest.mark.parametrize("part", _ENDLESS_RULES)
def test_a_part_of_a_rule_without_a_length_is_none(part: str) -> None:
    data = _ENDLESS_RULES[part]
    with _in_time():
        message = wire.message(SWITCH, ofproto_parser.header(data), bytearray(data))
        (rule,) = message.entries
        assert (read := wire.read_flow(rule)) is not None and read.cookie == 0  # it equals none of ours
        with pytest.raises(ValueError, match="length"):
            _ = message.body


@given(st.sampled_from([*_ENDLESS.values(), *_ENDLESS_RULES.values()]), st.data())
def test_whatever_the_lengths_in_a_message_it_is_decoded_or_not_but_in_time(
    data: bytes, draw: st.DataObject
) -> None:
    garbled = bytearray(data)
    for place in draw.draw(st.lists(st.integers(8, len(data) - 2), max_size=4)):
        garbled[place : place + 2] = draw.draw(st.integers(0, 80)).to_bytes(2)
    # Whatever is raised, the channel is closed then.
    with _in_time(), suppress(Exception):
        _decoded(bytes(garbled))
