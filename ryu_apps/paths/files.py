"""Files that users name: which kind of network one is, and the demands that go with it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pathing.dataset import Dataset
from pathing.errors import BadFile
from pathing.readers import read_graphml, read_repetita, read_repetita_demands, read_sndlib
from ryu_apps.paths.numbers import counted

_KINDS = "a network: REPETITA .graph, SNDlib XML or GraphML, plain or gzipped"
_DEMANDS = "demands: REPETITA .demands (it begins with DEMANDS) or SNDlib XML (<network> with <demands>)"
_PEEK_BYTES = 4096
_GRAPHML_MBPS = 1.0


def read_network(file: Path, capacity_mbps: float | None = None) -> Dataset:
    """Read a network of any kind: told by the name, and by the first bytes where that says nothing.

    `capacity_mbps` is for links that the file gives none for; a note says so where there are none.
    Raises `BadFile`.
    """
    dataset = _read_network(file, capacity_mbps)
    if capacity_mbps is None or any(f"{capacity_mbps:g} Mbit/s assumed" in note for note in dataset.notes):
        return dataset
    return replace(
        dataset, notes=("the file gives the capacity of every link, --capacity is not used", *dataset.notes)
    )


def _read_network(file: Path, capacity_mbps: float | None) -> Dataset:
    suffix, start = _suffix(file), _start(file)
    if suffix == ".graphml" or b"<graphml" in start:
        return read_graphml(file, capacity_mbps=capacity_mbps or _GRAPHML_MBPS)
    if suffix == ".graph" or start.lstrip().startswith(b"NODES"):
        return read_repetita(file)
    if suffix == ".xml" or start.lstrip().startswith(b"<"):
        return read_sndlib(file, capacity_mbps=capacity_mbps)
    raise BadFile(file, "", "neither its name nor its first bytes say what it is", _KINDS)


def read_demands(dataset: Dataset, network: Path, file: Path | None) -> Dataset:
    """Give the network with the demands of `file` or, without one, with its own; raises `BadFile` without any.

    REPETITA's name nodes by their number: from 0, in the order in which the network's file has them.
    """
    if file is None:
        if not dataset.demands:
            raise BadFile(network, "", "no demands in it", "a network with demands, or --demands FILE")
        return dataset
    start = _start(file).lstrip()
    if start.startswith(b"DEMANDS"):
        names = dataset.topology.node_names
        demands = read_repetita_demands(file, names)
        return replace(dataset, demands=demands, notes=(*_numbering(demands, len(names)), *dataset.notes))
    if not (start.startswith((b"<", b"\xef\xbb\xbf<")) and b"<network" in start):
        raise BadFile(file, "", "it has no demands", _DEMANDS)
    demands = read_sndlib(file, capacity_mbps=_GRAPHML_MBPS).demands  # links in it do not matter
    if not demands:
        raise BadFile(file, "", "it has no demands", _DEMANDS)
    known = set(dataset.topology.node_names)
    for pair in demands:
        for node in pair:
            if node not in known:
                raise BadFile(
                    file, f"demand {pair[0]!r} -> {pair[1]!r}", f"no node {node!r} in {network}", "its nodes"
                )
    return replace(dataset, demands=demands)


def _numbering(demands: Mapping[tuple[str, str], float], n_nodes: int) -> list[str]:
    """Say so where demands by number are for fewer nodes than there are: they may be those of another network."""
    named = len({node for pair in demands for node in pair})
    return [f"the demands name {named} of {counted(n_nodes, 'node')}"] if demands and named < n_nodes else []


def _suffix(file: Path) -> str:
    return Path(file.name.removesuffix(".gz")).suffix.lower()


def _start(file: Path) -> bytes:
    try:
        with file.open("rb") as plain:
            data = plain.read(_PEEK_BYTES)
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(file) as packed:
                return packed.read(_PEEK_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(file, "", f"cannot be read: {error}", "a readable file, plain or gzip") from error
    return data
