"""Topologies to and from networkx: the only place in this package that knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pathing.errors import TopologyError
from pathing.link import FLAGS, NUMBERS, check_fields
from pathing.topology import Topology

if TYPE_CHECKING:
    import networkx

_FIELDS = (*NUMBERS, *FLAGS, "srlg", "zone")


def to_networkx(topology: Topology) -> networkx.MultiDiGraph:
    """Give a copy as a networkx graph: nodes with their attributes, links with all their fields, ids as keys."""
    # It takes a quarter of a second to import, and few programs that find paths come here.
    import networkx

    graph = networkx.MultiDiGraph()
    for name in topology.node_names:
        graph.add_node(name)
        graph.nodes[name].update(topology.node_attributes(name))
    for link in topology.links():
        fields = {field: getattr(link, field) for field in _FIELDS}
        graph.add_edge(link.src, link.dst, key=link.id, **fields)
    return graph


def from_networkx(graph: networkx.Graph) -> Topology:
    """Give a copy of any networkx graph whose nodes are texts; an undirected edge becomes two links.

    Edge attributes are the fields of `Link` by their names, `capacity_mbps` among them. Links get their ids in
    the order of the edges or, where the keys of a multigraph are the numbers from 0 on, as from `to_networkx`,
    those as ids. Raises `TopologyError` naming the node or the edge.
    """
    topology = Topology()
    for node, attributes in graph.nodes(data=True):
        try:
            topology.add_node(node, **attributes)
        except TypeError as error:
            raise TopologyError(f"node {node!r}: its attributes cannot be taken over: {error}") from error
    for src, dst, fields in _edges(graph):
        _add_link(topology, src, dst, fields)
        if not graph.is_directed():
            _add_link(topology, dst, src, fields)
    return topology


def _edges(graph: Any) -> list[tuple[str, str, Mapping[str, object]]]:
    if not graph.is_multigraph():
        return list(graph.edges(data=True))
    edges = list(graph.edges(keys=True, data=True))
    if {key for _, _, key, _ in edges} == set(range(len(edges))):
        edges.sort(key=lambda edge: edge[2])
    return [(src, dst, fields) for src, dst, _, fields in edges]


def _add_link(topology: Topology, src: str, dst: str, fields: Mapping[str, Any]) -> None:
    edge = f"edge {src!r} - {dst!r}"
    if "capacity_mbps" not in fields:
        raise TopologyError(f"{edge}: it has no capacity_mbps; set it in Mbit/s on every edge")
    check_fields(edge, {name: value for name, value in fields.items() if name not in _FIELDS})
    at_start = {name: value for name, value in fields.items() if name != "utilisation"}
    link_id = topology.add_link(src, dst, **at_start)
    topology.set_link(link_id, utilisation=fields.get("utilisation", 0.0))
