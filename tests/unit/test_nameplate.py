"""Of two controllers on one switch one keeps it and the other stands by, whichever message comes first."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.controller.handler import MAIN_DISPATCHER
from os_ken.ofproto import ofproto_parser, ofproto_v1_3

from ryu_apps import wire
from ryu_apps.doorkeeper import Doorkeeper
from ryu_apps.events import SwitchTaken
from ryu_apps.installing.reading import Reading
from ryu_apps.nameplate import CHECK_S, TABLE, Claim, Name, Names, Whose
from stitching.cookie import OURS, STITCH_MASK
from tests.unit.decode import reported

FLOW_MOD, MULTIPART, SET_ASYNC = 14, 18, 28
ONE, OTHER = Name.of(b"a" * 32, 1), Name.of(b"b" * 32, 7)


class Tables:
    """The nameplate of a switch; `full` ones take none, `mute` ones do not say what they have."""

    def __init__(self, *, full: bool = False, mute: bool = False) -> None:
        self.plate: wire.FlowStats | None = None
        self.full = full
        self.mute = mute

    def carry_out(self, message: bytes) -> SimpleNamespace | None:
        """Do what a message says; what the switch answers, if anything."""
        _version, kind, _length, xid = ofproto_parser.header(message)
        if (kind == FLOW_MOD and self.full) or (kind == MULTIPART and self.mute):
            return SimpleNamespace(xid=xid, type=5, code=1, datapath=SimpleNamespace(ofproto=ofproto_v1_3))
        if kind == FLOW_MOD:
            self.plate = reported(message)
        if kind == MULTIPART:
            return SimpleNamespace(xid=xid, entries=[] if self.plate is None else [self.plate])
        return None


@dataclass
class Connection:
    """One controller's connection to a switch, as the doorkeeper sees it; what it says waits to be carried out."""

    tables: Tables
    names: Names
    id: int | None = 1
    claim: Claim | None = None
    waiting: list[bytes] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    state: str | None = None
    closed: bool = False
    lost: list[SwitchTaken] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.door = Doorkeeper(self.names, self.lost.append)
        self.connect()

    def connect(self) -> None:
        """The handshake is over."""
        self.claim, self.state, self.closed = None, None, False
        self.waiting.clear()
        assert not self.door.lets_in(self)

    def write_now(self, data: bytes) -> None:
        while data:
            length = int.from_bytes(data[2:4], "big")
            self.kinds.append(data[1])
            self.waiting.append(data[:length])
            data = data[length:]

    def set_state(self, state: str) -> None:
        self.state = state

    def close(self) -> None:
        self.closed = True

    def step(self) -> bool:
        """Let the switch carry out one message; False where none waits."""
        if not self.waiting:
            return False
        answer = self.tables.carry_out(self.waiting.pop(0))
        if answer is not None:
            assert self.door.takes(self, answer)
        if self.closed:
            self.door.left(self)
            self.connect()
        return True

    def settle(self) -> None:
        while self.step():
            pass

    def look(self) -> None:
        """The time to look again has come."""
        assert self.claim is not None
        self.door.look(self, self.claim.checked_s + CHECK_S + 1.0)
        self.settle()

    @property
    def keeps(self) -> bool:
        return self.state == MAIN_DISPATCHER and self.claim is not None and self.claim.whose is Whose.OURS


def test_a_switch_that_is_nobodys_is_let_in_with_our_name_on_it() -> None:
    tables = Tables()
    one = Connection(tables, Names(ONE))
    one.settle()
    assert one.keeps
    assert tables.plate is not None and wire.read_flow(tables.plate) == ONE.plate
    assert one.door.complaints() == []


def test_the_second_stands_by_writes_nothing_and_says_why() -> None:
    tables = Tables()
    first, second = Connection(tables, Names(ONE)), Connection(tables, Names(OTHER))
    first.settle()
    second.settle()
    assert first.keeps and second.state is None
    assert FLOW_MOD not in second.kinds and SET_ASYNC in second.kinds
    (said,) = second.door.complaints()
    assert "switch 0000000000000001 is kept by another controller" in said
    assert "ovs-vsctl set-controller" in said and "--take-over" in said
    for _ in range(3):
        second.look()
        first.look()
    assert first.keeps and second.state is None


