"""The SNDlib XML format: nodes, undirected links with capacity modules, demands."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from pathing.dataset import Dataset, LonLat, are_lon_lat, great_circle_ms, latency_notes
from pathing.errors import BadFile, PathingError
from pathing.file_text import shortened, shown
from pathing.topology import Topology
from pathing.xml import number, read_root

_MBIT_PER_UNIT = {"KBITPERSEC": 1e-3, "MBITPERSEC": 1.0, "GBITPERSEC": 1e3}
_LONGEST_ID = 200


def parse(file: object, data: bytes, capacity_mbps: float | None = None) -> Dataset:
    """Read a network; each link becomes two directed ones with the full capacity.

    Demands stay as directed as they are written. Capacity is the pre-installed module or, when that is missing or
    0, the first additional one, once; a link without one gets `capacity_mbps` if that is given. Values are Mbit/s
    unless the file names another unit. With geographical coordinates the latency is that of a straight fibre, else
    unknown. `routingCost` becomes `cost`. What is assumed is noted. Raises `BadFile` naming the line or the
    element, also for an id that comes twice. Orlowski et al., "SNDlib 1.0", Networks 55(3), 2010.
    """
    root = read_root(file, data, "network", "an SNDlib network")
    assumed: list[str] = []
    left_out: list[str] = []
    scale = _scale(root, assumed)
    structure = _child(file, root, "networkStructure", "the file")
    topology, coordinates, names = Topology(), {}, set[str]()
    nodes = _child(file, structure, "nodes", "networkStructure")
    for node in nodes.iterfind("node"):
        name = _name(file, node)
        if name in names:
            raise BadFile(file, f"node {shown(name)}", "it is already there", "each node once")
        names.add(name)
        topology.add_node(name)
        if node.find("coordinates") is not None:
            where = f"node {shown(name)}"
            coordinates[name] = (
                _number(file, node, "coordinates/x", where),
                _number(file, node, "coordinates/y", where),
            )
    if nodes.get("coordinatesType") != "geographical" or not are_lon_lat(coordinates):
        left_out.append("coordinates left out, they are no longitudes and latitudes")
        coordinates = {}
    without, links = 0, set[str]()
    for link in _child(file, structure, "links", "networkStructure").iterfind("link"):
        _require_new(file, link, links)
        given = _capacity(file, link)
        without += given == 0
        each_mbps = given * scale or capacity_mbps
        if each_mbps is None:
            expected = "a preInstalledModule or an addModule with a capacity above 0, or one to assume"
            raise BadFile(file, f"link {shown(_name(file, link))}", "no capacity", expected)
        _add_link(file, topology, link, each_mbps, coordinates, left_out)
    if without:
        assumed.append(f"no capacity at {without} of its links, {capacity_mbps:g} Mbit/s assumed")
    notes = (*assumed, *latency_notes(topology, estimated=True), *left_out)
    return Dataset(topology, _demands(file, root, topology, scale), coordinates, notes)


def _scale(root: ElementTree.Element, notes: list[str]) -> float:
    unit = (root.findtext("meta/unit") or "").strip()
    if unit not in _MBIT_PER_UNIT:
        notes.append(f"unit {shown(unit)} taken as Mbit/s" if unit else "no unit given, Mbit/s assumed")
    return _MBIT_PER_UNIT.get(unit, 1.0)


def _require_new(file: object, element: ElementTree.Element, ids: set[str]) -> None:
    name = _name(file, element)
    if name in ids:
        raise BadFile(file, f"{element.tag} {shown(name)}", "it is already there", f"each {element.tag} once")
    ids.add(name)


def _add_link(
    file: object,
    topology: Topology,
    link: ElementTree.Element,
    capacity_mbps: float,
    coordinates: dict[str, LonLat],
    notes: list[str],
) -> None:
    where = f"link {shown(_name(file, link))}"
    a, b = _ends(file, link, topology, where)
    if a == b:
        notes.append(f"{where} left out, a loop from {shown(a)} to itself")
        return
    known = a in coordinates and b in coordinates
    latency_ms = great_circle_ms(coordinates[a], coordinates[b]) if known else None
    cost = _number(file, link, "routingCost", where) if link.find("routingCost") is not None else 1.0
    try:
        for src, dst in ((a, b), (b, a)):
            topology.add_link(src, dst, capacity_mbps=capacity_mbps, latency_ms=latency_ms, cost=cost)
    except PathingError as error:
        expected = "a capacity above 0 and costs of 0 or more"
        raise BadFile(file, where, shortened(str(error), 300), expected) from error


def _capacity(file: object, link: ElementTree.Element) -> float:
    """The capacity in the file's unit, 0 where it has none."""
    where = f"link {shown(_name(file, link))}"
    for tag in ("preInstalledModule/capacity", "additionalModules/addModule/capacity"):
        if link.find(tag) is not None and (capacity := _number(file, link, tag, where)) != 0:
            return capacity
    return 0.0


def _demands(
    file: object, root: ElementTree.Element, topology: Topology, scale: float
) -> dict[tuple[str, str], float]:
    mbps: dict[tuple[str, str], float] = {}
    ids: set[str] = set()
    for demand in root.iterfind("demands/demand"):
        _require_new(file, demand, ids)
        where = f"demand {shown(_name(file, demand))}"
        pair = _ends(file, demand, topology, where)
        if pair[0] == pair[1]:
            raise BadFile(file, where, f"it goes from {shown(pair[0])} to itself", "two different nodes")
        # routingUnit: how much capacity one unit of the demand takes.
        unit = _number(file, demand, "routingUnit", where) if demand.find("routingUnit") is not None else 1.0
        units = _number(file, demand, "demandValue", where)
        for tag, given in (("routingUnit", unit), ("demandValue", units)):
            if given < 0:
                raise BadFile(file, where, f"{tag} is {given:g}", "a finite number, 0 or more")
        value = units * unit * scale
        if math.isinf(value):
            raise BadFile(file, where, f"demandValue is {value:g} Mbit/s", "a finite number, 0 or more")
        mbps[pair] = mbps.get(pair, 0.0) + value
    return mbps


def _ends(file: object, element: ElementTree.Element, topology: Topology, where: str) -> tuple[str, str]:
    names = []
    for tag in ("source", "target"):
        name = (element.findtext(tag) or "").strip()
        expected = "the id of a node of this file"
        if len(name) > _LONGEST_ID:  # looking for ids like it would take long
            raise BadFile(file, where, f"{tag}: unknown node {shown(name)}", expected)
        try:
            topology.node_index(name)
        except PathingError as error:
            raise BadFile(file, where, f"{tag}: {shortened(str(error), 300)}", expected) from error
        names.append(name)
    return names[0], names[1]


def _child(file: object, parent: ElementTree.Element, tag: str, where: str) -> ElementTree.Element:
    child = parent.find(tag)
    if child is None:
        raise BadFile(file, where, f"no <{tag}> in it", "networkStructure with nodes and links")
    return child


def _name(file: object, element: ElementTree.Element) -> str:
    name = (element.get("id") or "").strip()
    if not name:
        raise BadFile(file, f"a <{element.tag}>", "it has no id", "an id attribute")
    if len(name) > _LONGEST_ID:
        raise BadFile(file, f"{element.tag} {shown(name)}", f"its id has {len(name)} characters", "a shorter id")
    return name


def _number(file: object, element: ElementTree.Element, tag: str, where: str) -> float:
    return number(file, where, tag, element.findtext(tag))
