"""Matrices of demands over time in an `.npz`, read with suspicion: what an array claims to be is checked first."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ryu_apps.forecasts.errors import BadSeries

FloatArray = npt.NDArray[np.float64]

FORMAT = "give an .npz with tm_mbps or tm (steps, nodes, nodes), and nodes and time where known"
_KEYS = ("tm_mbps", "tm")
_BYTES_MAX = 2**31
_KIND_NAMES = {"fiu": "numbers", "U": "text", "M": "times (datetime64)"}
# What zipfile, zlib and numpy's header reader raise on bytes that are no archive of arrays.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    SyntaxError,
    OverflowError,
    MemoryError,
    RuntimeError,  # a member that is encrypted; NotImplementedError, one packed in a way Python does not know
    zlib.error,
    struct.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, eq=False)
class Matrices:
    """`values` (T, n, n) as they stand in the file, [t, origin, destination]; `nodes` n names, or () without.

    `times` (T,) are seconds since 1970, NaN where the file's own is none, or None where it has none.
    """

    values: FloatArray
    nodes: tuple[str, ...]
    times: FloatArray | None


def read_matrices(path: Path) -> Matrices:
    """Read an `.npz` of demand matrices; pickled arrays are refused. Raises BadSeries."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            key = next((key for key in _KEYS if key in names), None)
            if key is None:
                has = ", ".join(sorted(names)[:8]) or "nothing"
                raise BadSeries(path, f"has no array tm_mbps or tm, only {has}", FORMAT)
            values = _array(path, archive, names[key], "fiu").astype(np.float64)
            nodes = _array(path, archive, names["nodes"], "U") if "nodes" in names else None
            moments = _array(path, archive, names["time"], "M") if "time" in names else None
    except BadSeries:
        raise
    except _UNREADABLE as error:
        raise BadSeries(path, f"not a readable .npz ({type(error).__name__}: {error})", FORMAT) from error
    if values.ndim != 3 or values.shape[1] != values.shape[2] or 0 in values.shape:
        raise BadSeries(path, f"the matrices have shape {values.shape}", "they must be (steps, nodes, nodes)")
    labels = () if nodes is None else tuple(str(node) for node in nodes.ravel())
    if labels and (len(labels) != values.shape[1] or len(set(labels)) != len(labels)):
        raise BadSeries(
            path, f"{len(labels)} node names for {values.shape[1]} rows", "give a different one a row, or none"
        )
    if moments is not None and moments.shape != values.shape[:1]:
        raise BadSeries(
            path, f"time has shape {moments.shape} for {values.shape[0]} matrices", "give one a matrix, or none"
        )
    return Matrices(values, labels, None if moments is None else _seconds(moments))


def _seconds(moments: npt.NDArray[np.generic]) -> FloatArray:
    known = ~np.isnat(moments)
    exact = np.where(known, moments, np.datetime64(0, "s")).astype("datetime64[ms]").astype(np.int64)
    seconds: FloatArray = np.where(known, exact / 1000.0, np.nan)
    return seconds


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, kinds: str) -> npt.NDArray[np.generic]:
    """Read one array; pickles, wrong kinds and sizes that the file cannot hold are refused by its header."""
    if info.file_size > _BYTES_MAX:
        raise BadSeries(path, f"{info.filename} claims {info.file_size} bytes", "split the file")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(member)
    if dtype.hasobject:
        raise BadSeries(
            path, f"{info.filename} holds pickled objects, which are not opened", "save plain numbers and text"
        )
    if dtype.kind not in kinds:
        raise BadSeries(path, f"{info.filename} has type {dtype}", f"expected {_KIND_NAMES[kinds]}")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize > info.file_size:
        raise BadSeries(
            path, f"{info.filename} claims shape {shape}, more than it holds", "the file is damaged, get it again"
        )
    with archive.open(info) as member:
        array: npt.NDArray[np.generic] = np.lib.format.read_array(member, allow_pickle=False)
    return array