def test_after_a_restart_it_takes_its_switches_up_at_once() -> None:
    tables = Tables()
    Connection(tables, Names(ONE)).settle()
    again = Connection(tables, Names(Name(ONE.controller, 2)))
    again.settle()
    assert again.keeps


def test_who_stands_by_takes_over_when_the_name_is_gone() -> None:
    tables = Tables()
    first, second = Connection(tables, Names(ONE)), Connection(tables, Names(OTHER))
    first.settle()
    second.settle()
    tables.plate = None
    second.look()
    assert second.keeps and second.door.complaints() == []


def test_who_is_told_to_take_over_does_and_the_other_does_not_take_it_back() -> None:
    tables = Tables()
    first = Connection(tables, Names(ONE, take_over=True))
    first.settle()
    second = Connection(tables, Names(OTHER, take_over=True))
    second.settle()
    assert second.keeps
    first.look()
    assert first.lost == [SwitchTaken(1)]
    for _ in range(3):
        first.look()
        second.look()
    assert second.keeps and not first.keeps and len(first.lost) == 1
    assert "is kept by another controller" in first.door.complaints()[0]


def test_of_two_with_the_same_state_the_later_has_it_and_they_do_not_take_turns() -> None:
    tables = Tables()
    first, copy = Connection(tables, Names(ONE)), Connection(tables, Names(Name(ONE.controller, 2)))
    first.settle()
    copy.settle()
    for _ in range(3):
        first.look()
        copy.look()
    assert copy.keeps and not first.keeps
    assert "with a copy of the same state" in first.door.complaints()[0]


def test_a_name_that_somebody_has_wiped_out_is_put_again() -> None:
    tables = Tables()
    one = Connection(tables, Names(ONE))
    one.settle()
    tables.plate = None
    one.look()
    assert one.keeps and tables.plate is not None


@pytest.mark.parametrize("tables", [Tables(full=True), Tables(mute=True), Tables(full=True, mute=True)])
def test_a_switch_that_takes_no_name_is_let_in_all_the_same(tables: Tables) -> None:
    one = Connection(tables, Names(ONE))
    one.settle()
    assert one.keeps and one.claim is not None and one.claim.refused is not None
    one.look()
    assert one.keeps


@given(
    order=st.lists(st.booleans(), max_size=30),
    take_over=st.tuples(st.booleans(), st.booleans()),
    same_state=st.booleans(),
)
def test_whichever_message_comes_first_one_of_two_has_the_switch_and_stays(
    order: list[bool], take_over: tuple[bool, bool], same_state: bool
) -> None:
    tables = Tables()
    names = ONE, Name(ONE.controller, 2) if same_state else OTHER
    both = [Connection(tables, Names(name, take)) for name, take in zip(names, take_over, strict=True)]
    for which in order:
        both[which].step()
    for _ in range(2):
        for one in both:
            one.settle()
            one.look()
    keepers = [one.keeps for one in both]
    assert sorted(keepers) == [False, True]
    for _ in range(3):
        for one in both:
            one.look()
    assert [one.keeps for one in both] == keepers


def test_a_name_is_of_its_state_and_of_no_stitch() -> None:
    assert Name.of(b"a" * 32, 3).controller == ONE.controller != OTHER.controller
    assert ONE.plate.cookie & STITCH_MASK != OURS | 1
    assert ONE.controller >> 31 == 1


def test_it_is_no_entry_that_the_installer_would_miss_or_remove() -> None:
    tables = Tables()
    Connection(tables, Names(ONE)).settle()
    reading = Reading.of(iter(range(100)), 0.0)
    reading.take(SimpleNamespace(xid=reading.flows_xid, entries=[tables.plate], flags=0))
    assert reading.entries == {} and reading.rules == 1
    assert ONE.plate.table == TABLE
