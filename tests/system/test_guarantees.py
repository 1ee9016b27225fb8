"""A stitch gets what it was promised on a full link, says by what, and leaves nothing behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mininet_topos.ovs import run
from mininet_topos.twin_bridges import TwinBridges, twin_bridges
from ryu_apps.app import ask
from ryu_apps.events import CreateStitch, DeleteStitch, SetCapacities, StitchesRequest
from stitching.application import Application
from stitching.bandwidth import BandwidthRequest
from stitching.guarantees import SHARED
from stitching.match import UDP
from stitching.stitch import State, Stitch, StitchRequest
from stitching.vm import VmRequest
from stitching.vnet import DEFAULT_VNET
from tests.system.flood import FIRST_PORT, Flood
from tests.system.test_ovsdb import FIRST, controlled, network, protected, status
from tests.system.waiting import wait_until

LINK_MBPS, PROMISED_MBPS = 2.0, 1.0
"""So little that a busy machine keeps up: what is tested is the port."""

PORT = (1, FIRST)


@contextlib.contextmanager
def guarded(tmp_path: Path) -> Iterator[TwinBridges]:
    """Two switches, a link between them whose capacity is known, a host on each; BFD and queues are there."""
    with twin_bridges(links=1) as tw, controlled(tw, tmp_path / "state", bfd_ms=200):
        for host in tw.hosts:
            # Both are known before it counts: nobody may send to a host that was never seen.
            run(["mnexec", "-a", str(host.pid), "ping", "-c1", "-W1", "10.77.0.9"], check=False)
        wait_until(lambda: len(network().hosts) == 2, 10, network)
        ask("Discovery", SetCapacities({(dpid, FIRST): LINK_MBPS for dpid in (1, 2)}))
        wait_until(lambda: protected(2), 20, status)
        wait_until(lambda: queues(tw) == [0, 61_439], 10, "the queue for control is there")
        yield tw


def queues(tw: TwinBridges) -> list[int]:
    """The numbers of the queues of the port."""
    device = tw.device(*PORT)
    if tw.ovs.vsctl("get", "Port", device, "qos").strip() == "[]":
        return []
    pairs = tw.ovs.vsctl("get", "QoS", device_qos(tw), "queues").strip()[1:-1].split(", ")
    return sorted(int(pair.split("=")[0]) for pair in pairs)


def device_qos(tw: TwinBridges) -> str:
    return tw.ovs.vsctl("get", "Port", tw.device(*PORT), "qos").strip()


def up(request: StitchRequest) -> Stitch:
    made = ask("Stitcher", CreateStitch(request))
    return wait_until(lambda: now(made.id) if now(made.id).state is State.UP else None, 10, "it is up")


def now(stitch_id: int) -> Stitch:
    return next(stitch for stitch in ask("Stitcher", StitchesRequest()) if stitch.id == stitch_id)


def enforced(stitch_id: int) -> bool:
    stitch = now(stitch_id)
    return stitch.enforced == "queue" and "grown at 1" in (stitch.enforced_why or "")


def application(tw: TwinBridges, flood: int, mbps: float) -> VmRequest:
    """What the first host sends in a flood is to have a path of its own."""
    packets = Application(UDP, None, FIRST_PORT + flood)
    one, other = (host.mac for host in tw.hosts)
    return VmRequest(one, other, mbps, both_ways=False, application=packets)


def test_an_application_gets_its_rate_on_a_full_link_as_long_as_its_stitch_is_there(tmp_path: Path) -> None:
    with guarded(tmp_path) as tw:
        flaps = tw.interface(*PORT, "bfd_status:flap_count")
        with Flood(*tw.hosts, 4.0, 0, 0), Flood(*tw.hosts, 1.1, 0, 1) as promised:
            stitch = up(application(tw, 1, PROMISED_MBPS))
            wait_until(lambda: enforced(stitch.id), 15, lambda: now(stitch.id).enforced_why)
            assert promised.share_of(PROMISED_MBPS, 4.0) >= 0.9
            assert tw.interface(*PORT, "bfd_status:flap_count") == flaps, "a full link is no dead link"
            ask("Stitcher", DeleteStitch(stitch.id))
            wait_until(lambda: queues(tw) == [0, 61_439], 10, lambda: queues(tw))
            assert promised.share_of(PROMISED_MBPS, 3.0) < 0.8, "nothing is kept for it any more"


def test_whoever_sends_more_than_it_was_promised_takes_nothing_from_the_promise_of_another(tmp_path: Path) -> None:
    with guarded(tmp_path) as tw:
        with Flood(*tw.hosts, 4.0, 0, 0), Flood(*tw.hosts, 1.1, 46, 1) as promised:
            between = BandwidthRequest(
                DEFAULT_VNET, DEFAULT_VNET, guarantee_mbps=PROMISED_MBPS, bandwidth_mbps=PROMISED_MBPS
            )
            stitches = [up(application(tw, 0, 0.5)), up(between)]
            for stitch in stitches:
                wait_until(lambda: enforced(stitch.id), 15, lambda: now(stitch.id).enforced_why)  # noqa: B023
            assert set(queues(tw)) == {0, 61_439, *(stitch.id for stitch in stitches)}
            assert SHARED not in queues(tw)
            assert promised.share_of(PROMISED_MBPS, 4.0) >= 0.9
        for stitch in stitches:
            ask("Stitcher", DeleteStitch(stitch.id))
        wait_until(lambda: queues(tw) == [0, 61_439], 10, lambda: queues(tw))
        assert "vlan_pcp" not in tw.ovs.ofctl("dump-flows", tw.bridge(1)), "no rule is left"
