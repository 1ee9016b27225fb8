"""The REPETITA text format: networks (`.graph`) and demands (`.demands`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from pathing import file_text
from pathing.dataset import Dataset, LonLat, are_lon_lat
from pathing.errors import BadFile, TopologyError
from pathing.file_text import shortened, shown
from pathing.topology import Topology

_KBIT_PER_MBIT = 1000.0
_US_PER_MS = 1000.0
# A node or a link takes hundreds of bytes, a demand tens; a demand for each pair of 754 nodes makes 0.6 million.
_MAX_NETWORK_LINES = 250_000
_MAX_DEMAND_LINES = 1_000_000

_Row = tuple[int, str]  # line number, what it says


def parse_network(file: object, text: str) -> Dataset:
    """Read a network: nodes `label x y`, then edges `label src dest weight bw delay`.

    src and dest are positions in the node list. bw is taken as kbit/s and delay as microseconds: the format leaves
    the unit of bw open, these are those of its data set. Self-loops are left out with a note. Raises `BadFile`
    naming the line, also for a label that comes twice. Gay, Schaus, Vissicchio, "REPETITA", arXiv 1710.08665.
    """
    rows = _rows(file, text, _MAX_NETWORK_LINES)
    nodes, rest = _section(file, rows, "NODES", "label x y")
    edges, rest = _section(file, rest, "EDGES", "label src dest weight bw delay")
    _require_end(file, rest)
    topology, notes = Topology(), []
    coordinates: dict[str, LonLat] = {}
    for line, (label, x, y) in nodes:
        if label in coordinates:
            raise BadFile(file, f"line {line}", f"node {shown(label)} is already there", "each node once")
        topology.add_node(label)
        coordinates[label] = (_number(file, line, "x", x), _number(file, line, "y", y))
    names = topology.node_names
    labels: set[str] = set()
    for line, (label, src, dst, weight, bw, delay) in edges:
        _require_new(file, line, "edge", label, labels)
        source, target = _node(file, line, "src", src, names), _node(file, line, "dest", dst, names)
        if source == target:
            notes.append(f"line {line}: {shortened(label)} left out, a loop from {shown(source)} to itself")
            continue
        try:
            topology.add_link(
                source,
                target,
                capacity_mbps=_number(file, line, "bw", bw) / _KBIT_PER_MBIT,
                latency_ms=_number(file, line, "delay", delay) / _US_PER_MS,
                weight=_number(file, line, "weight", weight),
            )
        except TopologyError as error:
            expected = "bw above 0, delay and weight of 0 or more"
            raise BadFile(file, f"line {line}", shortened(str(error), 300), expected) from error
    if not are_lon_lat(coordinates):
        notes.append("coordinates left out, x and y are no longitudes and latitudes")
        coordinates = {}
    return Dataset(topology, {}, coordinates, tuple(notes))


def parse_demands(file: object, text: str, names: Sequence[str]) -> Mapping[tuple[str, str], float]:
    """Read `DEMANDS n`, a heading, n rows `label src dest bw` (kbit/s) as Mbit/s; several of one pair add up.

    `names` are the network's nodes in file order. Raises `BadFile` naming the line, also for a label that comes
    twice.
    """
    demands, rest = _section(file, _rows(file, text, _MAX_DEMAND_LINES), "DEMANDS", "label src dest bw")
    _require_end(file, rest)
    mbps: dict[tuple[str, str], float] = {}
    labels: set[str] = set()
    for line, (label, src, dst, bw) in demands:
        _require_new(file, line, "demand", label, labels)
        pair = _node(file, line, "src", src, names), _node(file, line, "dest", dst, names)
        if pair[0] == pair[1]:
            problem = f"{shortened(label)} goes from {shown(pair[0])} to itself"
            raise BadFile(file, f"line {line}", problem, "two different nodes")
        mbps[pair] = mbps.get(pair, 0.0) + _number(file, line, "bw", bw, least=0.0) / _KBIT_PER_MBIT
    return mbps


def _rows(file: object, text: str, most: int) -> list[_Row]:
    # Counted before they are split: each line takes far more memory than its bytes.
    if text.count("\n") > most:
        raise BadFile(file, f"line {most + 1}", f"it has more than {most} lines", "a smaller network")
    return [(line, content) for line, content in enumerate(text.split("\n"), start=1) if content.strip()]


def _section(
    file: object, rows: list[_Row], keyword: str, heading: str
) -> tuple[Iterator[tuple[int, list[str]]], list[_Row]]:
    """Take one section off the front: its rows' fields, checked for their number, and what follows it."""
    expected = f"a line '{keyword} <number>', a heading '{heading}' and that many rows like it"
    begin = _fields(rows[0], 2) if rows else []
    if len(rows) < 2 or len(begin) != 2 or begin[0] != keyword or not begin[1].isdecimal():
        place = f"line {rows[0][0]}" if rows else "end of file"
        raise BadFile(file, place, f"no {keyword} section starts here", expected)
    # Compared as digits with the rows there are: a count of a million digits must not become a number.
    count = int(begin[1]) if len(begin[1]) < 10 else len(rows)
    body, rest = rows[2 : 2 + count], rows[2 + count :]
    if len(body) < count:
        problem = f"{keyword} promises more rows than the {len(body)} left"
        raise BadFile(file, f"line {rows[0][0]}", problem, expected)
    return _split(file, body, heading), rest


def _split(file: object, rows: list[_Row], heading: str) -> Iterator[tuple[int, list[str]]]:
    width = len(heading.split())
    for row in rows:
        fields = _fields(row, width)
        if len(fields) != width:
            found = f"{len(fields)} fields" if len(fields) < width else f"more than {width} fields"
            raise BadFile(file, f"line {row[0]}", found, f"{width}: {heading}")
        yield row[0], fields


def _fields(row: _Row, width: int) -> list[str]:
    """Split a row, no farther than to see that it has more than `width` fields."""
    return row[1].split(maxsplit=width)


def _require_end(file: object, rest: list[_Row]) -> None:
    if rest:
        raise BadFile(file, f"line {rest[0][0]}", "more rows than the section promises", "the end of the file")


def _require_new(file: object, line: int, kind: str, label: str, labels: set[str]) -> None:
    if label in labels:
        raise BadFile(file, f"line {line}", f"{kind} {shown(label)} is already there", f"each {kind} once")
    labels.add(label)


def _number(file: object, line: int, name: str, text: str, least: float = -math.inf) -> float:
    value = file_text.number(text)
    if math.isnan(value) or value < least:
        expected = "a finite number" if least == -math.inf else f"a finite number, {least:g} or more"
        raise BadFile(file, f"line {line}", f"{name} is {shown(text)}", expected)
    return value


def _node(file: object, line: int, name: str, text: str, names: Sequence[str]) -> str:
    position = int(text) if text.isdecimal() and len(text) < 10 else len(names)
    if position >= len(names):
        raise BadFile(
            file, f"line {line}", f"{name} is {shown(text)}", f"a node number from 0 to {len(names) - 1}"
        )
    return names[position]
