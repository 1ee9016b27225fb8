"""What a lab is made of, as a value: routers, the links between them, the hosts behind them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pathing.dataset import Dataset

NODES_MAX = 9999
"""Device names hold the dpid in four digits."""

LARGEST_RATE_MBPS = 20.0
SMALLEST_RATE_MBPS = 2.0
UNKNOWN_DELAY_MS = 2.0
QUEUE_MS = 50.0


class BadTopology(ValueError):
    """A topology no lab can be built from; the message names the element and the remedy."""


@dataclass(frozen=True)
class Node:
    """A router. `dpid` counts from 1 in node order."""

    name: str
    dpid: int
    latitude_deg: float | None = None
    longitude_deg: float | None = None


@dataclass(frozen=True)
class LabLink:
    """A link, alike in both directions; `loss` is a share of frames, `queue_ms` the buffer at that rate."""

    a: str
    b: str
    rate_mbps: float
    delay_ms: float
    loss: float = 0.0
    queue_ms: float = QUEUE_MS


@dataclass(frozen=True)
class LabHost:
    """A host and the router it hangs on."""

    name: str
    mac: str
    ip: str
    node: str
    dpid: int


@dataclass(frozen=True)
class LabTopology:
    """Routers, links, hosts. Raises BadTopology on unknown, doubled or impossible parts."""

    name: str
    nodes: tuple[Node, ...]
    links: tuple[LabLink, ...]
    hosts: tuple[LabHost, ...]

    def __post_init__(self) -> None:
        names = [node.name for node in self.nodes]
        if not 1 <= len(names) <= NODES_MAX:
            raise BadTopology(f"{self.name}: {len(names)} nodes; a lab has 1 to {NODES_MAX}")
        _each_once("node", names)
        _each_once("dpid", [node.dpid for node in self.nodes])
        _each_once("host", [host.name for host in self.hosts])
        _each_once("MAC", [host.mac for host in self.hosts])
        _each_once("IP", [host.ip for host in self.hosts])
        _each_once("link", [tuple(sorted((link.a, link.b))) for link in self.links])
        dpids = {node.name: node.dpid for node in self.nodes}
        for link in self.links:
            _check_link(link, dpids)
        for host in self.hosts:
            if dpids.get(host.node) != host.dpid:
                raise BadTopology(
                    f"host {host.name}: node {host.node!r} with dpid {host.dpid} is not in the topology"
                )

    @property
    def node_names(self) -> tuple[str, ...]:
        """The routers in dpid order."""
        return tuple(node.name for node in self.nodes)

    def host_of(self, node: str) -> LabHost:
        """Return the first host behind a router; raises KeyError."""
        for host in self.hosts:
            if host.node == node:
                return host
        raise KeyError(f"no host behind {node!r}")


def _each_once(what: str, values: Sequence[object]) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise BadTopology(
                f"{what} {value!r} is there twice; give each its own, and join parallel links into one"
            )
        seen.add(value)


def _check_link(link: LabLink, dpids: dict[str, int]) -> None:
    where = f"link {link.a}-{link.b}"
    for end in (link.a, link.b):
        if end not in dpids:
            raise BadTopology(f"{where}: node {end!r} is not in the topology")
    if link.a == link.b:
        raise BadTopology(f"{where}: both ends are the same node; leave it out")
    if not (0 < link.rate_mbps < math.inf and 0 <= link.delay_ms < math.inf and 0 <= link.loss <= 1):
        raise BadTopology(f"{where}: needs rate_mbps > 0, delay_ms >= 0 and loss from 0 to 1, got {link}")
    if not 0 < link.queue_ms < math.inf:
        raise BadTopology(f"{where}: queue_ms={link.queue_ms} must be positive")


def hosts_for(nodes: Iterable[Node]) -> tuple[LabHost, ...]:
    """One host behind every router: `hNAME`, addresses from 10.0.0.0/16 and 02:00:00:00:00:00 up in node order."""
    return tuple(_host(position, node) for position, node in enumerate(nodes))


def _host(position: int, node: Node) -> LabHost:
    # 250 a block, so that no address ends in 0 or 255.
    ip = f"10.0.{position // 250}.{position % 250 + 1}"
    number = position + 1
    return LabHost(f"h{node.name}", f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}", ip, node.name, node.dpid)


def build(
    name: str,
    nodes: Iterable[str],
    links: Iterable[tuple[str, str]],
    rate_mbps: float,
    delay_ms: float,
    loss: float,
) -> LabTopology:
    """Give all links of a small topology the same figures."""
    made = tuple(Node(node, number) for number, node in enumerate(nodes, start=1))
    return LabTopology(
        name, made, tuple(LabLink(a, b, rate_mbps, delay_ms, loss) for a, b in links), hosts_for(made)
    )


def line(n: int, *, rate_mbps: float = 10.0, delay_ms: float = 1.0, loss: float = 0.0) -> LabTopology:
    """Join n routers s1..sn in a row: no cycle."""
    nodes = [f"s{i}" for i in range(1, n + 1)]
    return build(f"line-{n}", nodes, pairwise(nodes), rate_mbps, delay_ms, loss)


def ring(n: int, *, rate_mbps: float = 10.0, delay_ms: float = 1.0, loss: float = 0.0) -> LabTopology:
    """Join n >= 3 routers s1..sn in a circle."""
    if n < 3:
        raise BadTopology(f"a ring of {n} has no cycle; it takes at least 3")
    nodes = [f"s{i}" for i in range(1, n + 1)]
    return build(f"ring-{n}", nodes, zip(nodes, [*nodes[1:], nodes[0]], strict=True), rate_mbps, delay_ms, loss)


def grid(
    rows: int, columns: int, *, rate_mbps: float = 10.0, delay_ms: float = 1.0, loss: float = 0.0
) -> LabTopology:
    """Join rows x columns routers `sROW_COLUMN`, each linked to its right and lower neighbour."""
    cells = [(r, c) for r in range(1, rows + 1) for c in range(1, columns + 1)]
    pairs = [((r, c), (r, c + 1)) for r, c in cells if c < columns] + [
        ((r, c), (r + 1, c)) for r, c in cells if r < rows
    ]
    links = [(f"s{a[0]}_{a[1]}", f"s{b[0]}_{b[1]}") for a, b in pairs]
    return build(f"grid-{rows}x{columns}", [f"s{r}_{c}" for r, c in cells], links, rate_mbps, delay_ms, loss)


def scaled(topology: LabTopology, factor: float) -> LabTopology:
    """Return the same topology with every rate multiplied by `factor`."""
    if not 0 < factor < math.inf:
        raise BadTopology(f"scale={factor} must be positive")
    links = tuple(replace(link, rate_mbps=link.rate_mbps * factor) for link in topology.links)
    return replace(topology, links=links)


def from_dataset(
    dataset: Dataset,
    name: str,
    *,
    largest_mbps: float = LARGEST_RATE_MBPS,
    smallest_mbps: float = SMALLEST_RATE_MBPS,
    unknown_delay_ms: float = UNKNOWN_DELAY_MS,
) -> LabTopology:
    """Make a lab of a REPETITA or SNDlib network: one host per router, the largest capacity `largest_mbps`.

    A capacity that would fall under `smallest_mbps` is lifted to it. Parallel and opposite links between two
    routers become one: the larger of the two directions' sums, the shortest latency; where that is unknown,
    `unknown_delay_ms`.
    """
    topology, points = dataset.topology, dataset.coordinates
    nodes = tuple(
        Node(
            node, number, points[node][1] if node in points else None, points[node][0] if node in points else None
        )
        for number, node in enumerate(topology.node_names, start=1)
    )
    sums: dict[tuple[str, str], dict[str, float]] = {}
    delays: dict[tuple[str, str], float] = {}
    for link in topology.links():
        if link.src == link.dst:
            continue
        pair = (min(link.src, link.dst), max(link.src, link.dst))
        by_source = sums.setdefault(pair, {})
        by_source[link.src] = by_source.get(link.src, 0.0) + link.capacity_mbps
        delay_ms = unknown_delay_ms if link.latency_ms is None else link.latency_ms
        delays[pair] = min(delays.get(pair, math.inf), delay_ms)
    if not sums:
        raise BadTopology(f"{name}: no link between two nodes; give a file with links")
    capacity = {pair: max(both.values()) for pair, both in sums.items()}
    factor = largest_mbps / max(capacity.values())
    links = tuple(
        LabLink(a, b, max(smallest_mbps, rate * factor), delays[a, b]) for (a, b), rate in capacity.items()
    )
    return LabTopology(name, nodes, links, hosts_for(nodes))
