"""Hosted apps and switches that go while something is said of them or to them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from os_ken.controller.handler import MAIN_DISPATCHER
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from ryu_apps.app import Event
from ryu_apps.events import NetworkChanged
from ryu_apps.guests.house import House
from ryu_apps.guests.loading import Loaded
from ryu_apps.guests.topology import TopologyBridge
from stitching.network import Network


class Line:
    """The connection of a switch, which takes what is sent or does not."""

    def __init__(self) -> None:
        self.up = False
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> bool:
        if self.up:
            self.sent.append(data)
        return self.up


def test_what_earlier_runs_left_is_deleted_once_the_switch_takes_it() -> None:
    class Nothing:
        """An app."""

    line = Line()
    house = House([Loaded("nothing.py", Nothing, ())])
    (guest,) = vars(house)["_guests"]
    begin = vars(guest)["_begin"]
    begin(line, 1)
    line.up = True
    for _ in range(3):
        begin(line, 1)
    assert len(line.sent) == 1


def test_the_owners_of_apps_that_do_not_run_are_known() -> None:
    one, two = Loaded("one.py", Line, ()), Loaded("two.py", House, ())
    assert House([]).gone == tuple(range(0xE0, 0xE5))
    assert House([one, two]).gone == (0xE2, 0xE3, 0xE4)


class Vanishing(dict[int, Any]):
    """The ports of a switch, of which one goes as soon as somebody has counted them: the channel keeps them."""

    def __iter__(self) -> Any:
        numbers = list(super().__iter__())
        self.pop(2, None)
        return iter(numbers)


class Telling(TopologyBridge):
    """Keeps what it tells."""

    def __init__(self, **settings: Any) -> None:
        self.told: list[Event] = []
        super().__init__(**settings)

    def publish(self, occurred: Event) -> None:
        self.told.append(occurred)


def test_a_port_that_goes_while_it_is_told_of_is_told_of_or_not() -> None:
    ports = Vanishing({no: parser.OFPPort(no, f"02:00:00:00:00:0{no}", b"p", *[0] * 8) for no in (1, 2, 3)})
    bridge = Telling(guest_of=lambda _: None)
    datapath = SimpleNamespace(id=1, ports=ports, ofproto=ofp, ofproto_parser=parser)
    bridge.on_state(SimpleNamespace(datapath=datapath, state=MAIN_DISPATCHER))
    bridge.on_network(NetworkChanged(Network(switches={1: {}})))
    assert [type(event).__name__ for event in bridge.told] == ["EventSwitchEnter"]
