"""The app behind Ryu's paths: several questions at a time, each answered, or given up with the switch named."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from os_ken.ofproto import ofproto_parser, ofproto_v1_3
from os_ken.ofproto import ofproto_v1_3_parser as parser

from ryu_apps.app import Tick
from ryu_apps.ofctl.app import (
    ANSWER_S,
    AskSwitch,
    ChangeSwitch,
    ConnectedSwitches,
    NoAnswer,
    Ofctl,
    Refused,
    SwitchGone,
    UnknownSwitch,
)
from ryu_apps.ofctl.translator import StandIn, encoded
from ryu_apps.transactions import Asker, Transactions

ASK = bytes(encoded(parser.OFPDescStatsRequest(StandIn(1), 0)).buf)


@dataclass(eq=False)
class Connection:
    """A switch that answers nothing by itself."""

    id: int
    alive: bool = True
    xids: list[int] = field(default_factory=list)
    ofproto = ofproto_v1_3

    def send(self, data: bytes) -> bool:
        while data:
            _, _, length, xid = ofproto_parser.header(data)
            self.xids.append(xid)
            data = data[length:]
        return self.alive

    def part(self, xid: int, *, more: bool = False, body: Any = None) -> Any:
        flags = ofproto_v1_3.OFPMPF_REPLY_MORE if more else 0
        return SimpleNamespace(msg=SimpleNamespace(datapath=self, xid=xid, msg_type=19, flags=flags, body=body))

    def error(self, xid: int) -> Any:
        kind, code = ofproto_v1_3.OFPET_BAD_MATCH, ofproto_v1_3.OFPBMC_BAD_PREREQ
        return SimpleNamespace(msg=SimpleNamespace(datapath=self, xid=xid, type=kind, code=code))


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(clock: Clock) -> Ofctl:
    return Ofctl(clock=clock)


def enter(app: Ofctl, dpid: int) -> Connection:
    connection = Connection(dpid)
    app.on_state(SimpleNamespace(datapath=connection, state=MAIN_DISPATCHER))
    return connection


def asked(app: Ofctl, dpid: int) -> AskSwitch:
    request = AskSwitch(dpid, ASK)
    app.on_ask(request)
    return request


def test_an_answer_in_parts_is_given_when_it_is_complete(app: Ofctl) -> None:
    switch = enter(app, 1)
    request = asked(app, 1)
    app.on_reply(switch.part(switch.xids[0], more=True, body=1))
    assert not request.future.done()
    app.on_reply(switch.part(switch.xids[0], body=2))
    assert [part.body for part in request.future.result(0)] == [1, 2]


def test_answers_of_many_switches_that_cross_find_their_questions(app: Ofctl) -> None:
    switches = {dpid: enter(app, dpid) for dpid in range(1, 6)}
    requests = [asked(app, dpid) for dpid in (*switches, *switches)]
    for switch in reversed(switches.values()):
        for number, xid in enumerate(reversed(switch.xids)):
            app.on_reply(switch.part(xid, body=(switch.id, 1 - number)))
    assert [request.future.result(0)[0].body for request in requests] == [
        *((dpid, 0) for dpid in switches),
        *((dpid, 1) for dpid in switches),
    ]


def test_its_transaction_ids_are_of_its_own_and_replies_to_others_are_left_alone(app: Ofctl) -> None:
    switch = enter(app, 1)
    request = asked(app, 1)
    assert Transactions(Asker.OFCTL).owns(switch.xids[0])
    app.on_reply(switch.part(next(Transactions(Asker.INSTALLER))))
    stranger = Connection(2)
    app.on_reply(stranger.part(switch.xids[0]))
    assert not request.future.done()


def test_a_change_is_done_when_its_barrier_is(app: Ofctl) -> None:
    switch = enter(app, 1)
    request = ChangeSwitch(1, ASK)
    app.on_change(request)
    change, fence = switch.xids
    app.on_barrier(SimpleNamespace(msg=SimpleNamespace(datapath=switch, xid=change + 9)))
    assert not request.future.done()
    app.on_barrier(SimpleNamespace(msg=SimpleNamespace(datapath=switch, xid=fence)))
    assert request.future.result(0) is None
    assert not app._waiting


def test_what_a_switch_refuses_is_said_in_its_words_and_its_barrier_changes_nothing(app: Ofctl) -> None:
    switch = enter(app, 1)
    request = ChangeSwitch(1, ASK)
    app.on_change(request)
    app.on_error(switch.error(switch.xids[0]))
    app.on_barrier(SimpleNamespace(msg=SimpleNamespace(datapath=switch, xid=switch.xids[1])))
    with pytest.raises(Refused, match=r"0000000000000001 refused it: OFPET_BAD_MATCH.*OFPBMC_BAD_PREREQ"):
        request.future.result(0)


def test_a_switch_that_never_answers_is_given_up_and_its_late_answer_ignored(app: Ofctl, clock: Clock) -> None:
    switch = enter(app, 1)
    request = asked(app, 1)
    clock.now_s = ANSWER_S
    app.on_deadline(Tick("deadlines"))
    assert not request.future.done()
    clock.now_s = ANSWER_S + 0.1
    app.on_deadline(Tick("deadlines"))
    with pytest.raises(NoAnswer, match="0000000000000001 did not answer"):
        request.future.result(0)
    app.on_reply(switch.part(switch.xids[0]))


def test_a_long_answer_may_take_its_time_as_long_as_parts_arrive(app: Ofctl, clock: Clock) -> None:
    switch = enter(app, 1)
    request = asked(app, 1)
    for _ in range(5):
        clock.now_s += ANSWER_S
        app.on_deadline(Tick("deadlines"))
        app.on_reply(switch.part(switch.xids[0], more=True))
    app.on_reply(switch.part(switch.xids[0]))
    assert len(request.future.result(0)) == 6


def test_a_switch_that_goes_or_comes_back_owes_nothing(app: Ofctl) -> None:
    first = enter(app, 1)
    before = asked(app, 1)
    enter(app, 1)
    again = asked(app, 1)
    app.on_state(SimpleNamespace(datapath=first, state=DEAD_DISPATCHER))
    with pytest.raises(SwitchGone, match="0000000000000001"):
        before.future.result(0)
    assert not again.future.done()


def test_a_switch_that_is_not_there_or_just_going_is_said_at_once(app: Ofctl) -> None:
    with pytest.raises(UnknownSwitch, match="9"):
        asked(app, 9).future.result(0)
    enter(app, 1).alive = False
    with pytest.raises(SwitchGone):
        asked(app, 1).future.result(0)
    connected = ConnectedSwitches()
    app.on_connected(connected)
    assert connected.future.result(0) == (1,)
