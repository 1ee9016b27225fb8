"""BFD and queues on real switches: set through their database, and doing what they are there for."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

from mininet_topos import devices
from mininet_topos.lab import Lab
from mininet_topos.namespaces import network_of
from mininet_topos.ovs import database, run
from mininet_topos.topology import ring
from mininet_topos.twin_bridges import HOST_PORT, TwinBridges, twin_bridges
from ryu_apps.app import ask
from ryu_apps.controller import started
from ryu_apps.events import (
    CapabilitiesRequest,
    NetworkRequest,
    OvsdbStatus,
    OvsdbStatusRequest,
    QueueFactsRequest,
    WantQueues,
)
from ryu_apps.mode import Mode
from ryu_apps.ovsdb.bfd import BFD_MS
from ryu_apps.starting.settings import Settings
from stitching.enforcement import Enforced
from stitching.network import Network
from stitching.queues import PortQueues, Queue
from tests.system.controller import running_fabric
from tests.system.flood import Flood
from tests.system.waiting import wait_until

FIRST, SECOND = 2, 3
"""The ports of the links of the twin bridges."""

DSCP = 46
FILTERS = 6
"""Of a port with one class: IPv4 and IPv6 of it, BFD, LLDP, and probes with and without a label."""


@contextlib.contextmanager
def controlled(tw: TwinBridges, state: Path, bfd_ms: int = BFD_MS) -> Iterator[None]:
    """A controller in this process that has the twin bridges and their database."""
    settings = Settings(state, of_port=0, rest_port=0, trigger=Mode.OFF, ovsdb=(tw.ovs.database,), bfd_ms=bfd_ms)
    with contextlib.ExitStack() as stack:
        with network_of(tw.pid):
            of_port, _ = stack.enter_context(started(settings))
        for dpid in (1, 2):
            tw.ovs.vsctl("set-controller", tw.bridge(dpid), f"tcp:127.0.0.1:{of_port}")
        wait_until(lambda: len(network().links) == 2 * len(tw.emulator.stats().links), 10, "the links are found")
        yield


def network() -> Network:
    return ask("Discovery", NetworkRequest())


def status() -> OvsdbStatus:
    return ask("Ovsdb", OvsdbStatusRequest())


def protected(count: int) -> OvsdbStatus | None:
    now = status()
    return now if len(now.up) == count else None


def test_bfd_comes_up_on_every_link_and_a_silent_cut_is_known_at_once(tmp_path: Path) -> None:
    with twin_bridges() as tw:
        with controlled(tw, tmp_path / "state"):
            wait_until(lambda: protected(4), 20, status)
            assert not status().unprotected
            wait_until(lambda: tw.protected(4, BFD_MS), 20, "both ends have agreed on the interval")
            cut_s = time.monotonic()
            tw.cut(0, silent=True)
            wait_until(lambda: len(network().links) == 2, 5.0, "the link is out", poll_s=0.005)
            assert time.monotonic() - cut_s < 1.5, "three missed probes would have taken over two seconds"
            tw.restore(0)
            wait_until(lambda: len(network().links) == 4 and protected(4), 10, status)
        assert 'enable="true"' in tw.interface(1, FIRST, "bfd"), "protection outlives the controller"


def test_a_restarted_controller_finds_its_bfd_and_changes_nothing(tmp_path: Path) -> None:
    with twin_bridges() as tw:
        with controlled(tw, tmp_path / "state"):
            wait_until(lambda: protected(4), 20, status)
        before = [tw.interface(dpid, FIRST, "bfd_status:flap_count") for dpid in (1, 2)]
        with controlled(tw, tmp_path / "state"):
            wait_until(lambda: protected(4), 20, status)
        assert [tw.interface(dpid, FIRST, "bfd_status:flap_count") for dpid in (1, 2)] == before


def test_somebody_elses_bfd_stays_as_it_is(tmp_path: Path) -> None:
    with twin_bridges() as tw:
        tw.ovs.vsctl("set", "Interface", tw.device(1, FIRST), "bfd:enable=false", "bfd:min_tx=300")
        with controlled(tw, tmp_path / "state"):
            wait_until(lambda: protected(2), 20, status)
            assert (2, SECOND) in status().up
            assert "somebody else" in status().unprotected[1, FIRST]
            assert tw.interface(1, FIRST, "bfd") == '{enable="false", min_tx="300"}'
            assert tw.interface(2, FIRST, "bfd") == "{}"


def test_a_lost_database_is_found_again_and_does_not_make_links_dead(tmp_path: Path) -> None:
    with twin_bridges() as tw, controlled(tw, tmp_path / "state"):
        wait_until(lambda: protected(4), 20, status)
        control = str(tw.ovs.directory / "ovsdb-server.ctl")
        run(["ovs-appctl", "-t", control, "ovsdb-server/reconnect"], tw.ovs.environment)
        wait_until(lambda: protected(4), 20, status)
        assert len(network().links) == 4


def test_a_switch_says_what_it_can_do(tmp_path: Path) -> None:
    with twin_bridges(links=1) as tw, controlled(tw, tmp_path / "state"):
        facts = wait_until(lambda: ask("Capability", CapabilitiesRequest()).get(1), 10, "what the switch can do")
        assert facts.meters is not None and facts.meters.drop and facts.meters.burst
        assert facts.fast_failover_groups and facts.tables > 4


def test_a_lab_is_protected_where_its_database_is_given(tmp_path: Path) -> None:
    with running_fabric(ring(3), tmp_path / "state", "--ovsdb", database()) as fabric:
        wait_until(lambda: _live_bfd(fabric.lab) == 6, 30, fabric.controller.log_tail)
        fabric.lab.link(*fabric.lab.topology.node_names[:2]).cut(silent=True)
        wait_until(lambda: "reason=bfd_down" in fabric.controller.log(), 2, fabric.controller.log_tail)


def _live_bfd(lab: Lab) -> int:
    """How many sessions of the lab's bridges are up at the full rate."""
    # A port to a host has no session, which ovs-appctl calls an error.
    ports = [device for device in devices.names() if device.startswith(lab.prefix)]
    shown = [run(["ovs-appctl", "bfd/show", device], check=False) for device in ports]
    return sum(f"RX Interval: Approx {BFD_MS}ms" in one and "Local Session State: up" in one for one in shown)


