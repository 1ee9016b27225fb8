"""The REPETITA text format: networks (`.graph`) and demands (`.demands`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pathing.dataset import Dataset, LonLat, are_lon_lat
from pathing.errors import BadFile, TopologyError
from pathing.topology import Topology

_KBIT_PER_MBIT = 1000.0
_US_PER_MS = 1000.0

_Row = tuple[int, list[str]]  # line number, fields


def parse_network(file: object, text: str) -> Dataset:
    """Read a network: nodes `label x y`, then edges `label src dest weight bw delay`.

    src and dest are positions in the node list. bw is taken as kbit/s and delay as microseconds: the format leaves
    the unit of bw open, these are those of its data set. Self-loops are left out with a note. Raises `BadFile`
    naming the line. Gay, Schaus, Vissicchio, "REPETITA", arXiv 1710.08665.
    """
    rows = _rows(text)
    nodes, rest = _section(file, rows, "NODES", "label x y")
    edges, rest = _section(file, rest, "EDGES", "label src dest weight bw delay")
    _require_end(file, rest)
    topology, notes = Topology(), []
    coordinates: dict[str, LonLat] = {}
    for line, (label, x, y) in nodes:
        try:
            topology.add_node(label)
        except TopologyError as error:
            raise BadFile(file, f"line {line}", str(error), "each node once") from error
        coordinates[label] = (_number(file, line, "x", x), _number(file, line, "y", y))
    names = topology.node_names
    for line, (label, src, dst, weight, bw, delay) in edges:
        source, target = _node(file, line, "src", src, names), _node(file, line, "dest", dst, names)
        if source == target:
            notes.append(f"line {line}: {label} left out, a loop from {source!r} to itself")
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
            raise BadFile(file, f"line {line}", str(error), "bw above 0, delay and weight of 0 or more") from error
    if not are_lon_lat(coordinates):
        notes.append("coordinates left out, x and y are no longitudes and latitudes")
        coordinates = {}
    return Dataset(topology, {}, coordinates, tuple(notes))


def parse_demands(file: object, text: str, names: Sequence[str]) -> Mapping[tuple[str, str], float]:
    """Read `DEMANDS n`, a heading, n rows `label src dest bw` (kbit/s) as Mbit/s; several of one pair add up.

    `names` are the network's nodes in file order. Raises `BadFile` naming the line.
    """
    demands, rest = _section(file, _rows(text), "DEMANDS", "label src dest bw")
    _require_end(file, rest)
    mbps: dict[tuple[str, str], float] = {}
    for line, (label, src, dst, bw) in demands:
        pair = _node(file, line, "src", src, names), _node(file, line, "dest", dst, names)
        if pair[0] == pair[1]:
            raise BadFile(file, f"line {line}", f"{label} goes from {pair[0]!r} to itself", "two different nodes")
        mbps[pair] = mbps.get(pair, 0.0) + _number(file, line, "bw", bw, least=0.0) / _KBIT_PER_MBIT
    return mbps


def _rows(text: str) -> list[_Row]:
    rows = [(line, content.split()) for line, content in enumerate(text.splitlines(), start=1)]
    return [row for row in rows if row[1]]


def _section(file: object, rows: list[_Row], keyword: str, heading: str) -> tuple[list[_Row], list[_Row]]:
    """Take one section off the front: its rows, checked for number and width, and what follows it."""
    expected = f"a line '{keyword} <number>', a heading '{heading}' and that many rows like it"
    if len(rows) < 2 or len(rows[0][1]) != 2 or rows[0][1][0] != keyword or not rows[0][1][1].isdecimal():
        place = f"line {rows[0][0]}" if rows else "end of file"
        raise BadFile(file, place, f"no {keyword} section starts here", expected)
    first, (_, count_text) = rows[0]
    # Compared as digits with the rows there are: a count of a million digits must not become a number.
    count = int(count_text) if len(count_text) < 10 else len(rows)
    body, rest = rows[2 : 2 + count], rows[2 + count :]
    if len(body) < count:
        raise BadFile(file, f"line {first}", f"{keyword} promises more rows than the {len(body)} left", expected)
    width = len(heading.split())
    for line, fields in body:
        if len(fields) != width:
            raise BadFile(file, f"line {line}", f"{len(fields)} fields", f"{width}: {heading}")
    return body, rest


def _require_end(file: object, rest: list[_Row]) -> None:
    if rest:
        raise BadFile(file, f"line {rest[0][0]}", "more rows than the section promises", "the end of the file")


def _number(file: object, line: int, name: str, text: str, least: float = -math.inf) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < least:
        expected = "a finite number" if least == -math.inf else f"a finite number, {least:g} or more"
        raise BadFile(file, f"line {line}", f"{name} is {text!r}", expected)
    return value


def _node(file: object, line: int, name: str, text: str, names: Sequence[str]) -> str:
    position = int(text) if text.isdecimal() and len(text) < 10 else len(names)
    if position >= len(names):
        raise BadFile(file, f"line {line}", f"{name} is {text!r}", f"a node number from 0 to {len(names) - 1}")
    return names[position]
