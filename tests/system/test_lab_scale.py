"""The scale lab: a private Open vSwitch with many bridges that connect to a controller."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mininet_topos.ovs import OvsError, vsctl
from mininet_topos.ownership import stamp
from mininet_topos.private_ovs import add_bridges, bridge_name, private_ovs
from tests.system.conftest import eventually

BRIDGES = 60
EDGES = [(i, i % BRIDGES + 1) for i in range(1, BRIDGES + 1)] + [(i, i + 30) for i in range(1, 31)]


def test_bridges_and_links_come_up_and_connect() -> None:
    before = vsctl("list-br")
    with socket.create_server(("127.0.0.1", 0), backlog=BRIDGES) as listener, private_ovs() as ovs:
        listener.settimeout(10)
        port = listener.getsockname()[1]
        links = add_bridges(ovs, BRIDGES, EDGES, controller=f"127.0.0.1:{port}", host_ports=1)
        connections = [listener.accept()[0] for _ in range(BRIDGES)]
        for connection in connections:
            connection.settimeout(10)
            assert connection.recv(2) == b"\x04\x00"  # an OpenFlow 1.3 hello
            connection.close()
        assert len(links) == 90 and (links[0].a_port, links[0].b_port) == (2, 2)
        described = ovs.ofctl("show", bridge_name(7))
        assert "dpid:0000000000000007" in described and " 4(p7-4)" in described
        assert vsctl("list-br") == before
        pids, directory = (ovs.database_pid, ovs.switch_pid), ovs.directory
    assert not directory.exists()
    assert not any(stamp(pid) for pid in pids)


def test_a_packet_crosses_the_patch_links() -> None:
    with private_ovs() as ovs:
        links = add_bridges(ovs, 2, [(1, 2)], host_ports=1)
        for dpid, out in ((1, links[0].a_port), (2, 1)):
            ovs.ofctl("add-flow", bridge_name(dpid), f"priority=1,actions=output:{out}")
        ovs.ofctl(
            "packet-out",
            bridge_name(1),
            "in_port=1,packet=" + "ffffffffffff0200000000010800" + "00" * 50 + ",actions=output:2",
        )
        assert eventually(lambda: "n_packets=1" in ovs.ofctl("dump-flows", bridge_name(2)))


def test_the_private_pair_is_gone_after_an_error(tmp_path: Path) -> None:
    directory, pid = tmp_path / "ovs", 0

    def fail_inside() -> None:
        nonlocal pid
        with private_ovs(directory) as ovs:
            pid = ovs.switch_pid
            ovs.vsctl("no-such-command")

    with pytest.raises(OvsError, match="no-such-command"):
        fail_inside()
    assert pid and not directory.exists() and not stamp(pid)
