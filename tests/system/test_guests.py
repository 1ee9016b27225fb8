"""Somebody's own Ryu apps beside ours on real switches: they work as written, and reach nothing but their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mininet_topos.private_ovs import connect
from tests.system.bridges import Bridges, bridges
from tests.system.controller import START_S, RunningController, controller_command
from tests.system.waiting import wait_until

APPS = Path(__file__).parents[1] / "guests"

OURS = "0x4c00000000000000/0xff00000000000000"
FIRST = "0xe000000000000000/0xff00000000000000"
SECOND = "0xe100000000000000/0xff00000000000000"

RED, GREEN, BLUE, STRANGER = (f"02:00:00:00:00:0{number}" for number in (1, 2, 3, 9))


def app(name: str) -> tuple[str, str]:
    return "--app", str(APPS / f"{name}.py")


def announce(switches: Bridges, dpid: int, port: int, mac: str, ip: int) -> None:
    """Have a host send a gratuitous ARP until it is heard: just after a port came up nobody is believed on it."""
    sender = mac.replace(":", "") + f"0a0000{ip:02x}"
    request = f"ffffffffffff{mac.replace(':', '')}08060001080006040001{sender}000000000000{sender[12:]}"

    def heard() -> bool:
        switches.receive(dpid, port, request)
        return switches.controller.host(mac) is not None

    wait_until(heard, 10.0, f"{mac} known", poll_s=0.1)


def frame(source: str, target: str) -> str:
    return target.replace(":", "") + source.replace(":", "") + "0800" + "00" * 46


@pytest.fixture(scope="module")
def switches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridges]:
    """Red and green belong together, blue is by itself."""
    state = tmp_path_factory.mktemp("guests") / "state"
    with bridges(state, 2, ((1, 2),), *app("learning_switch"), *app("monitor")) as running:
        api = running.controller.api
        for name, members in (("paint", {"red": RED, "green": GREEN}), ("sea", {"blue": BLUE})):
            hosts = [{"name": member, "mac": mac} for member, mac in members.items()]
            assert api.post("/v1/vnets", json={"name": name, "hosts": hosts}).status_code == 201
        for dpid in (1, 2):
            body = [{"dpid": f"{dpid:016x}", "port": 3, "capacity_mbps": 10.0}]
            assert api.put("/v1/links/capacities", json=body).status_code in (200, 204)
        for dpid, port, mac, ip in ((1, 1, RED, 1), (2, 1, GREEN, 2), (2, 2, BLUE, 3)):
            announce(running, dpid, port, mac, ip)
        wait_until(lambda: any(RED in rule for rule in running.rules(2, OURS)), 5.0, "rules to them")
        yield running


def seen_by_monitor(switches: Bridges, dpid: int) -> dict[str, object]:
    seen: dict[str, object] = switches.json(f"/monitor/{dpid}")
    return seen


# what an app sees and does


def test_both_are_well(switches: Bridges) -> None:
    assert switches.controller.get("/health")["reasons"] == []


def test_the_rules_of_an_app_are_in_its_own_tables_under_its_own_owner(switches: Bridges) -> None:
    for dpid in (1, 2):
        assert switches.rules(dpid, FIRST)[0].startswith("cookie=0xe000000000000005, table=200, priority=0 ")
        assert [rule.split(" ", 1)[1] for rule in switches.rules(dpid, SECOND)] == [
            "table=210, priority=7 actions=goto_table:213",
            "table=213, priority=8 actions=drop",
        ]


def test_an_app_sees_its_tables_from_0_on_and_its_cookies_as_it_wrote_them(switches: Bridges) -> None:
    shown = wait_until(
        lambda: (seen := seen_by_monitor(switches, 1))["rules"] and seen["tables"] and seen, 5.0, "counters"
    )
    assert isinstance(shown, dict)
    assert shown["rules"] == [
        {"table": 0, "priority": 7, "cookie": 9},
        {"table": 3, "priority": 8, "cookie": 9},
    ]
    assert shown["tables"] == list(range(10))
    assert shown["ports"] == [1, 2, 3, 0xFFFFFFFE]


def test_an_app_sees_switches_links_and_hosts_as_by_ryus_own_discovery(switches: Bridges) -> None:
    seen = seen_by_monitor(switches, 2)
    assert sorted(seen["switches"]) == [1, 2] and seen["one"] == [3]  # type: ignore[call-overload]
    assert sorted(seen["links"]) == [[1, 2], [2, 1]]  # type: ignore[call-overload]
    assert set(seen["hosts"]) >= {RED, GREEN, BLUE}  # type: ignore[call-overload]
    told = seen["told"]
    assert isinstance(told, list)
    assert told[:4] == ["EventSwitchEnter"] * 2 + ["EventLinkAdd"] * 2 and told.count("EventHostAdd") >= 3


def test_the_pages_of_an_app_are_behind_the_same_token_which_it_does_not_see(switches: Bridges) -> None:
    api = switches.controller.api
    assert api.get("/monitor/1", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert seen_by_monitor(switches, 1)["secret"] is False
    assert api.get("/monitor/77").status_code == 404
    assert api.get("/monitor/red").json()["type"].endswith("no-such-path")
    failed = api.post("/monitor/fail", json={"a": 1})
    assert failed.status_code == 502 and "RuntimeError" in failed.json()["detail"]
    (record,) = switches.json("/v1/audit?limit=1&resource=/monitor")
    assert (record["path"], record["outcome"]) == ("/monitor/fail", "failed")
    assert record["after"]["given"] == {"a": 1}


def test_what_ours_leave_undecided_reaches_the_app_as_of_table_0_and_crosses_the_fabric(switches: Bridges) -> None:
    switches.receive(1, 1, frame(RED, STRANGER))
    for dpid, port in ((1, 1), (2, 3)):
        line = f"LearningSwitch saw dpid={dpid} src={RED} dst={STRANGER} in_port={port} table=0"
        wait_until(lambda said=line: said in switches.controller.log(), 5.0, line)  # type: ignore[misc]


def test_our_rules_decide_first_and_denied_stays_denied(switches: Bridges) -> None:
    within = switches.packet(1, 1, f"dl_src={RED},dl_dst={GREEN},dl_type=0x0800")
    assert "200." not in within and "drop" not in within.splitlines()[-1]
    between = switches.packet(1, 1, f"dl_src={RED},dl_dst={BLUE},dl_type=0x0800")
    assert "200." not in between and between.splitlines()[-1].endswith("drop")
    undecided = switches.packet(1, 1, f"dl_src={RED},dl_dst={STRANGER},dl_type=0x0800")
    assert "200." in undecided


def test_an_app_that_deletes_everything_deletes_its_own(switches: Bridges) -> None:
    """A stitch, our rules, those of the REST paths and of the other app stay; so do groups and meters."""
    controller = switches.controller
    stitch = controller.create_stitch("10.0.0.1", "10.0.0.2")
    by_rest = {"dpid": 1, "priority": 9, "match": {"in_port": 2}, "actions": []}
    assert switches.call("POST", "/stats/flowentry/add", by_rest).status_code == 200
    meter = {"dpid": 1, "meter_id": 3, "flags": ["KBPS"], "bands": [{"type": "DROP", "rate": 1000}]}
    assert switches.call("POST", "/stats/meterentry/add", meter).status_code == 200
    group = {"dpid": 1, "group_id": 3, "type": "ALL", "buckets": []}
    assert switches.call("POST", "/stats/groupentry/add", group).status_code == 200
    before = {dpid: switches.rules(dpid) for dpid in (1, 2)}
    assert any("table=3, " in rule and "0x4c06" in rule for rule in before[1]), "the stitch has rules"
    times = controller.log().count("LearningSwitch empty and ready")

    # The learning switch empties every switch that connects.
    # Another spelling of the same address: a switch that had no controller in between would drop all rules.
    connect(switches.ovs, 2, f"127.0.0.1:0{controller.of_port}")
    wait_until(
        lambda: controller.log().count("LearningSwitch empty and ready") == times + 2, 10.0, "emptied once more"
    )
    wait_until(lambda: controller.get("/health")["installer"]["switches_ready"] == 2, 10.0, "both are ready")
    wait_until(
        lambda: {dpid: switches.rules(dpid) for dpid in (1, 2)} == before,
        5.0,
        lambda: f"as it was: {[set(before[d]) ^ set(switches.rules(d)) for d in (1, 2)]}",
    )
    assert len(switches.json("/stats/meter/1")["1"]) == len(switches.json("/stats/group/1")["1"]) == 1
    assert controller.stitch(stitch["id"])["state"] == "up"
    controller.delete_stitch(stitch["id"])


# apps that go wrong


@pytest.mark.parametrize(
    ("trouble", "named", "said"),
    [
        ("", "no_such_app.py", "there is no such file"),
        ("", "no.such.module", "ModuleNotFoundError"),
        ("", "tests.guests", "has no app"),
        ("", "syntax_error", "SyntaxError"),
        ("in __init__", "troublesome", "ValueError: no luck today (at troublesome.py:"),
    ],
)
def test_an_app_that_cannot_be_loaded_ends_the_controller_with_2_and_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, named: str, said: str
) -> None:
    monkeypatch.setenv("GUEST_TROUBLE", trouble)
    if named == "syntax_error":
        (tmp_path / "syntax_error.py").write_text((APPS / "syntax_error.txt").read_text())
        named = str(tmp_path / "syntax_error.py")
    elif named == "troublesome":
        named = str(APPS / "troublesome.py")
    done = subprocess.run(
        controller_command(tmp_path / "state", 0, "--app", named), capture_output=True, text=True, timeout=START_S
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: --app {named}") and said in last
    assert "Traceback" not in done.stderr


def test_an_app_that_raises_is_told_in_the_health_and_hurts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUEST_TROUBLE", "raise")
    with bridges(tmp_path / "state", 2, ((1, 2),), *app("troublesome")) as running:
        health = wait_until(
            lambda: (now := running.controller.get("/health"))["status"] == "degraded" and now, 5.0, "degraded"
        )
        assert isinstance(health, dict)
        (reason,) = health["reasons"]
        assert "Troublesome failed 2 times" in reason and "KeyError" in reason and "troublesome.py:" in reason
        assert health["installer"]["switches_ready"] == 2


def test_an_app_that_hangs_is_told_and_ours_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUEST_TROUBLE", "block")
    with bridges(tmp_path / "state", 2, ((1, 2),), *app("troublesome"), *app("learning_switch")) as running:
        announce(running, 1, 1, RED, 1)
        running.receive(1, 1, frame(RED, STRANGER))
        reasons = wait_until(lambda: running.controller.get("/health")["reasons"], 20.0, "it is told")
        assert "Troublesome hangs in its handler of EventOFPStateChange" in reasons[0]
        # The other app is not held up.
        assert running.rules(1, SECOND)


def test_an_app_that_reaches_for_what_is_not_its_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUEST_TROUBLE", "trespass")
    with bridges(tmp_path / "state", 2, ((1, 2),), *app("troublesome")) as running:
        log = running.controller.log
        wait_until(lambda: log().count("Troublesome fine dpid=") == 2, 5.0, "all of it was refused")
        kinds = ("OFPFlowMod", "OFPGroupMod", "OFPMeterMod", "OFPRoleRequest", "OFPSetConfig", "OFPExperimenter")
        for what in (*kinds, "bytes", "close"):
            assert f"refused={what}" in log()
        assert running.controller.get("/health")["reasons"] == []


def test_a_thread_of_an_app_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUEST_TROUBLE", "thread")
    controller = RunningController(tmp_path / "state", *app("troublesome"))
    try:
        controller.start()
        reasons = controller.get("/health")["reasons"]
        assert reasons == ["a thread of a hosted app ended with KeyError: 'missing'"]
    finally:
        controller.stop()


def test_an_app_that_asks_for_the_topology_and_handles_no_event_of_it_is_answered(tmp_path: Path) -> None:
    with bridges(tmp_path / "state", 2, ((1, 2),), *app("asker")) as running:
        assert running.json("/asker") == {"switches": [1, 2], "links": [[1, 2], [2, 1]], "hosts": 0}


def test_what_an_app_of_an_earlier_run_left_is_gone_before_the_next_begins(tmp_path: Path) -> None:
    with bridges(tmp_path / "state", 1, (), *app("monitor")) as running:
        stale = "cookie=0xe200000000000001,table=220,priority=5,actions=drop"
        foreign = "cookie=0x0000000000000001,table=100,priority=5,actions=drop"
        wait_until(lambda: running.rules(1, FIRST), 5.0, "its rules")
        for rule in (stale, foreign):
            running.ovs.ofctl("add-flow", "br1", rule)
        running.controller.stop()
        running.controller.restart()
        wait_until(
            lambda: not any("table=220" in rule for rule in running.rules(1)) and running.rules(1, FIRST),
            15.0,
            "the old rule is gone, the new ones are there",
        )
        assert any("table=100" in rule for rule in running.rules(1))


def test_what_an_app_leaves_that_is_hosted_no_more_is_named_and_taken_out_when_asked_for(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with bridges(state, 2, ((1, 2),), *app("learning_switch"), *app("monitor")) as running:
        by_rest = {"dpid": 1, "priority": 9, "match": {"in_port": 2}, "actions": []}
        assert running.call("POST", "/stats/flowentry/add", by_rest).status_code == 200
        wait_until(lambda: all(len(running.rules(dpid, SECOND)) == 2 for dpid in (1, 2)), 5.0, "its rules")
        controller = RunningController(state)
        controller.of_port = running.controller.of_port
        running.controller.stop()
        try:
            controller.start()
            alone = Bridges(running.ovs, controller)
            reason = wait_until(lambda: _about_guests(controller, 2), 15.0, lambda: controller.get("/health"))
            for dpid in (1, 2):
                assert f"{dpid:016x} (1 in tables 200 to 209, 2 in tables 210 to 219)" in str(reason)
            before = [rule for rule in alone.rules(1) if "cookie=0xe" not in rule]
            found = reconcile(controller, "dry_run=true&remove_guests=true")
            assert [(one["owner"], one["rules"], one["removed"]) for one in found] == [
                ("0xe0", 1, 0),
                ("0xe1", 2, 0),
            ]
            assert len(alone.rules(1, FIRST)) == 1
            done = reconcile(controller, "remove_guests=true")
            assert [(one["rules"], one["removed"]) for one in done] == [(0, 1), (0, 2)]
            assert alone.rules(1, FIRST) == alone.rules(1, SECOND) == []
            assert alone.rules(1) == before and any("in_port=2" in rule and "0x52" in rule for rule in before)
            assert alone.rules(2, SECOND), "the other switch was not asked for"
            left = _about_guests(controller, 1)
            assert left is not None and "0000000000000002" in left
        finally:
            controller.stop()


def _about_guests(controller: RunningController, switches: int) -> str | None:
    """What the health says of rules of apps that do not run, once so many switches are ready and named."""
    health = controller.get("/health")
    reason: str = next((one for one in health["reasons"] if "hosted apps that do not run" in one), "")
    return (
        reason
        if health["installer"]["switches_ready"] == 2 and reason.count("in tables 200") == switches
        else None
    )


def reconcile(controller: RunningController, query: str) -> list[dict[str, Any]]:
    """What is said of rules of apps that do not run when the first switch is reconciled."""
    answer = controller.api.post(f"/v1/switches/0000000000000001/reconcile?{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["abandoned"]
    return found
