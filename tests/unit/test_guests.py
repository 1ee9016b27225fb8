"""Hosted apps: what they send is moved into their share or refused, what they are given is their share alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.base import app_manager
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER
from os_ken.lib import hub
from os_ken.ofproto import nx_actions
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

import ryu_apps.app  # noqa: F401  # it mends the hub
from ryu_apps import foreign
from ryu_apps.guests import imports
from ryu_apps.guests.datapath import GuestDatapath
from ryu_apps.guests.incoming import incoming
from ryu_apps.guests.loading import GuestError, in_time, load
from ryu_apps.guests.outgoing import outgoing
from ryu_apps.guests.share import MOST_GUESTS, NotYours, Share
from ryu_apps.guests.wsgi import ControllerBase, Request, Response, WSGIApplication, route
from ryu_apps.ofctl.translator import StandIn
from stitching.cookie import (
    FIRST_GROUP,
    FIRST_METER,
    GUEST_OWNERS,
    GUESTS,
    GUESTS_MASK,
    OWNER,
    OWNER_MASK,
    REST_OWNER,
    USER_MASK,
)

SHARES = st.integers(0, MOST_GUESTS - 1).map(Share)
U64 = st.integers(0, (1 << 64) - 1)
DATAPATH = StandIn(1)


def flow_mod(table: int = 0, command: int = ofp.OFPFC_ADD, **fields: Any) -> Any:
    return parser.OFPFlowMod(DATAPATH, table_id=table, command=command, **fields)


# shares


def test_the_shares_are_apart_and_one_mask_finds_all_of_them_and_nobody_else() -> None:
    shares = [Share(number) for number in range(MOST_GUESTS)]
    tables = [share.first_table + seen for share in shares for seen in range(10)]
    assert len(set(tables)) == len(tables) and min(tables) == 200 and max(tables) < 254
    assert all(owner << 56 & GUESTS_MASK == GUESTS for owner in GUEST_OWNERS)
    assert not {OWNER << 56 & GUESTS_MASK, REST_OWNER << 56 & GUESTS_MASK, 0} & {GUESTS}
    assert all(share.seen_table(share.table_of(seen)) == seen for share in shares for seen in range(10))


# out


@given(
    SHARES,
    st.integers(0, 255),
    st.sampled_from(
        [ofp.OFPFC_ADD, ofp.OFPFC_MODIFY, ofp.OFPFC_MODIFY_STRICT, ofp.OFPFC_DELETE, ofp.OFPFC_DELETE_STRICT]
    ),
    U64,
    U64,
    st.none() | st.integers(0, 255),
)
def test_any_flow_mod_stays_in_the_share_or_is_refused(
    share: Share, table: int, command: int, cookie: int, mask: int, goto: int | None
) -> None:
    instructions = [] if goto is None else [parser.OFPInstructionGotoTable(goto)]
    message = flow_mod(table, command, cookie=cookie, cookie_mask=mask, instructions=instructions)
    before = (table, cookie, mask, goto)
    try:
        sent = outgoing(message, share)
    except NotYours:
        assert table > 9 or (goto is not None and goto > 9)
        return
    deletes = command in (ofp.OFPFC_DELETE, ofp.OFPFC_DELETE_STRICT)
    assert share.seen_table(sent.table_id) == table or (deletes and sent.table_id == table == ofp.OFPTT_ALL)
    assert sent.cookie >> 56 == share.owner
    if command == ofp.OFPFC_ADD:
        assert sent.cookie & USER_MASK == cookie & USER_MASK
    else:
        assert sent.cookie_mask == OWNER_MASK | mask & USER_MASK
        assert sent.cookie & USER_MASK == cookie & mask & USER_MASK
    assert [share.seen_table(instruction.table_id) for instruction in sent.instructions] == (
        [] if goto is None else [goto]
    )
    targets = [instruction.table_id for instruction in message.instructions]
    after = (message.table_id, message.cookie, message.cookie_mask, targets[0] if targets else None)
    assert after == before, "the app may send its message again"


@pytest.mark.parametrize(
    "message",
    [
        parser.OFPRoleRequest(DATAPATH, ofp.OFPCR_ROLE_SLAVE, 0),
        parser.OFPRoleRequest(DATAPATH, ofp.OFPCR_ROLE_MASTER, 0),
        parser.OFPSetConfig(DATAPATH, 0, 0),
        parser.OFPSetAsync(DATAPATH, [0, 0], [0, 0], [0, 0]),
        parser.OFPExperimenter(DATAPATH, 1, 2, b""),
        parser.OFPExperimenterStatsRequest(DATAPATH, 0, 1, 2, b""),
        parser.OFPTableMod(DATAPATH, 0, 0),
        parser.OFPHello(DATAPATH),
        parser.OFPGroupMod(DATAPATH, ofp.OFPGC_DELETE, ofp.OFPGT_ALL, FIRST_GROUP),
        parser.OFPGroupMod(DATAPATH, ofp.OFPGC_DELETE, ofp.OFPGT_ALL, ofp.OFPG_ALL),
        parser.OFPMeterMod(DATAPATH, ofp.OFPMC_DELETE, ofp.OFPMF_KBPS, FIRST_METER),
        parser.OFPMeterMod(DATAPATH, ofp.OFPMC_DELETE, ofp.OFPMF_KBPS, ofp.OFPM_ALL),
        parser.OFPPacketOut(DATAPATH, ofp.OFP_NO_BUFFER, 1, [parser.OFPActionGroup(FIRST_GROUP)], b""),
        flow_mod(instructions=[parser.OFPInstructionMeter(FIRST_METER)]),
        flow_mod(
            instructions=[
                parser.OFPInstructionActions(ofp.OFPIT_WRITE_ACTIONS, [parser.OFPActionGroup(FIRST_GROUP)])
            ]
        ),
        flow_mod(
            instructions=[
                parser.OFPInstructionActions(
                    ofp.OFPIT_APPLY_ACTIONS, [parser.NXActionLearn(table_id=0, specs=[], cookie=OWNER << 56)]
                )
            ]
        ),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_could_reach_others_is_refused_with_a_reason(message: Any) -> None:
    assert nx_actions  # registers the Nicira actions
    with pytest.raises(NotYours) as refused:
        outgoing(message, Share(0))
    assert len(str(refused.value)) > 10


@given(SHARES, st.sampled_from([*range(10), ofp.OFPTT_ALL]), U64, U64)
def test_a_question_for_rules_is_one_for_its_own(share: Share, table: int, cookie: int, mask: int) -> None:
    for kind in (parser.OFPFlowStatsRequest, parser.OFPAggregateStatsRequest):
        asked = kind(DATAPATH, 0, table, ofp.OFPP_ANY, ofp.OFPG_ANY, cookie, mask, parser.OFPMatch())
        sent = outgoing(asked, share)
        assert (sent.cookie >> 56, sent.cookie_mask >> 56) == (share.owner, 0xFF)
        assert sent.table_id == table == ofp.OFPTT_ALL or share.seen_table(sent.table_id) == table


class Wire:
    """A connection that notes what is sent over it."""

    id = 1

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> bool:
        self.sent.append(data)
        return True


def test_deleting_all_groups_and_meters_deletes_those_it_made() -> None:
    wire, begun = Wire(), []
    datapath = GuestDatapath(wire, Share(0), "Test", lambda _, dpid: begun.append(dpid))
    for number in (3, 1):
        assert datapath.send_msg(parser.OFPGroupMod(datapath, ofp.OFPGC_ADD, ofp.OFPGT_ALL, number, []))
        assert datapath.send_msg(parser.OFPMeterMod(datapath, ofp.OFPMC_ADD, ofp.OFPMF_KBPS, number, []))
    assert not datapath.send_msg(parser.OFPGroupMod(datapath, ofp.OFPGC_ADD, ofp.OFPGT_ALL, FIRST_GROUP, []))
    wire.sent.clear()
    everything = parser.OFPGroupMod(datapath, ofp.OFPGC_DELETE, ofp.OFPGT_ALL, ofp.OFPG_ALL, [])
    assert datapath.send_msg(everything)
    assert datapath.send_msg(parser.OFPMeterMod(datapath, ofp.OFPMC_DELETE, ofp.OFPMF_KBPS, ofp.OFPM_ALL, []))
    assert [int.from_bytes(data[12:16], "big") for data in wire.sent] == [1, 3, 1, 3]
    assert everything.group_id == ofp.OFPG_ALL
    assert set(begun) == {1}


def test_every_message_has_a_transaction_id_of_the_app() -> None:
    wire, share = Wire(), Share(2)
    datapath = GuestDatapath(wire, share, "Test", lambda *_: None)
    chosen = parser.OFPBarrierRequest(datapath)
    chosen.xid = 0x49000001
    assert datapath.send_msg(chosen) and datapath.send_barrier()
    assert [share.has_xid(int.from_bytes(data[4:8], "big")) for data in wire.sent] == [True, True]
    assert share.has_xid(chosen.xid)


# in


def received(kind: int, **fields: Any) -> Any:
    return SimpleNamespace(msg_type=kind, xid=0, datapath="the switch", **fields)


@given(SHARES, st.integers(0, 254), U64)
def test_a_packet_is_the_apps_where_it_is_from_its_tables(share: Share, table: int, cookie: int) -> None:
    message = received(ofp.OFPT_PACKET_IN, table_id=table, cookie=cookie)
    seen = incoming(message, MAIN_DISPATCHER, share, "its own")
    if share.first_table <= table < share.first_table + 10:
        assert seen is not None
        assert (seen.table_id, seen.datapath) == (table - share.first_table, "its own")
        assert (message.table_id, message.datapath) == (table, "the switch"), "others get this one too"
    else:
        assert seen is None


@given(SHARES, st.lists(st.tuples(st.integers(0, 254), st.sampled_from([0, OWNER, REST_OWNER, *GUEST_OWNERS]))))
def test_of_all_rules_an_app_is_shown_its_own(share: Share, rules: list[tuple[int, int]]) -> None:
    body = [
        SimpleNamespace(
            table_id=table,
            cookie=owner << 56 | 5,
            instructions=[parser.OFPInstructionGotoTable(share.first_table + 9)],
        )
        for table, owner in rules
    ]
    message = received(ofp.OFPT_MULTIPART_REPLY, type=ofp.OFPMP_FLOW, body=body)
    message.xid = share.xid(7)
    seen = incoming(message, MAIN_DISPATCHER, share, None)
    assert seen is not None
    own = [table - share.first_table for table, owner in rules if owner == share.owner]
    assert [rule.table_id for rule in seen.body] == [table for table in own if 0 <= table < 10]
    assert all((rule.cookie, rule.instructions[0].table_id) == (5, 9) for rule in seen.body)


@pytest.mark.parametrize(
    ("kind", "name", "ours"),
    [
        (ofp.OFPMP_GROUP, "group_id", FIRST_GROUP),
        (ofp.OFPMP_GROUP_DESC, "group_id", FIRST_GROUP),
        (ofp.OFPMP_METER, "meter_id", FIRST_METER),
        (ofp.OFPMP_METER_CONFIG, "meter_id", FIRST_METER),
    ],
)
def test_groups_and_meters_of_ours_are_not_shown(kind: int, name: str, ours: int) -> None:
    body = [SimpleNamespace(**{name: number}) for number in (1, ours - 1, ours, ours + 1)]
    message = received(ofp.OFPT_MULTIPART_REPLY, type=kind, body=body)
    message.xid = Share(0).xid(1)
    seen = incoming(message, MAIN_DISPATCHER, Share(0), None)
    assert seen is not None
    assert [getattr(item, name) for item in seen.body] == [1, ours - 1]


def test_answers_to_others_are_not_the_apps_but_those_of_the_handshake_are() -> None:
    for kind in (ofp.OFPT_MULTIPART_REPLY, ofp.OFPT_BARRIER_REPLY, ofp.OFPT_ERROR, ofp.OFPT_ROLE_REPLY):
        message = received(kind, type=ofp.OFPMP_PORT_DESC, body=[])
        message.xid = 0x49000001
        assert incoming(message, MAIN_DISPATCHER, Share(0), None) is None
        assert incoming(message, CONFIG_DISPATCHER, Share(0), None) is not None


# imports


@pytest.fixture
def _ryu() -> Iterator[None]:
    path, modules = list(sys.meta_path), dict(sys.modules)
    imports.install()
    yield
    sys.meta_path[:] = path
    for name in set(sys.modules) - set(modules):
        if name.split(".")[0] == "ryu":
            del sys.modules[name]


@pytest.mark.usefixtures("_ryu")
def test_ryu_is_os_ken_and_stays_so() -> None:
    ryu_base: Any = importlib.import_module("ryu.base.app_manager")
    assert ryu_base is app_manager and ryu_base.RyuApp is app_manager.OSKenApp
    assert ryu_base.__name__ == ryu_base.__spec__.name == "os_ken.base.app_manager"
    assert importlib.import_module("ryu.lib.packet.ethernet") is importlib.import_module(
        "os_ken.lib.packet.ethernet"
    )
    wsgi: Any = importlib.import_module("ryu.app.wsgi")
    assert wsgi.ControllerBase is ControllerBase
    with pytest.raises(ModuleNotFoundError, match="copy that file beside your app"):
        importlib.import_module("ryu.app.simple_switch_13")


@pytest.mark.usefixtures("_ryu")
def test_an_app_requires_what_its_imports_require(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "os_ken.topology.api", raising=False)
    file = tmp_path / "asking_app.py"
    file.write_text(
        "from ryu.base import app_manager\nfrom ryu.topology.api import get_switch\n"
        "class Asking(app_manager.RyuApp):\n    pass\n"
    )
    (loaded,) = load([str(file)])
    assert loaded.services == ("os_ken.topology.switches",)
    assert not hasattr(importlib, "_REQUIRED_APP")


def test_the_hub_ends_its_waits_and_takes_no_fault_for_an_end() -> None:
    assert hub.Event().wait(timeout=0.001) is False
    assert not issubclass(ValueError, hub.TaskExit)


@pytest.mark.usefixtures("_ryu")
def test_too_many_apps_and_apps_that_hang_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GuestError, match="5 at most"):
        load(["a.py"] * 6)
    monkeypatch.setattr("ryu_apps.guests.loading.PATIENCE_S", 0.01)
    with pytest.raises(GuestError, match=r"slow\.py blocks: being made took more than"):
        in_time("slow.py", "being made", lambda: hub.Event().wait())


# pages


class Things(ControllerBase):
    @route("things", "/things/{thing}", methods=["GET"], requirements={"thing": r"[0-9]+"})
    def show(self, _req: Request, thing: str) -> Response:
        return Response(json={"thing": int(thing), "data": self.data["name"]})

    @route("things", "/things", methods=["POST"])
    def make(self, req: Request) -> str:
        return f"made {req.json['a']} {req.params['b']}"


def test_controllers_are_found_by_path_method_and_requirement() -> None:
    application = WSGIApplication()
    application.register(Things, {"name": "n"})
    answer = application.answer(Request("GET", "/things/7"))
    assert (answer.status_code, answer.content_type, answer.body) == (
        200,
        "application/json",
        b'{"thing": 7, "data": "n"}',
    )
    assert application.answer(Request("POST", "/things", "b=2", body=b'{"a": 1}')).body == b"made 1 2"
    for method, path in (("GET", "/things/x"), ("PUT", "/things/7"), ("GET", "/things/7/8"), ("GET", "/thing")):
        assert not application.has(method, path)


def test_the_older_way_to_name_paths_works_too() -> None:
    application = WSGIApplication()
    application.mapper.connect(
        "old", "/old/{thing}", controller=Things, action="show", conditions={"method": ["GET"]}
    )
    application.registory["Things"] = {"name": "o"}
    assert b'"o"' in application.answer(Request("GET", "/old/5")).body


def test_trespass_is_told_of_what_was_built_and_of_what_was_encoded() -> None:
    message = parser.OFPGroupMod(DATAPATH, ofp.OFPGC_ADD, ofp.OFPGT_ALL, FIRST_GROUP, [])
    assert foreign.trespass(message) is not None
    message.xid = 1
    message.serialize()
    assert foreign.trespass(message) is not None
