"""Demand over time: one matrix a step, read from a file or made up, and put onto the routers of a lab."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mininet_topos.topology import LabTopology
from pathing.errors import BadFile
from pathing.readers import read_sndlib
from ryu_apps.forecasts.archive import read_matrices
from ryu_apps.forecasts.errors import BadSeries

FloatArray = npt.NDArray[np.float64]
Moment: TypeAlias = np.datetime64[dt.date | int | None]

DEFAULT_STEP_S = 300.0
_FORMATS = "give an .npz with tm_mbps (steps, nodes, nodes) or an SNDlib XML file, plain or gzipped"


class BadDemand(ValueError):
    """A demand that cannot be played; the message names the file or field, what is wrong and the remedy."""


@dataclass(frozen=True, eq=False)
class Demand:
    """`matrices` (steps, n, n) in Mbit/s, [t, origin, destination]; `nodes` n names, or () if the file has none.

    `step_s` seconds of data a step; `start` the time of the first, where known.
    """

    name: str
    matrices: FloatArray
    nodes: tuple[str, ...]
    step_s: float = DEFAULT_STEP_S
    start: Moment | None = None

    @property
    def steps(self) -> int:
        """The number of matrices."""
        return int(self.matrices.shape[0])

    def window(self, start: int, steps: int, scale: float = 1.0) -> Demand:
        """Cut `steps` matrices from index `start`, times `scale`; one matrix alone repeats. Raises BadDemand."""
        if not 0 < scale < math.inf:
            raise BadDemand(f"scale={scale}: must be a positive number")
        if self.steps == 1 and start == 0:
            cut = np.repeat(self.matrices, steps, axis=0)
        elif start < 0 or steps < 1 or start + steps > self.steps:
            raise BadDemand(
                f"{self.name}: steps {start} to {start + steps - 1} are outside the file, "
                f"which has 0 to {self.steps - 1}; "
                "choose an earlier start or fewer minutes"
            )
        else:
            cut = self.matrices[start : start + steps]
        begin = None if self.start is None else self.start + np.timedelta64(round(start * self.step_s), "s")
        return replace(self, matrices=cut * scale, start=begin)

    def index_of(self, start: str) -> int:
        """Turn a step index ("120") or an ISO time ("2004-03-02T19:00") into a step index; raises BadDemand."""
        if start.strip().lstrip("-").isdigit():
            index = int(start)
        else:
            try:
                moment: Moment = np.datetime64(start.strip(), "s")
            except ValueError:
                moment = np.datetime64("NaT")
            if np.isnat(moment):
                raise BadDemand(f"start={start!r}: give a step index (120) or a time (2004-03-02T19:00)")
            if self.start is None:
                raise BadDemand(f"start={start!r}: {self.name} has no times; give a step index")
            index = math.floor((moment - self.start.astype("datetime64[s]")).astype(np.int64) / self.step_s)
        if not 0 <= index < self.steps:
            last = (
                "" if self.start is None else f" ({self.start} and {self.steps * self.step_s / 60:.0f} minutes on)"
            )
            raise BadDemand(f"start={start!r}: outside {self.name}, which has steps 0 to {self.steps - 1}{last}")
        return index


def check_demand(demand: Demand) -> Demand:
    """Return the demand; raises BadDemand unless its matrices are square, finite, not negative and named right."""
    name, matrices = demand.name, demand.matrices
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or 0 in matrices.shape:
        raise BadDemand(f"{name}: the matrices have shape {matrices.shape}; they must be (steps, nodes, nodes)")
    if not np.isfinite(matrices).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(matrices))[0])
        raise BadDemand(f"{name}: entry {where} is no finite number; fill or drop missing values first")
    if (matrices < 0).any():
        where = tuple(int(i) for i in np.argwhere(matrices < 0)[0])
        raise BadDemand(f"{name}: entry {where} is negative; demands are rates in Mbit/s, 0 or more")
    if demand.nodes and len(demand.nodes) != matrices.shape[1]:
        raise BadDemand(
            f"{name}: {len(demand.nodes)} node names for {matrices.shape[1]} rows; give one a row, or none"
        )
    if not 0 < demand.step_s < math.inf:
        raise BadDemand(f"{name}: step of {demand.step_s} s; times must rise from matrix to matrix")
    return demand


def load_demand(path: str | Path) -> Demand:
    """Read an `.npz`, an SNDlib XML file, or a directory of such files (one matrix each, by name).

    The `.npz` has `tm_mbps` or `tm`, and `nodes` and `time` where known.

    Pickled arrays are refused. A single SNDlib matrix is a constant demand. Raises BadDemand.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return check_demand(_directory(path))
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise BadDemand(f"{path}: cannot be read: {error.strerror}; {_FORMATS}") from error
    if magic.startswith(b"PK"):
        return check_demand(_npz(path))
    return check_demand(_sndlib(path))


