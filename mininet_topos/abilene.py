"""Abilene, the research backbone of the USA in 2004: 11 routers, 14 links."""

from __future__ import annotations

from mininet_topos.topology import LabLink, LabTopology, Node, hosts_for, scaled
from pathing.dataset import great_circle_ms

# Latitude and longitude in degrees; as in SNDlib's abilene, with Atlanta where its router stood.
_PLACES = {
    "ATLA": (33.7500, -84.3833),
    "CHIN": (41.8333, -87.6167),
    "DNVR": (40.7500, -105.0000),
    "HSTN": (29.7700, -95.5174),
    "IPLS": (39.7807, -86.1595),
    "KSCY": (38.9617, -96.5967),
    "LOSA": (34.0500, -118.2500),
    "NYCM": (40.7833, -73.9667),
    "SNVA": (37.3858, -122.0255),
    "STTL": (47.6000, -122.3000),
    "WASH": (38.8973, -77.0268),
}

# OC-192 (9.92 Gbit/s) everywhere but Atlanta-Indianapolis, which was OC-48 (2.48 Gbit/s).
_OC192_MBPS, _OC48_MBPS = 20.0, 10.0
_LINKS = (
    ("ATLA", "HSTN", _OC192_MBPS),
    ("ATLA", "IPLS", _OC48_MBPS),
    ("ATLA", "WASH", _OC192_MBPS),
    ("CHIN", "IPLS", _OC192_MBPS),
    ("CHIN", "NYCM", _OC192_MBPS),
    ("DNVR", "KSCY", _OC192_MBPS),
    ("DNVR", "SNVA", _OC192_MBPS),
    ("DNVR", "STTL", _OC192_MBPS),
    ("HSTN", "KSCY", _OC192_MBPS),
    ("HSTN", "LOSA", _OC192_MBPS),
    ("IPLS", "KSCY", _OC192_MBPS),
    ("LOSA", "SNVA", _OC192_MBPS),
    ("NYCM", "WASH", _OC192_MBPS),
    ("SNVA", "STTL", _OC192_MBPS),
)


def abilene(scale: float = 1.0) -> LabTopology:
    """Abilene with its latencies (great circle, 200 km/ms); capacities are 10 and 20 Mbit/s times `scale`."""
    nodes = tuple(
        Node(name, number, latitude, longitude)
        for number, (name, (latitude, longitude)) in enumerate(_PLACES.items(), start=1)
    )
    points = {name: (longitude, latitude) for name, (latitude, longitude) in _PLACES.items()}
    links = tuple(LabLink(a, b, rate, great_circle_ms(points[a], points[b])) for a, b, rate in _LINKS)
    return scaled(LabTopology("abilene", nodes, links, hosts_for(nodes)), scale)