def test_a_guarantee_holds_on_a_full_port_and_its_counters_prove_it(tmp_path: Path) -> None:
    port, queue = (1, FIRST), ((1, FIRST), 1)
    # So little traffic, and so patient a BFD, that a busy machine keeps up: what is tested is the port.
    with twin_bridges(links=1) as tw, controlled(tw, tmp_path / "state", bfd_ms=100):
        wait_until(lambda: ask("Ovsdb", QueueFactsRequest(port)).settable, 10, status)
        for host in tw.hosts:
            # Both are known before it counts: nobody may send to a host that was never seen.
            run(["mnexec", "-a", str(host.pid), "ping", "-c1", "-W1", "10.77.0.9"], check=False)
        wait_until(lambda: len(network().hosts) == 2, 10, network)
        wait_until(lambda: protected(2), 20, status)
        flaps = tw.interface(*port, "bfd_status:flap_count")
        with Flood(*tw.hosts, 4.0, 0, 0) as best_effort, Flood(*tw.hosts, 1.1, DSCP, 1) as guaranteed:
            wait_until(lambda: guaranteed.received > 100, 10, "packets pass")
            wanted = PortQueues(2.0, (Queue(1, 1.0, dscp=DSCP),))
            _post(WantQueues("test", {port: wanted}))
            wait_until(lambda: _counts(queue), 15, status)
            assert guaranteed.share_of(1.0, 4.0) >= 0.9
            assert best_effort.mbps(2.0) <= 1.1
            assert tw.interface(*port, "bfd_status:flap_count") == flaps, "a full port is no dead link"
        _post(WantQueues("test", {}))
        wait_until(lambda: tw.ovs.vsctl("get", "Port", tw.device(*port), "qos").strip() == "[]", 5, "it is gone")
        assert not tw.ovs.vsctl("--columns=_uuid", "list", "QoS", "--", "--columns=_uuid", "list", "Queue").strip()


def test_filters_that_were_lost_are_set_again(tmp_path: Path) -> None:
    port = (1, HOST_PORT)
    with twin_bridges(links=1) as tw, controlled(tw, tmp_path / "state"):
        wait_until(lambda: ask("Ovsdb", QueueFactsRequest(port)).settable, 10, status)
        _post(WantQueues("test", {port: PortQueues(10.0, (Queue(1, 5.0, dscp=DSCP),))}))
        wait_until(lambda: _filters(tw, port) == FILTERS, 10, status)
        _tc(tw, "filter", "del", "dev", tw.device(*port), "parent", "1:")
        assert _filters(tw, port) == 0
        wait_until(lambda: _filters(tw, port) == FILTERS, 15, status)


def test_somebody_elses_qos_stays_and_nothing_is_claimed(tmp_path: Path) -> None:
    port = (1, FIRST)
    with twin_bridges(links=1) as tw, controlled(tw, tmp_path / "state"):
        qos = ("--", "--id=@q", "create", "QoS", "type=linux-htb", "other-config:max-rate=1000000")
        tw.ovs.vsctl("set", "Port", tw.device(*port), "qos=@q", *qos)
        _post(WantQueues("test", {port: PortQueues(10.0, (Queue(1, 5.0, dscp=DSCP),))}))
        wait_until(lambda: port in status().left_alone, 10, status)
        choice = status().enforced[port, 1]
        assert choice.by is Enforced.NONE and "somebody else" in choice.reason
        assert re.search(r"max-rate=\"?1000000", tw.ovs.vsctl("list", "QoS"))


def _post(event: WantQueues) -> None:
    from os_ken.base.app_manager import lookup_service_brick

    lookup_service_brick("Ovsdb").post(event)


def _counts(queue: tuple[tuple[int, int], int]) -> bool:
    choice = status().enforced.get(queue)
    return choice is not None and choice.by is Enforced.QUEUE and "grow" in choice.reason


def _tc(tw: TwinBridges, *words: str) -> str:
    return run(["nsenter", f"--net=/proc/{tw.pid}/ns/net", "tc", *words])


def _filters(tw: TwinBridges, port: tuple[int, int]) -> int:
    return _tc(tw, "filter", "show", "dev", tw.device(*port), "parent", "1:").count("flowid ")
