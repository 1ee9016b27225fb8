"""Readers of network files: the only place in this package that touches the disk."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pathing import graphml, repetita, sndlib
from pathing.dataset import Dataset
from pathing.errors import BadFile
from pathing.link import check_fields

# They stop a small gzip file from filling the memory. The largest real network (Kdl) has 0.3 MB, the largest real
# demands 0.9 MB; a demand for each pair of Kdl's 754 nodes would be 17 MB.
MAX_NETWORK_BYTES = 16 * 1024 * 1024
MAX_DEMAND_BYTES = 32 * 1024 * 1024

_GZIP_MAGIC = b"\x1f\x8b"

FilePath = str | os.PathLike[str]


def read_repetita(path: FilePath, demands: FilePath | None = None) -> Dataset:
    """Read a REPETITA `.graph` file and, when given, its `.demands` file; either may be gzipped.

    kbit/s become Mbit/s and microseconds become ms; the file's weight becomes `weight`. Raises `BadFile`.
    """
    dataset = repetita.parse_network(path, _text(path, MAX_NETWORK_BYTES))
    if demands is None:
        return dataset
    return replace(dataset, demands=read_repetita_demands(demands, dataset.topology.node_names))


def read_repetita_demands(path: FilePath, node_names: Sequence[str]) -> Mapping[tuple[str, str], float]:
    """Read a REPETITA `.demands` file, gzipped or not, for a network of any format; Mbit/s by node names.

    It calls nodes by their number, from 0 in the order of the network's file. Raises `BadFile`, also for a number
    beyond `node_names`.
    """
    return repetita.parse_demands(path, _text(path, MAX_DEMAND_BYTES), node_names)


def read_sndlib(path: FilePath, *, capacity_mbps: float | None = None) -> Dataset:
    """Read an SNDlib XML network with its demands, gzipped or not, as `sndlib.parse` does.

    `capacity_mbps` is that of links without any; None refuses such a file. Raises `BadFile`, and `TopologyError`
    for a `capacity_mbps` that is none.
    """
    if capacity_mbps is not None:
        check_fields("a link without capacity", {"capacity_mbps": capacity_mbps})
    return sndlib.parse(path, _bytes(path, MAX_NETWORK_BYTES), capacity_mbps)


def read_graphml(path: FilePath, *, capacity_mbps: float = 1.0) -> Dataset:
    """Read a GraphML network of the Topology Zoo, gzipped or not, as `graphml.parse` does.

    `capacity_mbps` is that of links whose edge has no speed. Raises `BadFile`, and `TopologyError` for a
    `capacity_mbps` that is none.
    """
    check_fields("a link without LinkSpeedRaw", {"capacity_mbps": capacity_mbps})
    return graphml.parse(path, _bytes(path, MAX_NETWORK_BYTES), capacity_mbps)


def _text(path: FilePath, most: int) -> str:
    try:
        return _bytes(path, most).decode("utf-8-sig")  # editors on Windows begin a text with a byte-order mark
    except UnicodeDecodeError as error:
        raise BadFile(path, f"byte {error.start}", "it is no text", "UTF-8") from error


def _bytes(path: FilePath, most: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(most + 1)
        if data.startswith(_GZIP_MAGIC):  # by content: names lie
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = packed.read(most + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:  # ValueError: a path that no file can have
        raise BadFile(path, "", f"cannot be read: {error}", "a readable file, plain or gzip") from error
    if len(data) > most:
        raise BadFile(path, "", f"it is larger than {most} bytes", "a smaller network")
    return data
