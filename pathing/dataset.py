"""What a network file holds once it is read, in this package's units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pathing.topology import Topology
from pathing.weights import charge_unknown

EARTH_RADIUS_KM = 6371.0088
# Light in fibre: c divided by a refractive index of about 1.5.
FIBRE_KM_PER_MS = 200.0

LonLat = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A network as read from a file.

    `demands` are Mbit/s by (source, destination), `coordinates` (longitude, latitude) in degrees by node;
    both are empty where the file has none. `notes` says what was assumed, and then what was left out.
    """

    topology: Topology
    demands: Mapping[tuple[str, str], float] = field(default_factory=dict)
    coordinates: Mapping[str, LonLat] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def great_circle_ms(a: LonLat, b: LonLat) -> float:
    """Give the one-way latency in ms of a straight fibre at 200 km/ms between two (longitude, latitude) points.

    The haversine formula on a sphere; real fibre is longer.
    """
    lon_a, lat_a, lon_b, lat_b = (math.radians(degrees) for degrees in (*a, *b))
    half = (
        math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    )
    # Rounding can lift the haversine of opposite points above 1.
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, half))) / FIBRE_KM_PER_MS


def latency_notes(topology: Topology, estimated: bool) -> list[str]:
    """Say how many latencies were `estimated` from coordinates, as all that are known were, or are unknown."""
    latency_ms = topology.array("latency_ms")
    unknown = int(np.isnan(latency_ms).sum())
    known = topology.n_links - unknown
    notes = []
    if estimated and known:
        notes.append(
            f"latency of {known} of {topology.n_links} links estimated from coordinates, "
            f"a straight fibre at {FIBRE_KM_PER_MS:g} km/ms"
        )
    if unknown:
        charge_ms = float(charge_unknown(latency_ms).max())
        notes.append(
            f"latency of {unknown} of {topology.n_links} links unknown, charged as {charge_ms:.4g} ms each"
        )
    return notes


def are_lon_lat(coordinates: Mapping[str, LonLat]) -> bool:
    """Whether these can be positions on Earth: in range, and not all the (0, 0) that means unknown in files."""
    in_range = all(abs(lon) <= 180 and abs(lat) <= 90 for lon, lat in coordinates.values())
    return in_range and any(point != (0.0, 0.0) for point in coordinates.values())
