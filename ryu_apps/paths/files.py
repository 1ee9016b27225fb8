"""Files that users name: which kind of network one is, the demands that go with it, and where output goes."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import replace
from pathlib import Path

from pathing.dataset import Dataset
from pathing.errors import BadFile
from pathing.readers import read_graphml, read_repetita, read_sndlib

_KINDS = "a network: REPETITA .graph, SNDlib XML or GraphML, plain or gzipped"
_PEEK_BYTES = 4096


def read_network(file: Path) -> Dataset:
    """Read a network of any kind: told by the name, and by the first bytes where that says nothing.

    Raises `BadFile`.
    """
    suffix, start = _suffix(file), _start(file)
    if suffix == ".graphml" or b"<graphml" in start:
        return read_graphml(file)
    if suffix == ".graph" or start.lstrip().startswith(b"NODES"):
        return read_repetita(file)
    if suffix == ".xml" or start.lstrip().startswith(b"<"):
        return read_sndlib(file)
    raise BadFile(file, "", "neither its name nor its first bytes say what it is", _KINDS)


def read_demands(dataset: Dataset, network: Path, file: Path | None) -> Dataset:
    """Give the network with the demands of `file` or, without one, with its own; raises `BadFile` without any."""
    if file is None:
        if not dataset.demands:
            raise BadFile(network, "", "no demands in it", "a network with demands, or --demands FILE")
        return dataset
    if _start(file).lstrip().startswith(b"DEMANDS"):
        # They name nodes by their place in the .graph file.
        if _suffix(network) != ".graph":
            raise BadFile(file, "", f"it numbers the nodes of a .graph file, and {network} is none", "SNDlib XML")
        return read_repetita(network, file)
    demands = read_sndlib(file).demands
    known = set(dataset.topology.node_names)
    for pair in demands:
        for node in pair:
            if node not in known:
                raise BadFile(
                    file, f"demand {pair[0]!r} -> {pair[1]!r}", f"no node {node!r} in {network}", "its nodes"
                )
    return replace(dataset, demands=demands)


def require_writable(file: Path | None) -> None:
    """Raise OSError now, not after minutes of work, where `file` could not be written."""
    if file is None:
        return
    if file.is_dir():
        raise IsADirectoryError(f"{file}: it is a directory; give the name of a file")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PermissionError(f"{file}: it cannot be written; give a file in a directory that is there and yours")


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
