"""A protected stitch between two hosts on real switches without a controller: a link may fall silent."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from mininet_topos import devices
from mininet_topos.lab import Lab
from mininet_topos.ovs import database, run
from mininet_topos.topology import ring
from tests.system.controller import Fabric, running_fabric
from tests.system.frames import ears, frame, send
from tests.system.waiting import wait_until

BFD_MS = 100
"""So patient that a busy machine keeps up."""

N_SWITCHES = 4


@pytest.fixture
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fabric, dict[str, Any]]]:
    """A ring with a protected stitch across it, links that are watched by BFD, and no controller any more."""
    state = tmp_path_factory.mktemp("vm") / "state"
    options = ("--ovsdb", database(), "--bfd-ms", str(BFD_MS))
    with running_fabric(ring(N_SWITCHES), state, *options) as fabric:
        fabric.wait_for_links("path_latency_ms")
        wait_until(lambda: watched(fabric.lab) == 2 * N_SWITCHES, 30, fabric.controller.log_tail)
        one, other = ends(fabric)
        body = {"source": one.mac, "destination": other.mac, "bandwidth_mbps": 1.0, "protection": "node"}
        answer = fabric.controller.api.post("/v1/stitches", params={"wait": "up", "wait_s": 10}, json=body)
        assert answer.status_code == 201 and answer.json()["state"] == "up", answer.text
        assert fabric.lab.ping(one.name, other.name), "they know each other's address"
        fabric.controller.kill9()
        yield fabric, answer.json()


def ends(fabric: Fabric) -> tuple[Any, Any]:
    """Two hosts that are not neighbours."""
    hosts = fabric.lab.hosts()
    return hosts[0], hosts[2]


def watched(lab: Lab) -> int:
    """How many ports have a BFD session that is up."""
    ports = [device for device in devices.names() if device.startswith(lab.prefix)]
    # A port to a host has no session, which ovs-appctl calls an error.
    shown = [run(["ovs-appctl", "bfd/show", device], check=False) for device in ports]
    return sum(f"RX Interval: Approx {BFD_MS}ms" in one and "Local Session State: up" in one for one in shown)


def passes(fabric: Fabric) -> bool:
    """Whether packets come across in both directions."""
    both = ends(fabric)
    with ears(*both) as heard:
        for source, target in (both, both[::-1]):
            send(source, frame(source.mac, target.mac))
        return all(wait_until_heard(heard[host.name]) for host in both)


def wait_until_heard(ear: Any) -> bool:
    try:
        wait_until(ear.listen, 0.5, "a packet", poll_s=0.01)
    except AssertionError:
        return False
    return True


def test_any_link_of_its_path_may_fall_silent(protected: tuple[Fabric, dict[str, Any]]) -> None:
    fabric, stitch = protected
    assert stitch["backup"]
    assert passes(fabric)
    routers = fabric.path(stitch)
    for one, other in itertools.pairwise(routers):
        link = fabric.lab.link(one, other)
        link.cut(silent=True)
        wait_until(lambda: passes(fabric), 5, f"packets go round {one}-{other}")
        assert passes(fabric), "and go on doing so"
        link.restore()
        wait_until(lambda: watched(fabric.lab) == 2 * N_SWITCHES, 15, "the link is alive again")
        assert passes(fabric)


def test_hosts_that_know_each_other_are_still_answered_when_they_ask_whether_the_other_is_there(
    protected: tuple[Fabric, dict[str, Any]],
) -> None:
    fabric, _ = protected
    for host, asked in (ends(fabric), ends(fabric)[::-1]):
        shown = ["ip", "neigh", "show", asked.ip, "dev", "eth0"]
        # As the kernel does by itself when an entry has become old: it asks the other alone.
        begin = ["ip", "neigh", "change", asked.ip, "lladdr", asked.mac, "dev", "eth0", "nud", "probe"]
        assert fabric.lab.run_in(host.name, begin).returncode == 0

        def state(host: Any = host, shown: list[str] = shown) -> str:
            return fabric.lab.run_in(host.name, shown).stdout

        wait_until(lambda state=state: "REACHABLE" in state(), 5, state)  # type: ignore[misc]
