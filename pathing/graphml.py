"""The GraphML format as the Internet Topology Zoo writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from pathing.dataset import Dataset, LonLat, are_lon_lat, great_circle_ms, latency_notes
from pathing.errors import BadFile, PathingError
from pathing.file_text import shortened, shown
from pathing.topology import Topology
from pathing.xml import number, read_root

_BITS_PER_MBIT = 1e6
_KIND = "a GraphML network"


@dataclass(frozen=True, slots=True)
class _Edge:
    """One <edge>: how to name it in messages, its ends by node name, whether it is one way, and its data."""

    where: str
    src: str
    dst: str
    directed: bool
    data: Mapping[str, str]


def parse(file: object, data: bytes, capacity_mbps: float) -> Dataset:
    """Read a network; an undirected edge becomes two directed links with the full capacity.

    A node is called by its label. Nodes that share one are called "label (id)", a node without one by its id;
    should that not tell them apart, all are called by their id. `LinkSpeedRaw` is bit/s; edges without it get
    `capacity_mbps`, with a note. With coordinates at both ends the latency is that of a straight fibre, else
    unknown, with notes. Parallel edges are kept, self-loops left out with a note. Raises `BadFile` naming the line
    or the element. Brandes et al., "GraphML Progress Report", Graph Drawing 2001; Knight et al., "The Internet
    Topology Zoo", IEEE JSAC 29(9), 2011.
    """
    root = read_root(file, data, "graphml", _KIND)
    keys = _keys(file, root)
    graph = _graph(file, root)
    names, coordinates = _nodes(file, graph, keys)
    topology, notes = Topology(), []
    for node_id, name in names.items():
        topology.add_node(name, graphml_id=node_id)
    if coordinates and not are_lon_lat(coordinates):
        notes.append("coordinates left out, they are no longitudes and latitudes")
        coordinates = {}
    assumed = total = 0
    for edge in _edges(file, graph, keys, names):
        if edge.src == edge.dst:
            notes.append(f"{edge.where} left out, a loop from {shown(edge.src)} to itself")
            continue
        total += 1
        assumed += "LinkSpeedRaw" not in edge.data
        _add_links(file, topology, edge, coordinates, capacity_mbps)
    said = [f"no LinkSpeedRaw at {assumed} of {total} edges, {capacity_mbps:g} Mbit/s assumed"] if assumed else []
    return Dataset(topology, {}, coordinates, (*said, *latency_notes(topology, estimated=True), *notes))


def _keys(file: object, root: ElementTree.Element) -> dict[str, str]:
    """Attribute names by key id; keys without a name (drawing programs have them) give an empty one."""
    keys: dict[str, str] = {}
    for key in root.iterfind("key"):
        key_id = _attribute(file, key, "id", "a <key>")
        if key_id in keys:
            raise BadFile(file, f"key {shown(key_id)}", "it is declared twice", "each key once")
        keys[key_id] = key.get("attr.name") or ""
    return keys


def _graph(file: object, root: ElementTree.Element) -> ElementTree.Element:
    graphs = root.findall(".//graph")
    if len(graphs) != 1:
        raise BadFile(file, "the file", f"it has {len(graphs)} <graph> elements", "one graph, none nested in it")
    if graphs[0].find("hyperedge") is not None:
        raise BadFile(file, "a <hyperedge>", "it is no link", "edges with two ends")
    return graphs[0]


def _nodes(
    file: object, graph: ElementTree.Element, keys: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, LonLat]]:
    """Names by node id, in file order, and the coordinates by name."""
    labels: dict[str, str] = {}
    places: dict[str, LonLat] = {}
    for node in graph.iterfind("node"):
        node_id = _attribute(file, node, "id", "a <node>")
        where = f"node {shown(node_id)}"
        if node_id in labels:
            raise BadFile(file, where, "it is there twice", "each node once")
        data = _data(file, node, keys, where)
        labels[node_id] = data.get("label") or node_id
        if "Longitude" in data and "Latitude" in data:
            places[node_id] = (
                number(file, where, "Longitude", data["Longitude"]),
                number(file, where, "Latitude", data["Latitude"]),
            )
    names = _unique(labels)
    return names, {names[node_id]: place for node_id, place in places.items()}


def _unique(labels: Mapping[str, str]) -> dict[str, str]:
    count = Counter(labels.values())
    names = {node: label if count[label] == 1 else f"{label} ({node})" for node, label in labels.items()}
    # A label can look like "label (id)" itself.
    return names if len(set(names.values())) == len(names) else {node: node for node in labels}


def _edges(
    file: object, graph: ElementTree.Element, keys: Mapping[str, str], names: Mapping[str, str]
) -> Iterator[_Edge]:
    default = graph.get("edgedefault")
    if default not in {"directed", "undirected"}:
        raise BadFile(file, "the <graph>", f"edgedefault is {shown(default)}", "'directed' or 'undirected'")
    for position, edge in enumerate(graph.iterfind("edge"), start=1):
        where = f"edge {position} ({shown(edge.get('source'))} to {shown(edge.get('target'))})"
        ends = []
        for end in ("source", "target"):
            node_id = _attribute(file, edge, end, where)
            if node_id not in names:
                raise BadFile(file, where, f"no node has the id {shown(node_id)}", "the id of a node of this file")
            ends.append(names[node_id])
        directed = edge.get("directed", "true" if default == "directed" else "false")
        if directed not in {"true", "false"}:
            raise BadFile(file, where, f"directed is {shown(directed)}", "'true' or 'false'")
        yield _Edge(where, ends[0], ends[1], directed == "true", _data(file, edge, keys, where))


def _add_links(
    file: object, topology: Topology, edge: _Edge, coordinates: Mapping[str, LonLat], default_mbps: float
) -> None:
    capacity_mbps = default_mbps
    if "LinkSpeedRaw" in edge.data:
        capacity_mbps = number(file, edge.where, "LinkSpeedRaw", edge.data["LinkSpeedRaw"]) / _BITS_PER_MBIT
    known = edge.src in coordinates and edge.dst in coordinates
    latency_ms = great_circle_ms(coordinates[edge.src], coordinates[edge.dst]) if known else None
    ways = [(edge.src, edge.dst)] if edge.directed else [(edge.src, edge.dst), (edge.dst, edge.src)]
    try:
        for src, dst in ways:
            topology.add_link(src, dst, capacity_mbps=capacity_mbps, latency_ms=latency_ms)
    except PathingError as error:
        raise BadFile(file, edge.where, shortened(str(error), 300), "LinkSpeedRaw above 0") from error


def _data(file: object, element: ElementTree.Element, keys: Mapping[str, str], where: str) -> dict[str, str]:
    """What the <data> of an element says, by attribute name, spaces around it off; empty ones left out."""
    said: dict[str, str] = {}
    for data in element.iterfind("data"):
        key_id = data.get("key") or ""
        if key_id not in keys:
            raise BadFile(file, where, f"its <data> has the key {shown(key_id)}", "the id of a <key> of this file")
        if text := (data.text or "").strip():
            said[keys[key_id]] = text
    return said


def _attribute(file: object, element: ElementTree.Element, name: str, where: str) -> str:
    text = (element.get(name) or "").strip()
    if not text:
        raise BadFile(file, where, f"it has no {name}", f"{_KIND} where it has one")
    return text
