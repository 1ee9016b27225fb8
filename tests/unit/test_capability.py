"""What a switch says that it can do is told once it has said everything, or refused to."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from os_ken.ofproto import ofproto_parser, ofproto_v1_3
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ryu_apps.app import Event, Tick
from ryu_apps.capability import Capability
from ryu_apps.events import Capabilities, CapabilitiesRequest, DatapathFacts
from stitching.enforcement import MeterFacts
from tests.unit.fake_switch import FakeSwitch

DESC, METERS, GROUPS = 0, 11, 8


class Recorded(Capability):
    """Keeps what it publishes."""

    def __init__(self) -> None:
        self.told: list[DatapathFacts] = []
        super().__init__()

    def publish(self, occurred: Event) -> None:
        assert isinstance(occurred, Capabilities)
        self.told.append(occurred.facts)


def reply(switch: FakeSwitch, kind: int, xid: int, body: bytes) -> Any:
    """The event of a multipart reply, decoded from its bytes."""
    data = struct.pack("!BBHIHHxxxx", 4, 19, 16 + len(body), xid, kind, 0) + body
    protocol = ProtocolDesc(version=ofproto_v1_3.OFP_VERSION)
    message = ofproto_parser.msg(protocol, *ofproto_parser.header(data), bytearray(data))
    message.datapath = switch
    return SimpleNamespace(msg=message)


def connect(app: Capability, switch: FakeSwitch) -> list[int]:
    app._on_features(SimpleNamespace(msg=SimpleNamespace(datapath=switch, n_tables=254)))
    app._on_state(switch.state(MAIN_DISPATCHER))
    return [xid for _, xid in switch.sent[-3:]]


class Hashable(FakeSwitch):
    __hash__ = object.__hash__


def answer_all(app: Capability, switch: FakeSwitch, xids: list[int]) -> None:
    text = b"".join(part.ljust(256, b"\0") for part in (b"Nicira", b"Open vSwitch", b"3.1.0"))
    app._on_desc(reply(switch, DESC, xids[0], text + bytes(32 + 256)))
    app._on_meters(reply(switch, METERS, xids[1], struct.pack("!IIIBBxx", 1000, 1 << 1, 0b1101, 8, 0)))
    groups = struct.pack("!II", 0b1111, 0b10) + struct.pack("!4I", 5, 6, 7, 8) + bytes(16)
    app._on_groups(reply(switch, GROUPS, xids[2], groups))


def test_a_switch_is_told_of_once_it_has_answered_everything() -> None:
    app, switch = Recorded(), Hashable(7)
    answer_all(app, switch, connect(app, switch))
    meters = MeterFacts(1000, kbps=True, drop=True, burst=True)
    facts = DatapathFacts(7, 254, "Nicira Open vSwitch 3.1.0", meters, 8, watches_liveness=True)
    assert app.told == [facts]
    request = CapabilitiesRequest()
    app._on_request(request)
    assert request.future.result(0) == {7: facts}


def test_a_refusal_means_that_it_has_none() -> None:
    app, switch = Recorded(), Hashable(7)
    for xid in connect(app, switch):
        app._on_error(switch.error(xid))
    assert app.told == [DatapathFacts(7, 254)]


def test_answers_of_others_and_of_old_connections_count_for_nothing() -> None:
    app, old, new = Recorded(), Hashable(7), Hashable(7)
    xids = connect(app, old)
    app._on_error(old.error(1))
    connect(app, new)
    answer_all(app, old, xids)
    app._on_state(old.state(DEAD_DISPATCHER))
    assert not app.told


def test_a_switch_that_says_nothing_is_told_of_all_the_same() -> None:
    app, switch = Recorded(), Hashable(7)
    connect(app, switch)
    app._on_tick(Tick("late"))
    assert not app.told
    app._on_tick(Tick("late"))
    assert app.told == [DatapathFacts(7, 254)]
