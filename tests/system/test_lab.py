"""A lab of real bridges, namespaces and links does what it was told to."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mininet_topos.abilene import abilene
from mininet_topos.demand import BadDemand, Demand
from mininet_topos.lab import Lab, LabError
from mininet_topos.ovs import vsctl
from mininet_topos.player import play
from mininet_topos.topology import line, ring
from tests.system.conftest import eventually

LINE = line(3, rate_mbps=10.0, delay_ms=5.0)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(LINE, controller=None, fail_mode="standalone") as running:
        assert running.ping("hs1", "hs3", deadline_s=10)
        yield running


def traffic(seconds: int, pairs: dict[tuple[str, str], float]) -> Demand:
    index = {name: i for i, name in enumerate(LINE.node_names)}
    matrices = np.zeros((seconds, 3, 3))
    for (source, destination), mbps in pairs.items():
        matrices[:, index[source], index[destination]] = mbps
    return Demand("test", matrices, LINE.node_names)


def test_round_trips_take_the_links_delays(lab: Lab) -> None:
    out = lab.run_in("hs1", ["ping", "-n", "-q", "-c", "20", "-i", "0.05", lab.host("hs3").ip]).stdout
    match = re.search(r"= ([\d.]+)/([\d.]+)/", out)
    assert match is not None, out
    assert 20.0 <= float(match[1]) < 26.0  # two links of 5 ms, there and back


def test_tcp_crosses_the_userspace_bridges(lab: Lab) -> None:
    server = (
        "import socket;s=socket.create_server(('',5000));print('up',flush=True);c=s.accept()[0];"
        "print(sum(iter(lambda:len(c.recv(65536)),0)))"
    )
    client = f"import socket;socket.create_connection(({lab.host('hs3').ip!r},5000)).sendall(bytes(300000))"
    argv = ["mnexec", "-a", str(lab.host("hs3").pid), "python3", "-c", server]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        assert lab.run_in("hs1", ["python3", "-c", client]).returncode == 0
        assert process.stdout.readline() == "300000\n"


def test_a_link_carries_its_rate_and_no_more(lab: Lab) -> None:
    first, second = lab.link("s1", "s2"), lab.link("s2", "s3")
    before, dropped = first.stats().a_to_b, second.stats().a_to_b.dropped_queue
    result = play(lab, traffic(4, {("s1", "s3"): 15.0}), 1.0)
    after = first.stats().a_to_b
    received_mbps = result.flows[0].received_bytes * 8 / result.duration_s / 1e6
    assert received_mbps == pytest.approx(10.0, rel=0.1)
    # What the player misses is what the relay says it dropped. A relay that was held up may send the second link,
    # which is as full as it can be, more at once than that has room for.
    dropped = second.stats().a_to_b.dropped_queue - dropped
    assert result.lost == after.dropped_queue - before.dropped_queue + dropped
    assert result.received <= after.frames - before.frames <= result.received + 60
    # 50 ms of queue, 10 of line, 2 of sending; and the second link, as full as it can be, never gets rid of what a
    # relay that was held up has put into its queue, which is up to 50 ms more.
    assert result.delay_ms.p50 is not None and 55 < result.delay_ms.p50 < 115


def test_under_the_rate_nothing_is_lost_and_the_delay_is_the_links(lab: Lab) -> None:
    seen: list[tuple[float, float]] = []
    pairs = {("s1", "s3"): 3.0, ("s3", "s1"): 3.0, ("s2", "s1"): 0.01, ("s2", "s3"): 1.0}
    result = play(lab, traffic(2, pairs), 1.0, progress=lambda done, total: seen.append((done, total)))
    assert (result.lost, result.refused, result.out_of_order, result.duplicates) == (0, 0, 0, 0)
    delay = {(flow.source, flow.destination): flow.delay_ms.p50 for flow in result.flows}
    # Two links of 5 ms, and 1 ms on each to send 1,242 bytes at 10 Mbit/s; the slow flow's packets are short.
    # Never less than that; how much more depends on who else uses the machine.
    through, slow = delay["hs1", "hs3"], delay["hs2", "hs1"]
    assert through is not None and 12.0 <= through < 25.0
    assert slow is not None and 5.0 <= slow < 15.0
    assert sum(second.sent for second in result.seconds) == result.sent
    assert seen and seen[-1][1] == 2.0


def test_loss_is_near_the_share_that_was_set(lab: Lab) -> None:
    link = lab.link("s2", "s3")
    link.set(loss=0.1)
    try:
        result = play(lab, traffic(4, {("s1", "s3"): 4.0}), 1.0)
    finally:
        link.set(loss=0.0)
    assert result.lost_share == pytest.approx(0.1, abs=0.035)  # three sigma of 1,600 packets is 0.023


def test_rate_and_delay_change_while_the_lab_runs(lab: Lab) -> None:
    link = lab.link("s1", "s2")
    link.set(rate_mbps=5.0, delay_ms=20.0)
    try:
        result = play(lab, traffic(3, {("s1", "s2"): 8.0}), 1.0)
    finally:
        link.set(rate_mbps=10.0, delay_ms=5.0)
    assert result.flows[0].received_bytes * 8 / 3e6 == pytest.approx(5.0, rel=0.1)
    assert result.delay_ms.p50 is not None and 60 < result.delay_ms.p50 < 80


def test_a_silent_cut_stops_the_traffic_and_no_switch_notices(lab: Lab) -> None:
    link = lab.link("s1", "s2")
    device = f"{lab.bridge('s1')}-eth{lab.port_no('s1', 's2')}"
    link.cut()
    try:
        assert not lab.ping("hs1", "hs2", deadline_s=1)
        assert vsctl("get", "Interface", device, "link_state").strip() == "up"
        assert Path("/sys/class/net", device, "carrier").read_text().strip() == "1"
        link.cut(silent=False)
        assert eventually(lambda: vsctl("get", "Interface", device, "link_state").strip() == "down")
    finally:
        link.restore()
    assert lab.ping("hs1", "hs2", deadline_s=10)


def test_links_ports_and_hosts_are_found_by_name(lab: Lab) -> None:
    host = lab.host("hs2")
    assert (host.ip, host.node, host.dpid, host.port_no) == ("10.0.0.2", "s2", 2, 1)
    assert lab.host("s2") == host
    assert (lab.port_no("s2", "s1"), lab.port_no("s2", "s3"), lab.port_no("s2", "hs2")) == (2, 3, 1)
    assert lab.link("s2", "s1").stats().a_to_b == lab.link("s1", "s2").stats().b_to_a
    ends = [(c["src_dpid"], c["src_port"], c["dst_dpid"], c["dst_port"]) for c in lab.capacities()]
    assert ends == [(1, 2, 2, 2), (2, 2, 1, 2), (2, 3, 3, 2), (3, 2, 2, 3)]
    assert {c["capacity_mbps"] for c in lab.capacities()} == {10.0}
    for wrong in (lambda: lab.host("x"), lambda: lab.link("s1", "s3"), lambda: lab.port_no("s1", "s3")):
        with pytest.raises(LabError, match=r"x|s3"):
            wrong()


def test_demand_of_other_nodes_is_refused_before_anything_is_sent(lab: Lab) -> None:
    with pytest.raises(BadDemand, match="map_to"):
        play(lab, Demand("other", np.ones((1, 3, 3)), ("a", "b", "c")), 1.0)
    with pytest.raises(BadDemand, match="no packet"):
        play(lab, traffic(1, {}), 1.0)


def test_the_bridges_have_the_dpids_and_versions_a_controller_expects() -> None:
    with Lab(ring(3), controller="127.0.0.1:1") as lab:
        bridge = lab.bridge("s2")
        assert vsctl("get", "Bridge", bridge, "datapath_id").strip() == '"0000000000000002"'
        assert vsctl("get-fail-mode", bridge).strip() == "secure"
        assert vsctl("get", "Bridge", bridge, "protocols").strip() == "[OpenFlow13]"
        assert vsctl("get-controller", bridge).strip() == "tcp:127.0.0.1:1"
        assert vsctl("get", "Controller", bridge, "connection_mode").strip() == "out-of-band"
        assert vsctl("get", "Open_vSwitch", ".", "other_config:max-revalidator").strip() == '"100"'
        lab.set_controller(None)
        assert vsctl("get-controller", bridge).strip() == ""


def test_abilene_comes_up_whole() -> None:
    with Lab(abilene()) as lab:
        assert len(lab.hosts()) == 11 and len(lab.capacities()) == 28
