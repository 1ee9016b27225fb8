"""A switch inside a place of the lab: its hosts reach each other, and all of it ends with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mininet_topos.handles import LabError
from mininet_topos.overlay.bridge import SiteBridge
from mininet_topos.overlay.enclosure import Enclosure


@pytest.fixture
def place() -> Iterator[Enclosure]:
    enclosure = Enclosure("ber")
    yield enclosure
    enclosure.close()


def processes(place: Enclosure) -> list[str]:
    """What runs there that is not a zombie, which wait for an init that a real machine has."""
    lines = place.run(["ps", "-eo", "stat,comm", "--no-headers"]).splitlines()
    return sorted(line.split()[1] for line in lines if not line.startswith("Z") and not line.endswith(" ps"))


def links(place: Enclosure) -> str:
    return place.run(["ip", "-brief", "link"])


def test_hosts_behind_a_bridge_reach_each_other_and_nothing_is_left(place: Enclosure) -> None:
    before = processes(place), links(place)
    with SiteBridge(place, 7, fail_mode="standalone") as bridge:
        one = bridge.add_host("h1", "10.0.0.1/24", mac="02:00:00:00:00:01")
        other = bridge.add_host("h2", "10.0.0.2/24")
        assert one.mac != other.mac == other.handle.mac
        assert bridge.ports() == {"h1": one.port_no, "h2": other.port_no}
        assert not bridge.is_connected()
        one.enclosure.run(["ping", "-n", "-c1", "-W5", other.ip])
        assert "02:00:00:00:00:01" in other.enclosure.run(["ip", "neigh"])
        assert bridge.ofctl("show").splitlines()[0].endswith("dpid:0000000000000007")
        assert "ovs-vswitchd" in processes(place)
    assert (processes(place), links(place)) == before
    assert not bridge.directory.exists()
    assert not Path(f"/proc/{one.enclosure.pid}").exists()


def test_a_bridge_ends_with_its_place(place: Enclosure) -> None:
    bridge = SiteBridge(place, 7)
    place.close()
    bridge.close()
    assert not bridge.directory.exists()


def test_a_host_whose_name_is_taken_is_refused_and_leaves_the_other(place: Enclosure) -> None:
    with SiteBridge(place, 7, fail_mode="standalone") as bridge:
        first = bridge.add_host("h1", "10.0.0.1/24")
        with pytest.raises(LabError):
            bridge.add_host("h1", "10.0.0.2/24")
        assert Path(f"/proc/{first.enclosure.pid}").exists()
        assert bridge.ports() == {"h1": first.port_no}
