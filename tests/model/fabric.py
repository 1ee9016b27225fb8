"""Small fabrics for tests: join switches, put hosts on them, get the Network and the Directory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

from hypothesis import strategies as st

from pathing import Resources
from stitching.network import Host, Link, LinkKey, Network, Port, reverse
from stitching.vnet import DEFAULT_VNET, Directory, Member, VNet

CAPACITY_MBPS = 10.0


class Fabric:
    """A fabric under construction. Ports are numbered from 1 in the order they are used."""

    def __init__(self) -> None:
        self._ports: dict[int, int] = defaultdict(int)
        self._links: dict[LinkKey, Link] = {}
        self._hosts: dict[str, Host] = {}
        self._members: dict[str, list[Member]] = defaultdict(list)

    def switch(self, dpid: int) -> None:
        """A switch, which may stay without links."""
        self._ports[dpid] += 0

    def join(
        self,
        source: int,
        target: int,
        *,
        capacity_mbps: float | None = CAPACITY_MBPS,
        latency_ms: float | None = 1.0,
        back_ms: float | None = None,
        one_way: bool = False,
    ) -> LinkKey:
        """A wire between two switches; one_way leaves it unknown whether it works backwards. The link there."""
        key = (source, self._port(source), target, self._port(target))
        self._links[key] = Link(key, capacity_mbps, latency_ms)
        if not one_way:
            self._links[reverse(key)] = Link(
                reverse(key), capacity_mbps, latency_ms if back_ms is None else back_ms
            )
        return key

    def host(
        self, dpid: int, *, vnet: str = DEFAULT_VNET, name: str | None = None, beside: Host | None = None
    ) -> Host:
        """A host on a port of its own, or on the port of another."""
        number = len(self._hosts) + 1
        port_no = self._port(dpid) if beside is None else beside.port_no
        host = Host(f"02:00:00:00:00:{number:02x}", dpid, port_no, frozenset({f"10.0.0.{number}"}))
        self._hosts[host.mac] = host
        if vnet != DEFAULT_VNET:
            self._members[vnet].append(Member(host.mac, name or f"h{number}"))
        return host

    @property
    def network(self) -> Network:
        """What was built so far."""
        switches = {
            dpid: {
                n: Port(n, f"s{dpid}-{n}", f"06:00:00:00:{dpid:02x}:{n:02x}", up=True) for n in range(1, count + 1)
            }
            for dpid, count in self._ports.items()
        }
        return Network(switches, dict(self._links), dict(self._hosts))

    @property
    def directory(self) -> Directory:
        """The virtual networks of its hosts."""
        return Directory.of(VNet(name, tuple(members)) for name, members in self._members.items())

    def _port(self, dpid: int) -> int:
        self._ports[dpid] += 1
        return self._ports[dpid]


@dataclass(frozen=True)
class Lab:
    """A finished fabric."""

    network: Network
    directory: Directory

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts."""
        return tuple(self.network.hosts.values())

    def vnet(self, host: Host) -> str:
        """The virtual network of a host."""
        return self.directory.vnet_of(host)

    def friends(self) -> Iterator[tuple[Host, Host]]:
        """Every two hosts that may talk, in both orders."""
        return ((a, b) for a, b in permutations(self.hosts, 2) if self.vnet(a) == self.vnet(b))

    def strangers(self) -> Iterator[tuple[Host, Host]]:
        """Every two hosts that may not talk, in both orders."""
        return ((a, b) for a, b in permutations(self.hosts, 2) if self.vnet(a) != self.vnet(b))

    def resources(self) -> Resources[LinkKey]:
        """All capacity, nothing of it promised."""
        links = self.network.links.values()
        return Resources({link.key: link.capacity_mbps for link in links if link.capacity_mbps is not None})


# Zero, equal and unknown latencies make ties and unmeasured links common.
LATENCIES_MS = st.sampled_from([None, 0.0, 1.0, 1.0, 2.0, 5.5])


@st.composite
def labs(
    draw: st.DrawFn,
    *,
    least_switches: int = 1,
    least_hosts: int = 0,
    least_cycles: int = 0,
    loose_ends: bool = True,
) -> Lab:
    """Connected fabrics with cycles, parallel links and a few virtual networks.

    The spanning tree works both ways, further links may not. With loose_ends there may be one more switch that
    nothing leads to, and a cable from a switch to itself.
    """
    fabric = Fabric()
    dpids = draw(st.permutations(range(1, draw(st.integers(least_switches, 6)) + 1)))
    fabric.switch(dpids[0])
    for position, dpid in enumerate(dpids[1:], start=1):
        parent = dpids[draw(st.integers(0, position - 1))]
        fabric.join(parent, dpid, latency_ms=draw(LATENCIES_MS), back_ms=draw(LATENCIES_MS))
    if len(dpids) > 1:
        ends = st.permutations(dpids).map(lambda order: order[:2])
        for source, target in draw(st.lists(ends, min_size=least_cycles, max_size=6)):
            fabric.join(source, target, latency_ms=draw(LATENCIES_MS), one_way=draw(st.integers(0, 3)) == 0)
    if loose_ends and draw(st.booleans()):
        fabric.join(dpids[0], dpids[0])
        fabric.switch(len(dpids) + 1)
    _put_hosts(draw, fabric, dpids, least_hosts)
    return Lab(fabric.network, fabric.directory)


def _put_hosts(draw: st.DrawFn, fabric: Fabric, dpids: list[int], least_hosts: int) -> None:
    places: dict[tuple[int, str], Host] = {}
    for _ in range(draw(st.integers(least_hosts, 6))):
        place = draw(st.sampled_from(dpids)), draw(st.sampled_from([DEFAULT_VNET, "red", "blue"]))
        beside = places.get(place) if draw(st.integers(0, 4)) == 0 else None
        places[place] = fabric.host(place[0], vnet=place[1], beside=beside)
