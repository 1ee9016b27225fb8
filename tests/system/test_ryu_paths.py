"""Ryu's REST paths on real switches: the shapes that scripts know, and nothing of ours within their reach."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.system.bridges import Bridges, bridges
from tests.system.waiting import wait_until

OWNER = "0x5200000000000000/0xff00000000000000"

FLOW_FIELDS = {
    *("actions", "byte_count", "cookie", "duration_nsec", "duration_sec", "flags", "hard_timeout", "idle_timeout"),
    *("length", "match", "packet_count", "priority", "table_id"),
}
PORT_FIELDS = {
    *(
        "collisions",
        "duration_nsec",
        "duration_sec",
        "port_no",
        "rx_bytes",
        "rx_crc_err",
        "rx_dropped",
        "rx_errors",
    ),
    *("rx_frame_err", "rx_over_err", "rx_packets", "tx_bytes", "tx_dropped", "tx_errors", "tx_packets"),
}
PORT_DESC_FIELDS = {
    *("advertised", "config", "curr", "curr_speed", "hw_addr", "max_speed", "name", "peer", "port_no", "state"),
    "supported",
}
SHAPES: dict[str, set[str]] = {
    "aggregateflow": {"byte_count", "flow_count", "packet_count"},
    "flow": FLOW_FIELDS,
    "table": {"active_count", "lookup_count", "matched_count", "table_id"},
    "port": PORT_FIELDS,
    "portdesc": PORT_DESC_FIELDS,
    "queue": {
        *("duration_nsec", "duration_sec", "port_no", "queue_id", "tx_bytes", "tx_errors", "tx_packets"),
    },
    "queueconfig": {"port", "queues"},
    "group": {
        *("bucket_stats", "byte_count", "duration_nsec", "duration_sec", "group_id", "length", "packet_count"),
        "ref_count",
    },
    "groupdesc": {"buckets", "group_id", "type"},
    "groupfeatures": {"actions", "capabilities", "max_groups", "types"},
    "meter": {
        *("band_stats", "byte_in_count", "duration_nsec", "duration_sec", "flow_count", "len", "meter_id"),
        "packet_in_count",
    },
    "meterconfig": {"bands", "flags", "meter_id"},
    "meterfeatures": {"band_types", "capabilities", "max_bands", "max_color", "max_meter"},
    "role": {"generation_id", "role"},
}


@pytest.fixture(scope="module")
def switches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridges]:
    with bridges(tmp_path_factory.mktemp("ryu") / "state") as running:
        yield running


@pytest.fixture(autouse=True)
def _ours_stay(switches: Bridges) -> Iterator[None]:
    """Whatever a test does, the rules of the controller are there afterwards as before."""
    before = {dpid: ours(switches, dpid) for dpid in (1, 2)}
    yield
    for dpid in (1, 2):
        assert switches.call("DELETE", f"/stats/flowentry/clear/{dpid}").status_code == 200
        assert switches.rules(dpid, OWNER) == []
        # A switch that was away has them again soon.
        wait_until(lambda at=dpid: set(ours(switches, at)) >= set(before[at]), 10.0, "ours are there")  # type: ignore[misc]
        assert before[dpid]


def ours(switches: Bridges, dpid: int) -> list[str]:
    return switches.rules(dpid, "0x4c00000000000000/0xff00000000000000")


def flow(**changes: Any) -> dict[str, Any]:
    return {
        "dpid": 1,
        "cookie": 1,
        "priority": 11111,
        "match": {"in_port": 1},
        "actions": [{"type": "OUTPUT", "port": 2}],
        **changes,
    }


def add(switches: Bridges, **changes: Any) -> None:
    answer = switches.call("POST", "/stats/flowentry/add", flow(**changes))
    assert (answer.status_code, answer.content) == (200, b""), answer.text


def test_switches_are_decimal_numbers(switches: Bridges) -> None:
    assert switches.json("/stats/switches") == [1, 2]


def test_a_description_is_keyed_by_the_decimal_dpid(switches: Bridges) -> None:
    (key, described), *_ = switches.json("/stats/desc/1").items()
    assert key == "1"
    assert described.keys() == {"dp_desc", "hw_desc", "mfr_desc", "serial_num", "sw_desc"}
    assert (described["mfr_desc"], described["hw_desc"]) == ("Nicira, Inc.", "Open vSwitch")


@pytest.fixture
def _one_of_each(switches: Bridges) -> Iterator[None]:
    meter = {"dpid": 1, "meter_id": 3, "flags": ["KBPS"], "bands": [{"type": "DROP", "rate": 1000}]}
    group = {"dpid": 1, "group_id": 5, "type": "ALL", "buckets": [{"actions": [{"type": "OUTPUT", "port": 2}]}]}
    for kind, body in (("meter", meter), ("group", group)):
        answer = switches.call("POST", f"/stats/{kind}entry/add", body)
        assert answer.status_code == 200, answer.text
    yield
    for kind, body in (("meter", meter), ("group", group)):
        assert switches.call("POST", f"/stats/{kind}entry/modify", body).status_code == 200
        named = {name: body[name] for name in body if name in ("dpid", f"{kind}_id")}
        assert switches.call("POST", f"/stats/{kind}entry/delete", named).status_code == 200


@pytest.mark.usefixtures("_one_of_each")
@pytest.mark.parametrize("path", SHAPES)
def test_every_answer_has_the_fields_that_scripts_know(switches: Bridges, path: str) -> None:
    answer = switches.json(f"/stats/{path}/1")
    assert answer.keys() == {"1"} and answer["1"]
    assert all(item.keys() == SHAPES[path] for item in answer["1"])


@pytest.mark.usefixtures("_one_of_each")
def test_one_port_group_or_meter_can_be_asked_for(switches: Bridges) -> None:
    assert [port["port_no"] for port in switches.json("/stats/port/1/2")["1"]] == [2]
    assert [port["port_no"] for port in switches.json("/stats/portdesc/1/2")["1"]] == [2]
    assert [port["port_no"] for port in switches.json("/stats/port/0x1/LOCAL")["1"]] == ["LOCAL"]
    assert [group["group_id"] for group in switches.json("/stats/group/1/5")["1"]] == [5]
    assert switches.json("/stats/groupdesc/1/5")["1"] == [
        {
            "group_id": 5,
            "type": "ALL",
            "buckets": [
                {"weight": 0, "watch_port": 0xFFFFFFFF, "watch_group": 0xFFFFFFFF, "actions": ["OUTPUT:2"]}
            ],
        }
    ]
    assert switches.json("/stats/meterconfig/1/3")["1"] == [
        {"meter_id": 3, "flags": ["KBPS"], "bands": [{"type": "DROP", "rate": 1000, "burst_size": 1000}]}
    ]


def test_a_rule_reads_back_as_it_was_written(switches: Bridges) -> None:
    add(switches, cookie=1, match={"in_port": 1, "dl_type": 0x800, "nw_dst": "10.0.0.0/8"}, idle_timeout=30)
    (rule,) = switches.json("/stats/flow/1", {"cookie": 1, "cookie_mask": (1 << 64) - 1})["1"]
    assert (rule["cookie"], rule["table_id"], rule["priority"], rule["idle_timeout"]) == (1, 0, 11111, 30)
    assert rule["match"] == {"in_port": 1, "dl_type": 2048, "nw_dst": "10.0.0.0/255.0.0.0"}
    assert rule["actions"] == ["OUTPUT:2"]
    assert (
        switches.json("/stats/aggregateflow/1", {"cookie": 1, "cookie_mask": 0xFF << 56})["1"][0]["flow_count"]
        == 1
    )
    assert switches.json("/stats/flow/1", {"table_id": 0, "match": {"in_port": 1, "dl_type": 2048}})["1"] == [
        rule
        | {
            "duration_sec": pytest.approx(rule["duration_sec"], abs=5),
            "duration_nsec": pytest.approx(5e8, abs=5e8),
        }
    ]


def test_a_rule_of_table_0_with_a_higher_priority_decides_before_ours(switches: Bridges) -> None:
    packet = "dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,dl_type=0x0800"
    before = switches.packet(1, 1, packet)
    assert "CONTROLLER:128" in before
    add(switches)
    assert "CONTROLLER" not in switches.packet(1, 1, packet)
    (rule,) = switches.rules(1, OWNER)
    assert rule.startswith("cookie=0x5200000000000001, priority=11111,in_port=")


@pytest.mark.parametrize("command", ["delete", "delete_strict", "modify", "modify_strict"])
@pytest.mark.parametrize("table", [0, 1, 2, 3, "ALL"])
def test_no_delete_or_modify_touches_rules_of_ours(switches: Bridges, command: str, table: int | str) -> None:
    if table == "ALL" and command.startswith("modify"):
        table = 0
    bodies: tuple[dict[str, Any], ...] = (
        {"dpid": 1, "table_id": table},
        {"dpid": 1, "table_id": table, "cookie": 0, "cookie_mask": (1 << 64) - 1},
        {"dpid": 1, "table_id": table, "priority": 0, "match": {}, "actions": []},
        {"dpid": 1, "table_id": table, "priority": 700, "match": {"in_port": 3}},
    )
    for body in bodies:
        before = ours(switches, 1)
        assert switches.call("POST", f"/stats/flowentry/{command}", body).status_code == 200
        assert ours(switches, 1) == before


def test_a_delete_with_a_cookie_takes_the_rules_of_that_cookie_alone(switches: Bridges) -> None:
    for cookie in (1, 2):
        add(switches, cookie=cookie, match={"in_port": cookie})
    body = {"dpid": 1, "cookie": 1, "cookie_mask": 0xFF, "table_id": "ALL"}
    assert switches.call("POST", "/stats/flowentry/delete", body).status_code == 200
    (left,) = switches.rules(1, OWNER)
    assert "cookie=0x5200000000000002" in left


def test_an_added_rule_takes_no_place_of_ours(switches: Bridges) -> None:
    for rule in switches.json("/stats/flow/1")["1"]:
        body = {"dpid": 1, "table_id": rule["table_id"], "priority": rule["priority"], "match": rule["match"]}
        answer = switches.call("POST", "/stats/flowentry/add", body)
        assert answer.status_code == 409, (rule, answer.text)
        assert "another priority" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("flowentry/add", flow(dpid=99), 404),
        ("flowentry/add", {"match": {}}, 400),
        ("flowentry/add", flow(cookie=1 << 56), 400),
        ("flowentry/add", flow(match={"colour": "red"}), 400),
        ("flowentry/add", flow(priority=1 << 40), 400),
        ("flowentry/add", flow(match={"tcp_dst": 80}), 409),
        ("flowentry/add", flow(actions=[{"type": "GROUP", "group_id": 77}]), 409),
        ("flowentry/upset", flow(), 404),
        ("groupentry/add", {"dpid": 1, "group_id": 65536}, 409),
        ("groupentry/delete", {"dpid": 1, "group_id": "ALL"}, 409),
        ("meterentry/add", {"dpid": 1, "meter_id": 0x4C00, "bands": []}, 409),
        ("meterentry/delete", {"dpid": 1, "meter_id": "ALL"}, 409),
        ("portdesc/modify", {"dpid": 1, "port_no": 77}, 404),
        ("experimenter/1", {"dpid": 1}, 404),
        ("flow/1", {"match": {"in_port": -1}}, 400),
        ("flow/1", [], 400),
    ],
)
def test_what_cannot_be_done_is_said(switches: Bridges, path: str, body: Any, status: int) -> None:
    answer = switches.call("POST", f"/stats/{path}", body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] and answer.json()["remedy"]


@pytest.mark.parametrize(
    "path", ["desc/99", "port/1/x", "desc/", "desc/-1", "queuedesc/1", "flow/99999999999999999999"]
)
def test_a_path_that_leads_nowhere_is_said(switches: Bridges, path: str) -> None:
    answer = switches.call("GET", f"/stats/{path}")
    assert answer.status_code in (400, 404) and answer.json()["detail"]


def test_a_port_is_taken_down_and_up(switches: Bridges) -> None:
    for config in (1, 0):
        body = {"dpid": 2, "port_no": 2, "config": config, "mask": 1}
        assert switches.call("POST", "/stats/portdesc/modify", body).status_code == 200
        assert switches.json("/stats/portdesc/2/2")["2"][0]["config"] == config


def test_topology_is_in_hex_with_16_and_8_digits(switches: Bridges) -> None:
    one = "0000000000000001"
    (switch,) = switches.json(f"/v1.0/topology/switches/{one}")
    assert switch["dpid"] == one and len(switch["ports"]) == 3
    assert all(port.keys() == {"dpid", "hw_addr", "name", "port_no"} for port in switch["ports"])
    assert [port["port_no"] for port in switch["ports"]] == ["00000001", "00000002", "00000003"]
    (link,) = switches.json(f"/v1.0/topology/links/{one}")
    assert link.keys() == {"src", "dst"}
    assert (link["src"]["dpid"], link["src"]["port_no"]) == (one, "00000003")
    assert (link["dst"]["dpid"], link["dst"]["name"]) == ("0000000000000002", "p2-3")
    assert len(switches.json("/v1.0/topology/links")) == 2
    assert switches.json("/v1.0/topology/switches/00000000000000ff") == []


def test_a_host_has_its_addresses_by_family_and_its_port(switches: Bridges) -> None:
    # A gratuitous ARP of 10.0.0.9.
    frame = "ffffffffffff02000000000908060001080006040001" + "0200000000090a000009" + "0000000000000a000009"
    switches.receive(2, 1, frame)
    hosts = wait_until(lambda: switches.json("/v1.0/topology/hosts/0000000000000002"), 5.0, "the host is known")
    (host,) = hosts
    assert (host["mac"], host["ipv4"], host["ipv6"]) == ("02:00:00:00:00:09", ["10.0.0.9"], [])
    assert host["port"]["port_no"] == "00000001"


def test_nobody_gets_in_without_the_token(switches: Bridges) -> None:
    for method, path in (
        ("GET", "/stats/switches"),
        ("POST", "/stats/flowentry/add"),
        ("GET", "/v1.0/topology/hosts"),
    ):
        answer = switches.controller.api.request(method, path, headers={"Authorization": "Bearer wrong"})
        assert answer.status_code == 401


def test_many_at_a_time_are_each_answered_by_their_switch(switches: Bridges) -> None:
    def ask(number: int) -> bool:
        dpid = 1 + number % 2
        return all(
            switches.json(f"/stats/{what}/{dpid}").keys() == {str(dpid)} for what in ("flow", "port", "desc")
        )

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(64)))


def test_a_switch_that_is_silent_is_named_and_no_request_hangs(switches: Bridges) -> None:
    os.kill(switches.ovs.switch_pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(4) as pool:
            calls = [
                pool.submit(switches.call, "GET", "/stats/flow/1"),
                pool.submit(switches.call, "POST", "/stats/flowentry/delete", flow()),
                pool.submit(switches.call, "GET", "/stats/desc/2"),
            ]
            answers = [call.result(20) for call in calls]
    finally:
        os.kill(switches.ovs.switch_pid, signal.SIGCONT)
    assert [answer.status_code for answer in answers] == [504] * 3
    assert "0000000000000001" in answers[0].json()["detail"] and "0000000000000002" in answers[2].json()["detail"]
    wait_until(
        lambda: all(switches.call("GET", f"/stats/desc/{dpid}").status_code == 200 for dpid in (1, 2)),
        15.0,
        "both answer again",
    )


def test_what_was_there_before_a_change_is_in_the_audit_log(switches: Bridges) -> None:
    def newest() -> tuple[Any, Any]:
        (one,) = switches.json("/v1/audit?limit=1&resource=/stats")
        return one["before"], one["after"]

    add(switches)
    assert newest() == ({"dpid": 1, "rules": []}, {"dpid": 1, "given": flow()})
    add(switches, actions=[])
    before, _ = newest()
    ((rule,), dpid) = before["rules"], before["dpid"]
    assert (dpid, rule["cookie"], rule["priority"], rule["actions"]) == (1, 1, 11111, ["OUTPUT:2"])
    add(switches, priority=11112)
    gone = {"dpid": 1, "priority": 11112, "match": {"in_port": 1}}
    for command, found in (("delete_strict", [11112]), ("delete", [11111]), ("delete", [])):
        assert switches.call("POST", f"/stats/flowentry/{command}", gone).status_code == 200
        before, after = newest()
        assert [rule["priority"] for rule in before["rules"]] == found and after["given"] == gone
    many = switches.ovs.directory / "many"
    many.write_text("".join(f"cookie=0x5200000000000001,priority={2000 + n},actions=drop\n" for n in range(201)))
    switches.ovs.ofctl("add-flows", "br1", str(many))
    assert switches.call("DELETE", "/stats/flowentry/clear/1").status_code == 200
    assert newest() == ({"dpid": 1, "rules": 201}, {"dpid": 1, "given": {}})
    meter = {"dpid": 1, "meter_id": 4, "flags": ["KBPS"], "bands": [{"type": "DROP", "rate": 1000}]}
    group = {"dpid": 1, "group_id": 6, "type": "ALL", "buckets": []}
    for kind, body in (("meter", meter), ("group", group)):
        assert switches.call("POST", f"/stats/{kind}entry/add", body).status_code == 200
        assert newest() == (None, {"dpid": 1, "given": body})
        named = {name: body[name] for name in ("dpid", f"{kind}_id")}
        assert switches.call("POST", f"/stats/{kind}entry/delete", named).status_code == 200
        before, _ = newest()
        assert before.items() >= {name: body[name] for name in body if name != "bands"}.items()