def _directory(path: Path) -> Demand:
    files = sorted(p for p in path.iterdir() if p.name.endswith((".xml", ".xml.gz")))
    if not files:
        raise BadDemand(f"{path}: no .xml or .xml.gz file in this directory; {_FORMATS}")
    parts = [_sndlib(file) for file in files]
    for file, part in zip(files, parts, strict=True):
        if part.nodes != parts[0].nodes:
            raise BadDemand(f"{file}: other nodes than {files[0].name}; keep one network per directory")
    return replace(parts[0], name=path.name, matrices=np.concatenate([part.matrices for part in parts]))


def _sndlib(path: Path) -> Demand:
    try:
        dataset = read_sndlib(path)
    except BadFile as error:
        raise BadDemand(f"{error}; {_FORMATS}") from error
    nodes = dataset.topology.node_names
    index = {node: i for i, node in enumerate(nodes)}
    matrix = np.zeros((1, len(nodes), len(nodes)))
    for (source, destination), mbps in dataset.demands.items():
        matrix[0, index[source], index[destination]] += mbps
    if not matrix.any():
        raise BadDemand(f"{path}: it holds a network but no demand; {_FORMATS}")
    return Demand(path.name, matrix, nodes)


def _npz(path: Path) -> Demand:
    try:
        found = read_matrices(path)
    except BadSeries as error:
        raise BadDemand(f"{error}; {_FORMATS}") from error
    step_s, start = _steps(path, found.times)
    return Demand(path.name, found.values, found.nodes, step_s, start)


def _steps(path: Path, times: FloatArray | None) -> tuple[float, Moment | None]:
    if times is None:
        return DEFAULT_STEP_S, None
    if np.isnan(times).any():
        raise BadDemand(f"{path}: time holds holes; give one time a matrix, or none")
    step_s = float(np.median(np.diff(times))) if times.size > 1 else DEFAULT_STEP_S
    return step_s, np.datetime64(int(times[0]), "s")


def map_to(demand: Demand, topology: LabTopology) -> Demand:
    """Put a demand onto the routers of a lab: same order of nodes, nothing on the diagonal.

    Raises BadDemand.

    Names match without regard to case; the data's `ng` (new generation) and `M5` endings are dropped, so that
    Abilene's second Atlanta router counts as Atlanta. A demand without names is taken in order if it has as
    many nodes. Routers without demand get none.
    """
    targets = topology.node_names
    if not demand.nodes:
        n = demand.matrices.shape[1]
        if n != len(targets):
            raise BadDemand(
                f"{demand.name}: {n} nodes without names for a lab of {len(targets)} routers; "
                "add a `nodes` array of names, or choose the topology it belongs to"
            )
        places = np.arange(n)
    else:
        places = np.array(_places(demand, targets))
    spread = np.zeros((len(places), len(targets)))
    spread[np.arange(len(places)), places] = 1.0
    matrices = np.matmul(np.matmul(spread.T, demand.matrices), spread)
    matrices[:, np.arange(len(targets)), np.arange(len(targets))] = 0.0
    if not matrices.any():
        raise BadDemand(f"{demand.name}: no traffic between two different routers")
    return replace(demand, matrices=matrices, nodes=targets)


def _places(demand: Demand, targets: tuple[str, ...]) -> list[int]:
    known = {name.casefold(): i for i, name in enumerate(targets)}
    places = []
    for node in demand.nodes:
        folded = node.casefold()
        tries = (folded, folded.removesuffix("ng"), folded.removesuffix("m5"))
        place = next((known[name] for name in tries if name in known), None)
        if place is None:
            raise BadDemand(
                f"{demand.name}: node {node!r} is not in the lab, which has {', '.join(targets)}; "
                "choose the topology the demand belongs to"
            )
        places.append(place)
    return places
